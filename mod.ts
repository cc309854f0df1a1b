#!/usr/bin/env -S deno run -P
/**
 * Outpost: connects private container registries to Snyk, and scans images by itself. Run directly it is the command
 * line; imported, it is the library.
 *
 * @module
 */
import { main } from "./src/main.ts";

export { analyzeOs, ANALYZERS_VERSION, WANTED } from "./src/analyzers/mod.ts";
export { OutpostError } from "./src/core/errors.ts";
export type * from "./src/core/ports.ts";
export type * from "./src/core/types.ts";
export { scanImage, type ScanImageOptions } from "./src/jobs/scan_image.ts";
export { openArchive, type OpenArchiveOptions } from "./src/layers/archive.ts";
export { createLayerEngine, type LayerEngineOptions } from "./src/layers/engine.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
