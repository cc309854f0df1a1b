import { describe, expect, it } from "vitest";
import { recordingWorld } from "../../tests/fakes/world.ts";
import { ConfigError, OutpostError } from "../core/errors.ts";
import { runCommandLine } from "./command_line.ts";
import type { CommandContext } from "./context.ts";

/** Runs a command whose toolbox cannot be had: `failure` tells why. */
async function run(args: readonly string[], failure: unknown = new Error("No toolbox is needed here")) {
  const { world, stdout, stderr, interrupt } = recordingWorld();
  const context: CommandContext = { world, toolbox: () => Promise.reject(failure) };
  const code = await runCommandLine(context, args);
  return { code, stdout: stdout(), stderr: stderr(), interrupt };
}

describe("runCommandLine()", () => {
  it("shows commands, version and exit codes", async () => {
    const help = await run(["--help"]);
    expect(help).toMatchObject({ code: 0, stderr: "" });
    for (const command of ["start", "demo", "scan", "list", "systemcheck"]) expect(help.stdout).toContain(command);
    expect(help.stdout).toContain("64 wrong usage");
    const scan = await run(["scan", "--help"]);
    expect(scan.stdout).toContain("docker-archive:FILE");
    expect(await run(["--version"])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+/) });
  });

  it.each([
    [[], "Usage: outpost"],
    [["scna"], "Did you mean scan?"],
    [["scan"], "missing required argument 'source'"],
    [["scan", "a", "b"], "too many arguments"],
    [["scan", "a", "--format", "xml"], "Allowed choices are table, snyk, json"],
    [["scan", "a", "--platfrom", "x/y"], "Did you mean --platform?"],
    [["list", "Team"], 'error: Cannot list: "Team" is not a repository name'],
    [["systemcheck", "extra"], "too many arguments"],
    [["scan", "a", "--nested-jars-depth", "-1"], "whole number, 0 or more"],
    [["scan", "a", "--nested-jars-depth", "x"], "whole number, 0 or more"],
    [["scan", "a", "--shaded-jars-depth", "0", "--exclude-app-vulns"], "has no meaning with --exclude-app-vulns"],
    [["scan", "a", "--password-file", "/none"], "--username and --password-file go together"],
  ])("takes %j as wrong usage", async (args, message) => {
    const end = await run(args);
    expect(end).toMatchObject({ code: 64, stdout: "" });
    expect(end.stderr).toContain(message);
  });

  it("takes a source behind globs, of which there may be several", async () => {
    const failure = new OutpostError("CONNECTION_REFUSED", "Cannot reach h");
    const globs = ["--find-files", "**/a", "--find-files", "/b", "--ignore-files", "/c"];
    expect(await run(["scan", ...globs, "registry:h/a:1"], failure)).toMatchObject({
      code: 1,
      stderr: "error: Cannot reach h\n",
    });
  });

  it("prints a failure with what to change", async () => {
    const failure = new OutpostError("CONNECTION_REFUSED", "Cannot reach h", { hint: "Check CR_BASE." });
    expect(await run(["list"], failure)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: "error: Cannot reach h\n       Check CR_BASE.\n",
    });
  });

  it("prints every problem of the configuration", async () => {
    const end = await run(["start"], new ConfigError(["PORT must be a number", "CR_BASE is needed"]));
    expect(end.code).toBe(1);
    expect(end.stderr).toContain("PORT must be a number; CR_BASE is needed");
  });

  it("start --port goes before PORT", async () => {
    const { world } = recordingWorld();
    const seen: unknown[] = [];
    const toolbox = (overrides: unknown): Promise<never> => {
      seen.push(overrides);
      return Promise.reject(new ConfigError(["enough"]));
    };
    await runCommandLine({ world, toolbox }, ["start", "--port", "8123"]);
    await runCommandLine({ world, toolbox }, ["start"]);
    expect(seen).toEqual([{ PORT: "8123" }, {}]);
  });

  it("prints the stack of a defect only", async () => {
    const end = await run(["list"], new TypeError("x is not a function"));
    expect(end.code).toBe(1);
    expect(end.stderr).toMatch(/^error: An internal error occurred\nTypeError: x is not a function\n {4}at /);
  });

  it("ends with 130 and without a word when it was interrupted", async () => {
    const { world, stderr, interrupt } = recordingWorld();
    const toolbox = (): Promise<never> => {
      interrupt();
      return Promise.reject(world.signal.reason);
    };
    expect(await runCommandLine({ world, toolbox }, ["list"])).toBe(130);
    expect(stderr()).toBe("");
  });
});
