/**
 * Versions and ranges as npm means them. The only file that imports the semver package, and what gives it types; import
 * it where such versions are there to be compared.
 *
 * @module
 */
import semver from "semver";

interface Semver {
  valid(version: string): string | null;
  validRange(range: string): string | null;
  satisfies(version: string, range: string, loose?: boolean): boolean;
  coerce(text: string): { readonly version: string } | null;
  subset(range: string, of: string): boolean;
}

const { valid, validRange, satisfies, subset, coerce }: Semver = semver;

/** Longest text that is looked at: npm's own bound for versions. */
const MAX_CHARS = 256;

/** Whether a text is a version. */
export function isVersion(text: string): boolean {
  return text.length <= MAX_CHARS && valid(text) !== null;
}

/** Whether a text is a range of versions. */
export function isRange(text: string): boolean {
  return text.length <= MAX_CHARS && validRange(text) !== null;
}

/** Whether a version is in a range; false when either is none. */
export function isInRange(version: string, range: string): boolean {
  return version.length <= MAX_CHARS && range.length <= MAX_CHARS && satisfies(version, range);
}

/** Whether all versions of a range, or one version, are in another; false when either is no range. */
export function isSubset(range: string, of: string): boolean {
  return isRange(range) && isRange(of) && subset(range, of);
}

/** As {@link isInRange}, for versions that are not quite npm's: `1.0rc1`. */
export function isInLooseRange(version: string, range: string): boolean {
  return version.length <= MAX_CHARS && range.length <= MAX_CHARS && satisfies(version, range, true);
}

/** The first one to three numbers of a text as a version: `2.0.0` of `v2-final`. Undefined when there are none. */
export function coerceVersion(text: string): string | undefined {
  return text.length <= MAX_CHARS ? coerce(text)?.version : undefined;
}
