/**
 * What extraction works with, for tests of the folders below it.
 *
 * @module
 */
import type { ExtractorContext } from "../../src/core/ports.ts";
import { fflateInflater } from "../../src/layers/fflate_inflater.ts";

export { fflateInflater };
export { compileWants } from "../../src/layers/matcher.ts";
export { wasmInflaters } from "../../src/wasm/mod.ts";

/** What extractors work with, without a bound. */
export const EXTRACTOR_CONTEXT: ExtractorContext = { inflater: fflateInflater, spend: () => true };
