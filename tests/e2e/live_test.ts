/**
 * The health check of a container, `systemcheck --live`, with the permissions that the daemon has in production.
 */
import { describe, expect, it } from "vitest";
import { selfSigned } from "../peers/tls.ts";
import { freePort, startProcess } from "../peers/process.ts";
import { outpost } from "./command.ts";
import { denoEnv, ROOT } from "./daemon.ts";

/** Runs the agent alone as a process while `work` runs. */
async function withAgent(env: Readonly<Record<string, string>>, work: () => Promise<void>): Promise<void> {
  await using _agent = await startProcess({
    name: "outpost",
    command: Deno.execPath(),
    args: ["run", "-q", "-P=daemon", "mod.ts", "start"],
    cwd: ROOT,
    env: { ...denoEnv(), ...env },
    ready: (process, signal) => process.printed(/Outpost started/, signal),
  });
  await work();
}

describe("outpost systemcheck --live", () => {
  const agent = (): Record<string, string> => ({ OUTPOST_ROLE: "agent", PORT: String(freePort()) });
  const live = (env: Readonly<Record<string, string>>) =>
    outpost(["systemcheck", "--live"], { env, permissions: "daemon" });

  it("sees a daemon behind a proxy setting and on an address of its own", async () => {
    const env = { ...agent(), OUTPOST_HOST: "127.0.0.3", HTTP_PROXY: "http://127.0.0.1:9" };
    await withAgent(env, async () => {
      expect(await live(env)).toEqual({ code: 0, stdout: "ok      daemon         connected\n", stderr: "" });
    });
    expect((await live(env)).code).toBe(1);
  });

  it("sees a daemon with TLS whose certificate names another host", async () => {
    const dir = await Deno.makeTempDir({ prefix: "outpost-live-" });
    try {
      const { certPem, keyPem } = await selfSigned({ hosts: ["outpost.example"] });
      const env = { ...agent(), HTTPS_CERT: `${dir}/cert.pem`, HTTPS_KEY: `${dir}/key.pem` };
      await Deno.writeTextFile(env.HTTPS_CERT, certPem);
      await Deno.writeTextFile(env.HTTPS_KEY, keyPem);
      await withAgent(env, async () => {
        const end = await live(env);
        expect(end.code, end.stdout + end.stderr).toBe(0);
      });
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
});
