/**
 * Websocket frames between Snyk's own client and server 5.22.14, as they were on the wire, in their order.
 *
 * @module
 */

/** One frame. */
export interface RecordedFrame {
  readonly from: "client" | "server";
  readonly text: string;
}

/** The frames of tests/fixtures/broker/frames.jsonl. */
export const RECORDED_FRAMES: readonly RecordedFrame[] = Deno.readTextFileSync(
  new URL("../fixtures/broker/frames.jsonl", import.meta.url),
).trimEnd().split("\n").map((line) => JSON.parse(line) as RecordedFrame);
