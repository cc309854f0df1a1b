/**
 * Decodes 512 MiB of zeros with the decoder of the given name and prints, as JSON, how many bytes came out and by how
 * much resident memory grew. A program of its own: in a test runner, memory is that of all tests at once.
 *
 * @module
 */
import { constants, deflateRawSync } from "node:zlib";
import { concatBytes } from "../../src/lib/bytes.ts";
import { INFLATERS } from "../../src/layers/inflaters.ts";

/** What comes out. */
const BOMB_BYTES = 512 << 20;
const INPUT_BYTES = 65_536;

function bombOf(length: number): Uint8Array {
  const piece = 1 << 24;
  const flushed = deflateRawSync(new Uint8Array(piece), { finishFlush: constants.Z_FULL_FLUSH, level: 9 });
  return concatBytes([...Array.from({ length: length / piece }, () => flushed), Uint8Array.of(3, 0)]);
}

const name = Deno.args[0] as keyof typeof INFLATERS;
const factory = await INFLATERS[name]();
const bomb = bombOf(BOMB_BYTES);
const before = Deno.memoryUsage().rss;
let peak = before;
let bytes = 0;
const inflater = factory((output) => {
  bytes += output.length;
  peak = Math.max(peak, Deno.memoryUsage().rss);
});
for (let at = 0; at < bomb.length; at += INPUT_BYTES) await inflater.push(bomb.subarray(at, at + INPUT_BYTES));
inflater.close();
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify({ whole: bytes === BOMB_BYTES, grown: peak - before })));
