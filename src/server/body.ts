/**
 * Request bodies, bounded.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { concatBytes } from "../lib/bytes.ts";

/**
 * Reads a request's body whole.
 *
 * @throws {OutpostError} BODY_TOO_LARGE above `maxBytes`, before more than that is held.
 */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const tooLarge = (): OutpostError =>
    new OutpostError("BODY_TOO_LARGE", `Cannot read the request: its body has more than ${maxBytes} bytes`);
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  // What came from this process is in one piece: it is not copied.
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : concatBytes(chunks);
}
