/**
 * The environment before it is read: a `.env` file, names in any case, and `$NAME` in values (broker-protocol.md §5, §12).
 *
 * @module
 */
import { parseEnv } from "node:util";

/** A set of variables. */
export type Variables = Readonly<Record<string, string>>;

/** The variables of a `.env` text, as dotenv reads them: comments, quotes, `export`. */
export function parseDotEnv(text: string): Variables {
  const entries = Object.entries(parseEnv(text)).flatMap(([name, value]) => value === undefined ? [] : [[name, value]]);
  return Object.fromEntries(entries);
}

/** Adds the upper-case name of every variable whose upper-case name is not set: `broker_token` means BROKER_TOKEN. */
export function withUpperCaseNames(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const all: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined) all[name] = value;
  for (const [name, value] of Object.entries(all)) {
    const upper = name.toUpperCase();
    if (!Object.hasOwn(all, upper)) all[upper] = value;
  }
  return all;
}

/** `\$NAME` stays, `$NAME` is another variable's value. */
const REFERENCE = /\\?\$\w+/g;

/**
 * Replaces `$NAME` in values by the value of NAME, in the order of the names; an unknown or empty NAME stays as it is, and
 * `${NAME}` is left for later. A value that names a variable with a pool becomes a pool itself: with `T_POOL=a,b`, the
 * value `token $T` of H gives `H_POOL=token a,token b`.
 *
 * @param literal Names whose values are taken as they are: passwords hold dollar signs.
 */
export function expandReferences(env: Variables, literal: (name: string) => boolean): Record<string, string> {
  const all: Record<string, string> = { ...env };
  const value = (name: string): string => (Object.hasOwn(all, name) ? all[name] : undefined) ?? "";
  for (const [name, text] of Object.entries(env)) {
    if (literal(name) || !text.includes("$")) continue;
    const pooled = (text.match(REFERENCE) ?? []).find((found) =>
      found.startsWith("$") && value(`${found.slice(1)}_POOL`) !== ""
    );
    const expand = (member?: string): string =>
      text.replace(REFERENCE, (found) => {
        if (!found.startsWith("$")) return found;
        return found === pooled && member !== undefined ? member : value(found.slice(1)) || found;
      });
    if (pooled === undefined) all[name] = expand();
    else all[`${name}_POOL`] = value(`${pooled.slice(1)}_POOL`).split(",").map((m) => expand(m.trim())).join(",");
  }
  return all;
}

/**
 * Gives every variable that is not set the value of `SNYK_<name>`, which the reference reads as an override of its
 * configuration file: the plain name wins.
 *
 * @param names Variables that may be given so. Names that are variables of their own (SNYK_PORT) keep their meaning.
 */
export function withPrefixedNames(env: Variables, names: readonly string[]): Record<string, string> {
  const all: Record<string, string> = { ...env };
  for (const name of names) {
    const prefixed = `SNYK_${name}`;
    const value = all[prefixed];
    if ((all[name] ?? "") === "" && value !== undefined && !names.includes(prefixed)) all[name] = value;
  }
  return all;
}

/** A value for one member of a configuration file. */
export interface MemberOverride {
  /** Names from the outermost object inwards. */
  readonly path: readonly string[];
  readonly value: string;
}

/** The overrides of nested members: `SNYK_CONNECTIONS__hub__CR_BASE` means `CONNECTIONS.hub.CR_BASE`. */
export function memberOverrides(env: Readonly<Record<string, string | undefined>>): readonly MemberOverride[] {
  return Object.entries(env).flatMap(([name, value]) => {
    const path = name.startsWith("SNYK_") ? name.slice("SNYK_".length).split("__") : [];
    return path.length < 2 || path.includes("") || value === undefined ? [] : [{ path, value }];
  });
}

/** A parsed configuration file with these members replaced; objects on the way are made. */
export function overrideMembers(file: unknown, overrides: readonly MemberOverride[]): unknown {
  return overrides.reduce((changed, { path, value }) => withMember(changed, path, value), file);
}

function withMember(value: unknown, [name, ...rest]: readonly string[], text: string): unknown {
  if (name === undefined) return text;
  const members = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  const inner = members.find(([key]) => key === name)?.[1];
  return Object.fromEntries([...members.filter(([key]) => key !== name), [name, withMember(inner, rest, text)]]);
}
