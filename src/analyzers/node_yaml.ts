/**
 * YAML of lock files, as Snyk's parser reads it: every scalar is a text. The only file that imports js-yaml; imported
 * when there is such a lock file.
 *
 * @module
 */
import { FAILSAFE_SCHEMA, load } from "js-yaml";
import { isMapping, LockError, type Mapping } from "./node_lock.ts";

const OPTIONS = { json: true, schema: FAILSAFE_SCHEMA };

/**
 * Reads YAML that has to be a mapping.
 *
 * @throws {LockError} When it is not.
 */
export function parseYamlMapping(text: string): Mapping {
  let value: unknown;
  try {
    value = load(text, OPTIONS);
  } catch {
    throw new LockError("it is not YAML");
  }
  if (!isMapping(value)) throw new LockError("it is no YAML mapping");
  return value;
}
