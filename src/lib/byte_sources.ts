/**
 * Reading sources of bytes whole.
 *
 * @module
 */
import type { ByteSource } from "../core/ports.ts";
import { concatBytes } from "./bytes.ts";

/** All bytes of a source, which is closed then. How many they may be is the source's to bound. */
export async function readSource(source: ByteSource): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  try {
    for (let piece = await source.read(); piece !== undefined; piece = await source.read()) pieces.push(piece.slice());
  } finally {
    await source.close();
  }
  return concatBytes(pieces);
}
