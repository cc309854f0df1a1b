/**
 * The daemon's way to the broker server in a company's network: through an HTTP proxy with and without a password, and
 * with a certificate of the company's own authority (broker-protocol.md §12, §17).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ConnectProxy, startConnectProxy, startTlsEnd, type TlsEnd } from "../fakes/connect_proxy.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";
import { within } from "../peers/process.ts";
import { createCa, selfSigned } from "../peers/tls.ts";
import { type DaemonProcess, startDaemonProcess } from "./daemon.ts";

/** A name that no resolver knows (RFC 6761 §6.4): only the proxy can lead there. */
const HOST = "broker.test";
const LOGIN = "canary-proxy-user:canary-proxy-p%40ss";

describe.skipIf(!peer("snyk-broker").available)("the daemon on its way to the broker server", () => {
  let dir: string;
  let caFile: string;
  let server: BrokerServer;
  let tls: TlsEnd;
  let proxy: ConnectProxy;
  let strict: ConnectProxy;

  beforeAll(async () => {
    dir = await Deno.makeTempDir({ prefix: "outpost-e2e-" });
    const ca = await createCa();
    caFile = `${dir}/ca.pem`;
    await Deno.writeTextFile(caFile, ca.certPem);
    server = await startBrokerServer();
    tls = startTlsEnd(await ca.issue({ hosts: [HOST, "localhost", "127.0.0.1"] }), server.port);
    const resolve = (authority: string): number | undefined =>
      authority === `${HOST}:443` ? tls.port : authority === `${HOST}:80` ? server.port : undefined;
    proxy = startConnectProxy({ resolve });
    strict = startConnectProxy({ resolve, login: decodeURIComponent(LOGIN) });
  });
  afterAll(async () => {
    for (const one of [strict, proxy, tls]) await one?.[Symbol.asyncDispose]();
    await server?.stop();
    await Deno.remove(dir, { recursive: true });
  });

  async function start(
    env: Readonly<Record<string, string>>,
    flags: readonly string[] = [],
  ): Promise<{ daemon: DaemonProcess; token: string }> {
    const token = crypto.randomUUID();
    const daemon = await startDaemonProcess({
      BROKER_TOKEN: token,
      LOG_LEVEL: "debug",
      // Their requests to Snyk's API would be counted with the others.
      PREFLIGHT_CHECKS_ENABLED: "false",
      ...env,
    }, flags);
    return { daemon, token };
  }

  /** A request that is answered by POST, which has to take the same way as the websocket. */
  async function works(token: string): Promise<void> {
    await within(15_000, "the broker connection", (signal) => server.connected(token, signal, 2));
    const response = await fetch(server.brokerUrl(token, "/validate-credentials"), {
      signal: AbortSignal.timeout(10_000),
    });
    expect([response.status, (await response.json()).code]).toEqual([400, "CREDENTIALS_INVALID"]);
  }

  it.each(["CA_CERT", "NODE_EXTRA_CA_CERTS"])("trusts the authority in %s for websocket and answers", async (name) => {
    const { daemon, token } = await start({ BROKER_SERVER_URL: `https://localhost:${tls.port}`, [name]: caFile });
    await using _ = daemon;
    await works(token);
  });

  it("does not connect to a server of an unknown authority, and says why", async () => {
    const { daemon } = await start({ BROKER_SERVER_URL: `https://localhost:${tls.port}` });
    await using _ = daemon;
    await within(10_000, "the refusal", (signal) => daemon.process.printed(/Cannot keep a broker connection/, signal));
    expect(daemon.process.log()).toContain("UnknownIssuer");
    expect(daemon.process.log()).toContain("CA_CERT");
    const health = await fetch(`${daemon.url}/healthcheck`);
    expect([health.status, (await health.json())[0].ok]).toEqual([500, false]);
  });

  it("does not take an authority's own certificate for a server's, and says how to make another", async () => {
    const certificate = await selfSigned({ ca: true, hosts: ["localhost"] });
    const pem = `${dir}/leaf.pem`;
    await Deno.writeTextFile(pem, certificate.certPem);
    await using end = startTlsEnd(certificate, server.port);
    const { daemon } = await start({ BROKER_SERVER_URL: `https://localhost:${end.port}`, CA_CERT: pem });
    await using _ = daemon;
    await within(10_000, "the refusal", (signal) => daemon.process.printed(/Cannot keep a broker connection/, signal));
    expect(daemon.process.log()).toContain("CaUsedAsEndEntity");
    expect(daemon.process.log()).toContain("CA:FALSE");
  });

  it("verifies certificates whatever NODE_TLS_REJECT_UNAUTHORIZED says, and says what to do instead, which works", async () => {
    const env = { BROKER_SERVER_URL: `https://localhost:${tls.port}`, NODE_TLS_REJECT_UNAUTHORIZED: "0" };
    const verified = await start(env);
    await using daemon = verified.daemon;
    await within(10_000, "the refusal", (signal) => daemon.process.printed(/UnknownIssuer/, signal));
    expect(daemon.process.log()).toMatch(
      /NODE_TLS_REJECT_UNAUTHORIZED=0 has no effect.*--unsafely-ignore-certificate-err/,
    );
    const { token, ...unverified } = await start(env, ["--unsafely-ignore-certificate-errors=localhost"]);
    await using _ = unverified.daemon;
    await works(token);
  });

  it("warns of a websocket without TLS behind a proxy", async () => {
    const { daemon } = await start({ BROKER_SERVER_URL: `http://${HOST}`, HTTP_PROXY: `http://${proxy.host}` });
    await using _ = daemon;
    await within(10_000, "the failure", (signal) => daemon.process.printed(/Cannot keep a broker connection/, signal));
    expect(daemon.process.log()).toMatch(/may not pass the proxy in HTTP_PROXY.*broker\.test into NO_PROXY/);
  });

  it.each(["HTTPS_PROXY", "https_proxy"])("goes through the proxy in %s by CONNECT", async (name) => {
    const before = proxy.requests.length;
    const { daemon, token } = await start({
      BROKER_SERVER_URL: `https://${HOST}`,
      CA_CERT: caFile,
      [name]: `http://${proxy.host}`,
    });
    await using _ = daemon;
    await works(token);
    const requests = proxy.requests.slice(before);
    // Two websockets and the connection of the answer.
    expect(requests.length).toBeGreaterThanOrEqual(3);
    for (const request of requests) {
      expect(request).toEqual({ line: `CONNECT ${HOST}:443 HTTP/1.1`, authorization: undefined, status: 200 });
    }
  });

  it("gives the proxy its password, and shows it to nobody", async () => {
    const { daemon, token } = await start({
      BROKER_SERVER_URL: `https://${HOST}`,
      CA_CERT: caFile,
      HTTPS_PROXY: `http://${LOGIN}@${strict.host}`,
    });
    await using _ = daemon;
    await works(token);
    expect(strict.requests.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(3);
    expect(daemon.process.log()).not.toContain("canary-proxy-p");
  });

  it("keeps trying while the proxy refuses a wrong password", async () => {
    const before = strict.requests.length;
    const { daemon } = await start({
      BROKER_SERVER_URL: `https://${HOST}`,
      CA_CERT: caFile,
      HTTPS_PROXY: `http://canary-proxy-user:canary-proxy-wrong@${strict.host}`,
    });
    await using _ = daemon;
    await within(
      20_000,
      "the third refusal",
      (signal) => daemon.process.printed(/"failures":2/, signal),
    );
    expect(daemon.process.log()).toContain("proxy authentication required");
    expect(strict.requests.slice(before).every(({ status }) => status === 407)).toBe(true);
    expect(daemon.process.log()).not.toContain("canary-proxy-wrong");
  });

  it("does not ask the proxy for hosts in NO_PROXY, nor for this machine", async () => {
    const before = proxy.requests.length;
    const { daemon, token } = await start({
      BROKER_SERVER_URL: `https://localhost:${tls.port}`,
      CA_CERT: caFile,
      HTTPS_PROXY: `http://${proxy.host}`,
    });
    await using _ = daemon;
    await works(token);
    expect(proxy.requests.length).toBe(before);
  });
});
