/**
 * The layer engine in WebAssembly: loader and typed face. The module's source, build and checksum are in wasm/.
 *
 * @module
 */
export { wasmInflaters, wasmRuns } from "./inflater.ts";
