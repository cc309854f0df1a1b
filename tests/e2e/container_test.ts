/**
 * What the Dockerfile promises, tried without a container engine: its build steps are done in a temporary folder, and its
 * commands run from there as nobody, with nothing writable.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peersAvailable } from "../peers/mod.ts";
import { freePort, poll, run, type ServerProcess, startProcess, within } from "../peers/process.ts";
import { SHIPPED } from "./daemon.ts";

const root = new URL("../../", import.meta.url);
const dockerfile = await Deno.readTextFile(new URL("Dockerfile", root));
const TOKEN = "5f1c2e7a-0000-4000-8000-00000000c0de";

/** The words of the last instruction of that name, lines joined. */
function instruction(name: string): string {
  const lines = dockerfile.replaceAll("\\\n", " ").split("\n").filter((line) => line.startsWith(`${name} `));
  return lines.at(-1)?.slice(name.length + 1).trim() ?? "";
}

/** An instruction in exec form. */
function words(name: string): string[] {
  const text = instruction(name);
  return JSON.parse(text.slice(text.indexOf("["))) as string[];
}

/** The sources of the build stage's COPY lines, with where they go. */
function copies(): { readonly from: string; readonly to: string }[] {
  return [...dockerfile.matchAll(/^COPY (?!--from)(.+) (\S+)$/gm)].flatMap(([, sources = "", to = ""]) =>
    sources.split(" ").map((from) => ({ from, to: to.endsWith("/") ? `${to}${from}` : to }))
  );
}

describe("Dockerfile", () => {
  it("runs without root, shell, curl or network at start", () => {
    expect(Number(instruction("USER").split(":")[0])).toBeGreaterThan(0);
    expect(instruction("FROM")).toContain("distroless");
    for (const command of [words("ENTRYPOINT"), words("HEALTHCHECK")]) {
      expect(command[0]).toBe("deno");
      expect(command).toContain("--cached-only");
      expect(command).not.toContain("-A");
    }
    expect(words("HEALTHCHECK").join(" ")).not.toContain("curl");
    expect(instruction("STOPSIGNAL")).toBe("SIGTERM");
    expect(instruction("EXPOSE")).toBe("7341");
  });

  it("starts as the task, the launcher and the benchmarks do", async () => {
    expect(words("ENTRYPOINT")).toEqual(expect.arrayContaining([...SHIPPED.flags]));
    for (const [name, value] of Object.entries(SHIPPED.env)) {
      expect(dockerfile).toMatch(RegExp(`^ENV[^]*?${name}=${value}\\b`, "m"));
    }
    const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root))) as {
      tasks: Record<string, string>;
    };
    const launcher = await Deno.readTextFile(new URL("bin/outpost", root));
    for (const start of [tasks["start"], tasks["start:built"], launcher]) {
      expect(start).toContain(SHIPPED.flags.join(" "));
    }
  });

  it("copies nothing that .dockerignore keeps out, and starts from the Deno release that everything else names", async () => {
    const ignore = await Deno.readTextFile(new URL(".dockerignore", root));
    const allowed = ignore.split("\n").filter((line) => line.startsWith("!")).map((line) => line.slice(1));
    expect(copies().map(({ from }) => from).every((from) => allowed.some((a) => a.replace(/\/$/, "") === from))).toBe(
      true,
    );
    const ci = await Deno.readTextFile(new URL(".ci/run", root));
    expect(ci).toContain(`deno@${/ARG DENO_VERSION=(\S+)/.exec(dockerfile)?.[1]}`);
  });
});

