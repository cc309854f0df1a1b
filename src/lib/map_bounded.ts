/**
 * Asynchronous work on many items, a few at once.
 *
 * @module
 */

/** Maps with so many at once, in order; the first failure ends it once the running ones are done. */
export async function mapBounded<T, R>(
  items: readonly T[],
  bound: number,
  map: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  let failed = false;
  const work = async (): Promise<void> => {
    for (let at = next++; at < items.length && !failed; at = next++) {
      try {
        results[at] = await map(items[at] as T);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: Math.min(bound, items.length) }, work));
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  if (failure !== undefined) throw failure.reason;
  return results;
}
