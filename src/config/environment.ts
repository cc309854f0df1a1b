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
