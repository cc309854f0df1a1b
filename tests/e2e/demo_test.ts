/**
 * `deno task demo`: what a newcomer runs first, in whatever environment.
 */
import { describe, expect, it } from "vitest";
import { outpost } from "./command.ts";

/** An environment in which a daemon could not start, and in which every connection would fail. */
const HOSTILE = {
  BROKER_TOKEN: "not/a token",
  BROKER_SERVER_URL: "ftp://192.0.2.1",
  BROKER_CLIENT_URL: "nonsense",
  CR_AGENT_URL: "http://192.0.2.1:1",
  CR_TYPE: "nonsense",
  CR_BASE: "192.0.2.1",
  CR_PASSWORD: "without-a-user",
  CR_CREDENTIALS: "!!",
  ACCEPT: "/no/such/file",
  HTTPS_CERT: "/no/such/file",
  PORT: "1",
  LOG_LEVEL: "nonsense",
  OUTPOST_ROLE: "agent",
  OUTPOST_HOST: "192.0.2.1",
  OUTPOST_NONSENSE: "1",
  HTTP_PROXY: "http://127.0.0.1:9",
  https_proxy: "http://127.0.0.1:9",
  no_proxy: "example.org",
};

const STEPS = [
  "1. Start a registry and a broker server on this machine",
  "2. Start the daemon and connect it to the broker server",
  "3. Ask through the broker",
  "4. Ask for scans",
  "GET /validate-credentials\n      200",
  "GET /list\n      200",
  "GET /list/demo/debian-app\n      200",
  "GET /list-with-metadata/demo/debian-app\n      200",
  "GET /get-state-identifier?image=demo/debian-app:1.0\n      200",
  "GET /not/allowed\n      401",
  "POST /scan\n      202",
  "demo/debian-app:1.0: success, debian:12, 9 deb packages",
  "demo/alpine-app:3.21: success",
  "7 apk packages",
  "demo/distroless:12: success",
  "demo/multi:latest: success",
  "glibc/libc6@2.36-9+deb12u10",
  "POST /api/v2/import/done",
  "Done: 4 images scanned",
];

describe("deno task demo", () => {
  it.each([["in a clean environment", {}], ["in an environment of other things", HOSTILE]])(
    "shows every step and ends with 0 with --once, %s",
    async (_what, env) => {
      const { code, stdout, stderr } = await outpost(["--once"], { task: "demo", env });
      expect(code, stdout + stderr).toBe(0);
      expect(stderr).toBe("");
      for (const step of STEPS) expect(stdout).toContain(step);
      expect(stdout).not.toContain("Still running");
    },
  );

  it("stays up until Ctrl-C, then ends with 0", async () => {
    const { code, stdout, stderr } = await outpost([], { task: "demo", interruptAt: /Ctrl-C ends it/ });
    expect(code, stdout + stderr).toBe(0);
    expect(stderr).toBe("");
    for (const step of STEPS) expect(stdout).toContain(step);
    expect(stdout).toMatch(/Still running\. Try:\n {3}curl http:\/\/127\.0\.0\.1:\d+\/healthcheck\n/);
  });

  it("ends with 130 when it is interrupted before its end", async () => {
    const { code, stdout } = await outpost([], { task: "demo", interruptAt: /2\. Start the daemon/ });
    expect(code, stdout).toBe(130);
    expect(stdout).not.toContain("Done:");
  });
});
