/**
 * Descriptors of Yarn 2 and later: `@scope/name@protocol:source#selector::bindings`, as `structUtils` of @yarnpkg/core
 * reads them in its loose mode.
 *
 * @module
 */
import { LockError } from "./node_lock.ts";

/** A name, and the range behind it when there is one. */
export interface Descriptor {
  readonly name: string;
  readonly range: string | undefined;
}

interface Range {
  readonly protocol: string | undefined;
  readonly source: string | undefined;
  readonly selector: string;
}

const DESCRIPTOR = /^(?:@([^/]+?)\/)?([^@/]+?)(?:@(.+))?$/;
const RANGE = /^([^#:]*:)?((?:(?!::)[^#])*)(?:#((?:(?!::).)*))?(?:::(.*))?$/;
/** Longest descriptor: names have at most 214 characters, sources are URLs. */
const MAX_CHARS = 4096;

/** Reads a descriptor; undefined when it is none. */
export function parseDescriptor(text: string): Descriptor | undefined {
  const match = text.length > MAX_CHARS ? null : DESCRIPTOR.exec(text);
  const [, scope, name = "", range] = match ?? [];
  if (match === null || range === "unknown" || scope?.startsWith("@") === true) return undefined;
  return { name: scope === undefined ? name : `@${scope}/${name}`, range };
}

/**
 * The keys under which an entry of yarn.lock is looked up: its descriptors, and how package.json writes them.
 *
 * @throws {LockError} When one is malformed.
 */
export function descriptorKeys(keys: string): Set<string> {
  const found = new Set<string>();
  for (const part of keys.split(",")) {
    const key = part.trim();
    found.add(key);
    const descriptor = parseDescriptor(key);
    const range = descriptor && parseRange(descriptor.range ?? "unknown");
    if (descriptor === undefined || range === undefined) throw new LockError("it names a package that has no name");
    for (const other of spellings(descriptor.name, range)) found.add(other);
  }
  return found;
}

function parseRange(text: string): Range | undefined {
  const match = RANGE.exec(text);
  if (match === null) return undefined;
  const [, protocol, first = "", second] = match;
  try {
    return {
      protocol,
      source: second === undefined ? undefined : decodeURIComponent(first),
      selector: decodeURIComponent(second ?? first),
    };
  } catch {
    return undefined;
  }
}

function spellings(name: string, { protocol, source, selector }: Range): readonly string[] {
  const hash = selector ? `#${selector}` : "";
  switch (protocol) {
    case "npm:":
    case "file:":
      return [`${name}@${selector}`, `${name}@${protocol}${selector}`];
    case "git:":
    case "git+ssh:":
    case "git+http:":
    case "git+https:":
    case "github:":
      return [source ? `${name}@${protocol}${source}${hash}` : `${name}@${protocol}${selector}`];
    case "patch:":
      return [source && selector.startsWith("builtin") ? source : `${name}@${protocol}${source ?? null}${hash}`];
    case undefined:
      return [source ? `${name}@${source}#${selector}` : `${name}@${selector}`];
    default:
      return [`${name}@${protocol}${selector}`];
  }
}
