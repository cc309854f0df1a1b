/**
 * YAML of lock files, as Snyk's parser reads it: every scalar is a text. The only file that imports js-yaml; imported
 * when there is such a lock file.
 *
 * @module
 */
import { FAILSAFE_SCHEMA, load } from "js-yaml";
import { LIMITS } from "../core/limits.ts";
import { isMapping, LockError, type Mapping } from "./node_lock.ts";

const OPTIONS = { json: true, schema: FAILSAFE_SCHEMA };

/**
 * Reads YAML that has to be a mapping.
 *
 * @throws {LockError} When it is not.
 */
export function parseYamlMapping(text: string): Mapping {
  const { nodeYamlBytes, nodeYamlValues } = LIMITS;
  if (text.length > nodeYamlBytes) throw new LockError(`it is larger than ${nodeYamlBytes} bytes`, "LIMIT_EXCEEDED");
  if (hasMore(text, nodeYamlValues)) throw new LockError(`it has more than ${nodeYamlValues} values`, "LIMIT_EXCEEDED");
  let value: unknown;
  try {
    value = load(text, OPTIONS);
  } catch {
    throw new LockError("it is not YAML");
  }
  if (!isMapping(value)) throw new LockError("it is no YAML mapping");
  return value;
}

/** Whether there may be more values than that: each ends with a line, a comma or a bracket. */
function hasMore(text: string, values: number): boolean {
  let left = values;
  for (const _ of text.matchAll(/[\n,[{]/g)) if (--left < 0) return true;
  return false;
}
