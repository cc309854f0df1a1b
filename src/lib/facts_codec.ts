/**
 * The facts of a layer as bytes: a JSON head, then its hashes and the contents of its files, in the order of the head.
 *
 * @module
 */
import type { LayerEntry, LayerFacts } from "../core/types.ts";

/** Changes with the form. */
const FORM = 1;

/** An entry without its content, which follows the head: `bytes` of it. */
type StoredEntry = Omit<LayerEntry, "content"> & { readonly bytes?: number };

interface Head extends Omit<LayerFacts, "entries" | "replacedPaths" | "directories"> {
  readonly form: number;
  readonly key: string;
  readonly entries: readonly StoredEntry[];
  readonly replaced: number;
  readonly directories: number;
}

/**
 * Encodes facts under a key, which {@link decodeFacts} asks for again. The bytes are those of all arrays one after another:
 * joined, they would be twice in memory.
 */
export function encodeFacts(key: string, facts: LayerFacts): readonly Uint8Array[] {
  const { entries, replacedPaths, directories, ...rest } = facts;
  const contents: Uint8Array[] = [];
  const stored = entries.map((entry): StoredEntry => {
    if (entry.kind !== "file") return entry;
    const { content, ...others } = entry;
    contents.push(content);
    return { ...others, bytes: content.length };
  });
  const head: Head = {
    ...rest,
    form: FORM,
    key,
    entries: stored,
    replaced: replacedPaths.length,
    directories: directories.length,
  };
  const text = new TextEncoder().encode(JSON.stringify(head));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.length, true);
  return [length, text, bytesOf(replacedPaths), bytesOf(directories), ...contents];
}

/**
 * Decodes facts. Contents are copies, so that each can be let go by itself.
 *
 * @throws {Error} when they are of another form or key, or not whole.
 */
export function decodeFacts(key: string, bytes: Uint8Array): LayerFacts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 4 + view.getUint32(0, true);
  const { form, key: stored, entries, replaced, directories, ...rest } = JSON.parse(
    new TextDecoder().decode(bytes.subarray(4, at)),
  ) as Head;
  if (form !== FORM || stored !== key) throw new Error("The facts are of another form or layer");
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw new Error("The facts are not whole");
    at += length;
    return bytes.subarray(at - length, at);
  };
  // A copy of their own: a view of doubles has to begin at a multiple of eight.
  const hashes = (count: number): Float64Array => new Float64Array(take(count * 8).slice().buffer);
  const replacedPaths = hashes(replaced);
  const directoryPaths = hashes(directories);
  const read = entries.map(({ bytes: length, ...entry }) =>
    (entry.kind === "file" ? { ...entry, content: take(length ?? 0).slice() } : entry) as LayerEntry
  );
  if (at !== bytes.length) throw new Error("The facts are not whole");
  return { ...rest, entries: read, replacedPaths, directories: directoryPaths };
}

function bytesOf(hashes: Float64Array): Uint8Array {
  return new Uint8Array(hashes.buffer, hashes.byteOffset, hashes.byteLength);
}
