/** The launcher, which turns CR_TLS_INSECURE into the flag that Deno knows. */
import { describe, expect, it } from "vitest";
import { denoEnv, ROOT } from "../e2e/daemon.ts";
import { selfSigned } from "../peers/tls.ts";

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function outpost(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Outcome> {
  const path = Deno.execPath().replace(/\/[^/]+$/, "");
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: [`${ROOT}bin/outpost`, ...args],
    cwd: "/",
    clearEnv: true,
    env: { ...denoEnv(), PATH: `${path}:${Deno.env.get("PATH")}`, HOME: Deno.env.get("HOME") ?? "/", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** A registry with the certificate that `openssl req -x509` makes: Deno takes it by no authority at all. */
async function withRegistry(test: (port: number) => Promise<void>): Promise<void> {
  const { certPem: cert, keyPem: key } = await selfSigned({ ca: true });
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {} },
    (request) => Response.json(request.url.includes("_catalog") ? { repositories: ["team/app"] } : {}),
  );
  await test(server.addr.port);
}

describe("bin/outpost", () => {
  it("takes the certificate of CR_BASE's host as it comes when CR_TLS_INSECURE says so, and only then", () =>
    withRegistry(async (port) => {
      const env = { CR_TYPE: "oci", CR_BASE: `https://localhost:${port}/` };
      const verified = await outpost(["list"], env);
      expect(verified.code).toBe(1);
      expect(verified.stderr).toContain("marked as a certificate authority");
      expect(verified.stderr).toContain("CR_TLS_INSECURE=true");
      for (const CR_TLS_INSECURE of ["true", "1"]) {
        expect(await outpost(["list"], { ...env, CR_TLS_INSECURE })).toMatchObject({ code: 0, stdout: "team/app\n" });
      }
      const other = { ...env, CR_TLS_INSECURE: "true", CR_TLS_INSECURE_HOSTS: "other.example" };
      expect((await outpost(["list"], other)).code).toBe(1);
      const named = { ...other, CR_TLS_INSECURE_HOSTS: "other.example,localhost" };
      expect((await outpost(["list"], named)).code).toBe(0);
    }));

  it.each([
    [{ CR_TLS_INSECURE: "true" }, "neither CR_TLS_INSECURE_HOSTS nor CR_BASE names a host"],
    [{ CR_TLS_INSECURE: "true", CR_TLS_INSECURE_HOSTS: "a b" }, "must be a comma list of host names"],
  ])("refuses %j", async (env, message) => {
    const { code, stderr } = await outpost(["list"], env as Record<string, string>);
    expect(code).toBe(64);
    expect(stderr).toContain(message);
  });

  it("lets the daemon write to its data directory, and to nothing else", async () => {
    expect(await outpost(["start"], { OUTPOST_DATA_DIR: "/a,/b" })).toMatchObject({ code: 64 });
    const directory = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${directory}/state.db`, "This is no database. ".repeat(100));
      const env = { OUTPOST_ROLE: "agent", OUTPOST_DATA_DIR: directory };
      const damaged = await outpost(["start"], env);
      expect(damaged.code).toBe(1);
      expect(damaged.stderr).toContain("the database is damaged");
      expect(damaged.stderr).toContain(".recover");
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });

  it("hands arguments on as they are", async () => {
    const { code, stdout } = await outpost(["scan", "--help"], {});
    expect(code).toBe(0);
    expect(stdout).toContain("scan");
  });
});
