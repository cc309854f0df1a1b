/**
 * The facts of a layer as every store keeps them: encoded and packed.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { LayerFacts } from "../core/types.ts";
import { decodeFacts, encodeFacts } from "../lib/facts_codec.ts";
import { pack, type Pause, unpack } from "../lib/packed.ts";

/** Packs facts; undefined when they are larger than LIMITS.storedFactsBytes. */
export async function packFacts(
  key: string,
  facts: LayerFacts,
  pause: Pause,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (sizeOf(facts) > LIMITS.storedFactsBytes) return undefined;
  const encoded = encodeFacts(key, facts);
  if (encoded.reduce((sum, { length }) => sum + length, 0) > LIMITS.storedFactsBytes) return undefined;
  return await pack(encoded, pause);
}

/**
 * Reads what {@link packFacts} made under the same key.
 *
 * @throws {Error} when the bytes are damaged, not whole, or those of another key.
 */
export async function unpackFacts(key: string, packed: Uint8Array, pause: Pause): Promise<LayerFacts> {
  return decodeFacts(key, await unpack(packed, LIMITS.storedFactsBytes, pause));
}

/** At least what the facts have unpacked, without encoding them. */
function sizeOf({ entries, replacedPaths, directories }: LayerFacts): number {
  const contents = entries.reduce((sum, entry) => sum + (entry.kind === "file" ? entry.content.length : 0), 0);
  return contents + replacedPaths.byteLength + directories.byteLength;
}
