#!/usr/bin/env -S deno run -P
/**
 * Outpost: connects private container registries to Snyk, and scans images by itself. Run directly it is the command
 * line; imported, it is the library.
 *
 * @module
 */
import type { ImageHandle } from "./src/core/ports.ts";
import type { ArchiveSource, OpenArchiveOptions } from "./src/layers/archive.ts";
import { main } from "./src/main.ts";

export { OutpostError } from "./src/core/errors.ts";
export type * from "./src/core/ports.ts";
export type * from "./src/core/scan_ports.ts";
export type * from "./src/core/types.ts";
export type { ScanFunction } from "./src/jobs/scan_image.ts";
export type { ArchiveSource, OpenArchiveOptions } from "./src/layers/archive.ts";
export { createScan } from "./src/main.ts";

/**
 * Opens one image of a docker archive, an OCI archive or an OCI layout, to be given to the function that
 * `createScan()` makes.
 *
 * @throws {OutpostError} ARCHIVE_INVALID, INTEGRITY, TAG_NOT_FOUND, PLATFORM_NOT_FOUND, UNSUPPORTED_IMAGE or
 * LIMIT_EXCEEDED.
 */
export async function openArchive(source: ArchiveSource, options: OpenArchiveOptions): Promise<ImageHandle> {
  // Loaded when it is used: the daemon, which starts here too, has no archives.
  const { openArchive: open } = await import("./src/layers/archive.ts");
  return await open(source, options);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
