/**
 * The agent behind both broker clients of bench/broker.ts: a process of its own that answers without work.
 * `/list` is small JSON, `/list/large` is 10 MB that do not repeat, with a length. Prints its port.
 *
 * @module
 */
import process from "node:process";

/** Bytes of the large answer. */
export const LARGE_BYTES = 10_000_000;

/** Bytes that a proxy can neither guess nor compress. */
export function largeBody(): Uint8Array<ArrayBuffer> {
  const body = new Uint8Array(LARGE_BYTES);
  let state = 1;
  for (let at = 0; at < body.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    body[at] = state >>> 24;
  }
  return body;
}

function serve(): void {
  const small = JSON.stringify(Array.from({ length: 20 }, (_, index) => `team/application-${index}`));
  const large = largeBody();
  const port = (address: Deno.NetAddr): void => void process.stdout.write(`${address.port}\n`);
  Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: port }, (request) => {
    return request.url.endsWith("/list/large")
      ? new Response(large, { headers: { "content-type": "application/octet-stream" } })
      : new Response(small, { headers: { "content-type": "application/json" } });
  });
}

if (import.meta.main) serve();
