/**
 * composer.json, reduced while its layer streams by: every installed PHP package has one, and only those beside a
 * composer.lock count.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FileExtractor } from "../core/ports.ts";
import { manifestExtractor } from "./manifest_extractor.ts";
import { isMapping, type Mapping, memberOf, textOf } from "./node_lock.ts";
import { ranges } from "./node_manifest.ts";

/** What is kept of a project or package; members that would be empty are absent. A type: only those are JsonValues. */
export type ComposerFacts = {
  readonly name?: string;
  readonly version?: string;
  readonly require?: Readonly<Record<string, string>>;
  /** Versions that stand for branches: `{"dev-main": "2.x-dev"}`. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Why nothing else is known. */
  readonly problem?: string;
};

/** Name under which {@link ComposerFacts} are kept. */
export const COMPOSER_JSON = "composer.json";

/** Reads every composer.json. */
export const COMPOSER_EXTRACTOR: FileExtractor = manifestExtractor({
  name: COMPOSER_JSON,
  version: "1",
  maxBytes: LIMITS.projectManifestBytes,
  read: readComposer,
});

/** Reads what counts of a composer.json; a byte-order mark is skipped. */
export function readComposer(bytes: Uint8Array): ComposerFacts {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return { problem: "it is not JSON" };
  }
  // PHP writes an empty object as an empty list.
  if (Array.isArray(json)) return {};
  return isMapping(json) ? reduceComposer(json) : { problem: "it is no JSON object" };
}

/** What counts of a project, or of a package of a composer.lock. */
export function reduceComposer(json: Mapping): ComposerFacts {
  const name = textOf(json.name);
  const version = textOf(json.version);
  const require = ranges(json.require);
  const aliases = ranges(memberOf(json.extra, "branch-alias"));
  return {
    ...(name && { name }),
    ...(version && { version }),
    ...(require !== undefined && { require }),
    ...(aliases !== undefined && { aliases }),
  };
}