describe.skipIf(Deno.uid() !== 0 || !peersAvailable("snyk-broker"))(
  "the container's commands, as nobody on read-only files",
  () => {
    let dir = "";
    let server: BrokerServer;
    let daemon: ServerProcess;
    const port = freePort();
    const nobody = { uid: 65534, gid: 65534 };

    function environment(): Record<string, string> {
      return {
        // The image has no cache of Deno's.
        DENO_DIR: `${dir}/none`,
        DENO_NO_UPDATE_CHECK: "1",
        PORT: String(port),
        BROKER_TOKEN: TOKEN,
        BROKER_SERVER_URL: server.url,
        CR_TYPE: "docker-registry",
        CR_BASE: "127.0.0.1:9",
      };
    }

    /** HEALTHCHECK's exit code. */
    async function health(): Promise<number> {
      const [, ...args] = words("HEALTHCHECK");
      const command = new Deno.Command(`${dir}/deno`, {
        args,
        cwd: `${dir}/app`,
        clearEnv: true,
        env: environment(),
        ...nobody,
      });
      return (await command.output()).code;
    }

    beforeAll(async () => {
      dir = await Deno.makeTempDir({ prefix: "outpost-container-" });
      server = await startBrokerServer();
      await Deno.mkdir(`${dir}/build`);
      for (const { from, to } of copies()) {
        await run("cp", ["-R", new URL(from, root).pathname, `${dir}/build/${to}`]);
      }
      await Deno.copyFile(Deno.execPath(), `${dir}/deno`);
      const [build = ""] = /^RUN .+$/m.exec(dockerfile) ?? [];
      const path = `${dir}:${Deno.env.get("PATH")}`;
      const built = await run("sh", ["-ec", build.slice("RUN ".length)], {
        cwd: `${dir}/build`,
        env: { DENO_DIR: `${dir}/deno-dir`, DENO_NO_UPDATE_CHECK: "1", PATH: path },
      });
      expect(built.code, built.stderr).toBe(0);
      expect(dockerfile).toContain("COPY --from=build /app/dist /app\n");
      await Deno.rename(`${dir}/build/dist`, `${dir}/app`);
      await run("chmod", ["-R", "a-w,a+rX", dir]);
      await run("chmod", ["a+x", `${dir}/deno`]);
      const [, ...args] = [...words("ENTRYPOINT"), ...words("CMD")];
      daemon = await startProcess({
        name: "outpost",
        command: `${dir}/deno`,
        args,
        cwd: `${dir}/app`,
        env: environment(),
        ...nobody,
        ready: (started, signal) =>
          poll(`http://127.0.0.1:${port}/livez`, (response) => response.status === 200, started, signal),
      });
    });

    afterAll(async () => {
      await daemon?.stop();
      await server?.stop();
      await run("chmod", ["-R", "u+w", dir]);
      await Deno.remove(dir, { recursive: true });
    });

    it("start, and report health as the broker connection is", async () => {
      await within(20_000, "the connection", (signal) => server.connected(TOKEN, signal));
      expect(await health(), daemon.log()).toBe(0);
    });

    it("lists ECR, whose packages only that type loads", async () => {
      const [, ...args] = words("ENTRYPOINT");
      const aws = {
        AWS_ENDPOINT_URL: "http://127.0.0.1:59999",
        AWS_ACCESS_KEY_ID: "AKIAEXAMPLE",
        AWS_SECRET_ACCESS_KEY: "x",
      };
      const { code, stderr } = await run(`${dir}/deno`, [...args, "list"], {
        cwd: `${dir}/app`,
        env: {
          ...environment(),
          ...aws,
          CR_TYPE: "ecr",
          CR_BASE: "",
          CR_REGION: "eu-west-1",
          CR_ROLE_ARN: "arn:aws:iam::123456789012:role/reader",
        },
      });
      expect(code).not.toBe(0);
      expect(stderr).toContain("Cannot reach 127.0.0.1:59999");
    });

    it("holds less than 64 MB when it is started", async () => {
      const status = await Deno.readTextFile(`/proc/${daemon.pid}/status`);
      expect(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024).toBeLessThan(64e6);
    });

    it("stop cleanly on STOPSIGNAL, after which the health check fails", async () => {
      await daemon.stop();
      expect((await daemon.status).code, daemon.log()).toBe(0);
      expect(await health()).toBe(1);
    });
  },
);
