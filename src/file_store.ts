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
      await writeWhole(path(name), bytes);
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

/**
 * Writes a file, which its owner alone may read, whole or not at all.
 *
 * @param options With `sync`, it is on disk when the promise resolves.
 */
export async function writeWhole(
  path: string,
  bytes: Uint8Array<ArrayBuffer>,
  { sync = false }: { readonly sync?: boolean } = {},
): Promise<void> {
  const partial = `${path}.${crypto.randomUUID()}${PARTIAL}`;
  try {
    await Deno.writeFile(partial, bytes, { createNew: true, mode: 0o600 });
    if (sync) await syncFile(partial);
    await Deno.rename(partial, path);
    if (sync) await syncFile(path.slice(0, path.lastIndexOf("/")));
  } catch (error) {
    // What came first is what went wrong; a file that cannot be removed now is removed by age.
    await Deno.remove(partial).catch(() => {});
    throw error;
  }
}

/** Waits until a file, or the names in a directory, are on disk. */
async function syncFile(path: string): Promise<void> {
  using file = await Deno.open(path);
  await file.sync();
}

function missing(error: unknown): undefined {
  if (error instanceof Deno.errors.NotFound) return undefined;
  throw error;
}
