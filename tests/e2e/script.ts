/**
 * A program of a few lines against the checkout, as a process of its own.
 *
 * @module
 */
import type { CommandEnd } from "./command.ts";
import { denoEnv, ROOT } from "./daemon.ts";

/** Runs the module text, whose imports are relative to the checkout. */
export async function outpostScript(text: string): Promise<CommandEnd> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", "-"],
    cwd: ROOT,
    env: denoEnv(),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}
