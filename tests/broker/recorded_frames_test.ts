/** The frames of Snyk's own client and server: read whole, and written as they were (reliability.md B6). */
import { describe, expect, it } from "vitest";
import { readRequest } from "../../src/broker/brokered_request.ts";
import { decodeFrame, encodeFrame } from "../../src/broker/codec.ts";
import { RECORDED_FRAMES } from "../fakes/recorded_frames.ts";

describe("recorded frames", () => {
  it.each(RECORDED_FRAMES.map((frame, n) => [n, frame] as const))(
    "§1.1–1.4 number %d is read and written again",
    (_, { text }) => {
      const frame = decodeFrame(text);
      // The reference's upgrade from polling; a client that begins with a websocket has none.
      if (text === "5") return expect(frame.kind).toBe("ignored");
      if (frame.kind === "malformed" || frame.kind === "ignored") return expect.unreachable(frame.reason);
      expect(encodeFrame(frame)).toBe(text);
    },
  );

  it("§2 hold requests that are read with all that they say", () => {
    const requests = RECORDED_FRAMES.filter(({ from }) => from === "server").flatMap(({ text }) => {
      const frame = decodeFrame(text);
      return frame.kind === "event" && frame.name === "request" ? [frame] : [];
    });
    expect(requests.length).toBeGreaterThan(4);
    for (const { args: [argument], id } of requests) {
      const read = readRequest(argument, () => expect.unreachable()) ?? expect.unreachable();
      expect(argument).toMatchObject({ url: read.url, method: read.method, requestId: read.requestId });
      expect(read.headers).toEqual((argument as { readonly headers: unknown }).headers);
      // One way back each: an acknowledgement, or a stream.
      expect([id === undefined, read.streamingId === ""]).toEqual([id === undefined, id !== undefined]);
    }
    const [scan] = requests.flatMap(({ args }) => readRequest(args[0], () => "")?.body ?? []);
    expect(JSON.parse(new TextDecoder().decode(scan))).toEqual({ a: { $binary: "x" }, u: "\u2028" });
  });
});
