import { describe, expect, it } from "vitest";
import { loadConfig } from "./load.ts";
import { startupNotices } from "./notices.ts";

async function notices(env: Record<string, string>): Promise<readonly string[]> {
  const config = await loadConfig({
    env: { OUTPOST_DATA_DIR: "/data", ...env },
    readFile: () => Promise.reject(new Error("no file")),
  });
  return startupNotices(config).map(({ message, hint }) => `${message}: ${hint}`);
}

describe("startupNotices()", () => {
  it("has nothing to say about an ordinary environment", async () => {
    const proxied = { HTTP_PROXY: "http://proxy:3128", HTTPS_PROXY: "http://proxy:3128" };
    expect(await notices({})).toEqual([]);
    expect(await notices({ OUTPOST_DATA_DIR: "", OUTPOST_QUEUE: "nats://nats", BROKER_TOKEN: "token" })).toEqual([]);
    expect(await notices({ ...proxied, NODE_TLS_REJECT_UNAUTHORIZED: "1" })).toEqual([]);
    expect(await notices({ ...proxied, BROKER_SERVER_URL: "http://127.0.0.1:7341" })).toEqual([]);
    for (const NO_PROXY of ["*", "x, broker.lan", ".lan", "*.lan", "lan"]) {
      expect(await notices({ ...proxied, BROKER_SERVER_URL: "http://broker.lan", NO_PROXY })).toEqual([]);
    }
  });

  it.each([
    [{ NODE_TLS_REJECT_UNAUTHORIZED: "0" }, "no effect", "--unsafely-ignore-certificate-errors"],
    [{ CR_TLS_INSECURE: "true" }, "no effect", "bin/outpost"],
    [{ CR_TLS_INSECURE: "true", OUTPOST_UNVERIFIED_HOSTS: "r.lan" }, "Certificates of r.lan", "CR_CA_FILE"],
    [{ BROKER_SERVER_URL: "http://broker.lan", HTTP_PROXY: "http://proxy" }, "may not pass the proxy", "broker.lan"],
    [{ BROKER_SERVER_URL: "http://broker.lan", http_proxy: "http://proxy", NO_PROXY: "other" }, "proxy", "https://"],
    [{ INSECURE_DOWNSTREAM: "true" }, "unencrypted", "TLS"],
    [{ OUTPOST_DATA_DIR: "" }, "kept in memory", "OUTPOST_DATA_DIR"],
    [{ OUTPOST_QUEUE: "nats://u:p@nats,tls://u:p@two", BROKER_TOKEN: "t" }, "of nats://nats:4222 travels", "tls://"],
    [{ OUTPOST_QUEUE: "nats://nats" }, "have no key in common", "OUTPOST_QUEUE_KEY"],
    [{ METRICS_OTEL_ENDPOINT: "http://collector:4317" }, "over gRPC", "4318"],
  ])("tells of %j what it means and what to change", async (env, message, hint) => {
    const [notice, ...others] = await notices(env as Record<string, string>);
    expect(notice).toContain(message);
    expect(notice).toContain(hint);
    expect(others).toEqual([]);
  });
});
