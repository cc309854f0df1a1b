/**
 * What is made once, by whoever needs it first.
 *
 * @module
 */

/** A function that gives what `make` gives, and calls it once; again only after it has failed. */
export function lazy<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () =>
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
}
