/**
 * Result formats: what a scan found, written for Snyk, for programs and for people.
 *
 * A new format is one file and one row in {@link FORMATS}.
 *
 * @module
 */
import type { ResultFormat } from "./format.ts";
import { json } from "./json.ts";
import { snyk } from "./snyk.ts";
import { table } from "./table.ts";

export type { RenderOptions, ResultFormat } from "./format.ts";
export { manifestFiles } from "./manifest_files.ts";
export { buildScanResults, PLUGIN_VERSION } from "./snyk.ts";

/** Every format, by the name that `--format` takes. */
export const FORMATS = { table, snyk, json } as const satisfies Readonly<Record<string, ResultFormat>>;

/** Name of a format. */
export type FormatName = keyof typeof FORMATS;
