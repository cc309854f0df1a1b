/** `.env` in the working directory, as a process reads it. */
import { expect, it } from "vitest";
import { denoEnv, ROOT } from "../e2e/daemon.ts";

it("`.env` is read first, and the real environment wins", async () => {
  const cwd = await Deno.makeTempDir({ prefix: "outpost-env-" });
  await Deno.writeTextFile(`${cwd}/.env`, "PORT=no-port\nLOG_LEVEL='loud'\nOUTPOST_ROLE=agent\n");
  const run = async (command: string, env: Record<string, string>): Promise<string> => {
    const output = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--config", `${ROOT}deno.json`, `${ROOT}mod.ts`, command],
      cwd,
      env: { ...denoEnv(), ...env },
      stdin: "null",
    }).output();
    return new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr);
  };
  const text = await run("systemcheck", { LOG_LEVEL: "info" });
  expect(text).toContain("PORT must be");
  expect(text).not.toContain("LOG_LEVEL");
  expect(await run("list", {})).not.toContain("PORT must be");
  await Deno.remove(cwd, { recursive: true });
});
