/**
 * What a scan of a gzip layer cannot do without, and nothing else: both digests and decompression, by the parts that the
 * scan has. `deno run -A bench/archive_digests.ts FILE`; bench/archive.ts measures it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Decompressor } from "../src/layers/decompress.ts";
import { layerFail } from "../src/layers/fail.ts";
import { wasmInflaters } from "../src/wasm/mod.ts";

const CHUNK_BYTES = 256 * 1024;

async function main(file: string): Promise<void> {
  const stored = createHash("sha256");
  const unpacked = createHash("sha256");
  const decompressor = new Decompressor({
    emit: (bytes) => void unpacked.update(bytes),
    fail: layerFail(file),
    inflater: wasmInflaters(),
  });
  using source = await Deno.open(file);
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let count = source.readSync(buffer); count !== null; count = source.readSync(buffer)) {
    const chunk = buffer.subarray(0, count);
    stored.update(chunk);
    await decompressor.push(chunk);
  }
  await decompressor.finish();
  decompressor.close();
  stored.digest("hex");
  unpacked.digest("hex");
}

if (import.meta.main) await main(Deno.args[0] ?? "");
