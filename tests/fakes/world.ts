/**
 * A command's surroundings with outputs that are kept; listening, fetching and files are those of this process.
 *
 * @module
 */
import type { CommandWorld, TextOutput } from "../../src/cli/context.ts";
import { createWorld } from "../../src/world.ts";

/** A world and what was written to it. */
export interface RecordingWorld {
  readonly world: CommandWorld;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** As Ctrl-C does. */
  readonly interrupt: () => void;
}

/** Makes a world that prints nothing; neither output is a terminal. */
export function recordingWorld(more: Partial<CommandWorld> = {}): RecordingWorld {
  const controller = new AbortController();
  const stdout: string[] = [];
  const stderr: string[] = [];
  return {
    world: { ...createWorld(controller.signal), stdout: output(stdout), stderr: output(stderr), ...more },
    stdout: () => stdout.join(""),
    stderr: () => stderr.join(""),
    interrupt: () => controller.abort(new DOMException("The process was interrupted", "AbortError")),
  };
}

function output(texts: string[]): TextOutput {
  return { isTerminal: false, columns: undefined, color: false, write: (text) => void texts.push(text) };
}
