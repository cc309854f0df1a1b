/**
 * package.json of installed packages, reduced while its layer streams by: a node_modules has thousands of them, and most
 * of each is of no use here.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FileExtractor } from "../core/ports.ts";
import { manifestExtractor } from "./manifest_extractor.ts";
import { isMapping, type Mapping } from "./node_lock.ts";

/** What is kept of a package.json; members that would be empty are absent. A type: only those are JsonValues. */
export type PackageFacts = {
  readonly name?: string;
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  /** Why nothing else is known. */
  readonly problem?: string;
};

/** Name under which {@link PackageFacts} are kept. */
export const PACKAGE_JSON = "package.json";

/** Reads every package.json. */
export const MANIFEST_EXTRACTOR: FileExtractor = manifestExtractor({
  name: PACKAGE_JSON,
  version: "1",
  maxBytes: LIMITS.nodeManifestBytes,
  read: readManifest,
});

/** Reads what counts of a package.json; a byte-order mark is skipped. */
export function readManifest(bytes: Uint8Array): PackageFacts {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return { problem: "it is not JSON" };
  }
  return isMapping(json) ? reduce(json) : { problem: "it is no JSON object" };
}

function reduce({ name, version, dependencies, optionalDependencies }: Mapping): PackageFacts {
  const needed = ranges(dependencies);
  const optional = ranges(optionalDependencies);
  return {
    ...(typeof name === "string" && name !== "" && { name }),
    ...(typeof version === "string" && version !== "" && { version }),
    ...(needed !== undefined && { dependencies: needed }),
    ...(optional !== undefined && { optionalDependencies: optional }),
  };
}

/** Names and ranges; undefined when there are none. */
export function ranges(value: unknown): Record<string, string> | undefined {
  if (!isMapping(value)) return undefined;
  const found = Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return found.length === 0 ? undefined : Object.fromEntries(found);
}
