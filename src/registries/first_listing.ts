/**
 * Lists that have more than one source: the vendor's own API first, what every registry has after it.
 *
 * @module
 */
import { type ErrorCode, OutpostError } from "../core/errors.ts";

/** A list, not yet started. */
export type Listing<T> = () => AsyncIterable<readonly T[]>;

/** Refusals: the list is there for others, or not there at all. What else goes wrong may hide names of this list. */
export const REFUSED: ReadonlySet<ErrorCode> = new Set([
  "NO_CATALOG_PERMISSION",
  "CATALOG_UNSUPPORTED",
  "REPO_FORBIDDEN",
  "REPO_NOT_FOUND",
]);

/** Errors that another source of the same list may not have: no such API there, or no right to it. */
export const OTHER_SOURCE_MAY_WORK: ReadonlySet<ErrorCode> = new Set([
  ...REFUSED,
  "NOT_A_REGISTRY",
  "REGISTRY_PROTOCOL",
]);

/**
 * The pages of the first source that gives any or ends well. A source that fails after its first page fails the list,
 * since the next one would give the same names again. When all fail the last one's error is thrown.
 *
 * @param mayContinue Whether an error that a source begins with lets the next one try.
 */
export async function* firstListing<T>(
  sources: readonly Listing<T>[],
  mayContinue: (error: OutpostError) => boolean = (error) => OTHER_SOURCE_MAY_WORK.has(error.code),
): AsyncGenerator<readonly T[], void, void> {
  for (const [at, source] of sources.entries()) {
    let begun = false;
    try {
      for await (const page of source()) {
        begun = true;
        yield page;
      }
      return;
    } catch (error) {
      const last = at === sources.length - 1;
      if (begun || last || !(error instanceof OutpostError) || !mayContinue(error)) throw error;
    }
  }
}
