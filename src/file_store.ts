/**
 * Directories of the data directory: one of small files, and the data directory itself.
 *
 * @module
 */
import { OutpostError } from "./core/errors.ts";
import type { FileStore } from "./core/store.ts";

/** Ends of names of files that are not whole yet. */
const PARTIAL = ".partial";
/** A partial file of this age belongs to a process that ended. */
const PARTIAL_LIFETIME_MS = 60 * 60_000;

/**
 * Makes a directory that its owner alone may read, if it is not there.
 *
 * @throws {OutpostError} STORE_UNUSABLE when it cannot be made.
 */
export async function makePrivateDirectory(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new OutpostError("STORE_UNUSABLE", `Cannot use the data directory ${path}: it cannot be made`, {
      hint:
        "Set OUTPOST_DATA_DIR to a directory that this user may write, and allow the process to: bin/outpost does, deno run needs --allow-write=DIR.",
      cause,
    });
  }
}

/** Small files in a directory, which is made with the first of them. Several processes may use it at once. */
export function openFileStore(directory: string): FileStore {
  const path = (name: string): string => `${directory}/${name}`;
  let made = false;
  return {
    read: (name) => Deno.readFile(path(name)).catch(missing),
    async write(name, bytes) {
      if (!made) await makePrivateDirectory(directory);
      made = true;
      const partial = path(`${name}.${crypto.randomUUID()}${PARTIAL}`);
      try {
        await Deno.writeFile(partial, bytes, { createNew: true, mode: 0o600 });
        await Deno.rename(partial, path(name));
      } catch (error) {
        await Deno.remove(partial).catch(missing);
        throw error;
      }
    },
    async list() {
      const found: { name: string; bytes: number; usedAt: number }[] = [];
      const names = await Array.fromAsync(Deno.readDir(directory)).catch(missing) ?? [];
      for (const { name, isFile } of names) {
        const info = isFile ? await Deno.stat(path(name)).catch(missing) : undefined;
        if (info === undefined) continue;
        const usedAt = info.mtime?.getTime() ?? 0;
        if (!name.endsWith(PARTIAL)) found.push({ name, bytes: info.size, usedAt });
        else if (Date.now() - usedAt > PARTIAL_LIFETIME_MS) await Deno.remove(path(name)).catch(missing);
      }
      return found;
    },
    touch: async (name) => {
      const now = new Date();
      await Deno.utime(path(name), now, now);
    },
    remove: async (name) => void await Deno.remove(path(name)).catch(missing),
  };
}

function missing(error: unknown): undefined {
  if (error instanceof Deno.errors.NotFound) return undefined;
  throw error;
}
