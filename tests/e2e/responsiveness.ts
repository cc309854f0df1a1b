/**
 * Asks a daemon over and over whether it is there.
 *
 * @module
 */

/** One answer. */
export interface Answer {
  readonly status: number;
  /** From the request to the end of the body, in milliseconds. */
  readonly ms: number;
}

/** Longest wait for one answer; a daemon that does not answer for so long does not answer. */
const PATIENCE_MS = 30_000;

/**
 * Sends GET requests to `url`, each once the one before is answered, until `end` is settled.
 *
 * @throws When a request is not answered.
 */
export async function askUntil(url: string, end: Promise<unknown>): Promise<readonly Answer[]> {
  let ended = false;
  const watch = end.then(() => void (ended = true), () => void (ended = true));
  const answers: Answer[] = [];
  while (!ended) {
    const began = performance.now();
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
    await response.arrayBuffer();
    answers.push({ status: response.status, ms: performance.now() - began });
  }
  await watch;
  return answers;
}
