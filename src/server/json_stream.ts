/**
 * A JSON array that is written while its items arrive.
 *
 * @module
 */

/**
 * Streams pages as one JSON array. The first page is awaited before the function returns, so that a failure there can
 * still become a status; a later failure breaks the stream: a list is complete or visibly not a list.
 */
export async function streamJsonArray<T>(
  pages: AsyncIterable<readonly T[]>,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const iterator = pages[Symbol.asyncIterator]();
  let next = await iterator.next();
  let started = false;
  let any = false;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      let chunk = started ? "" : "[";
      started = true;
      // A pull that enqueues nothing is not repeated by the stream: empty pages are passed over here.
      while (chunk === "" && next.done !== true && next.value.length === 0) next = await iterator.next();
      if (next.done === true) {
        controller.enqueue(new TextEncoder().encode(`${chunk}]`));
        return controller.close();
      }
      for (const item of next.value) {
        chunk += `${any ? "," : ""}${JSON.stringify(item)}`;
        any = true;
      }
      controller.enqueue(new TextEncoder().encode(chunk));
      next = await iterator.next();
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
