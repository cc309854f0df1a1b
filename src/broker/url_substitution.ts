/**
 * RES_BODY_URL_SUB: in JSON answers the agent's own URL becomes the caller's way back to it (broker-protocol.md §12).
 *
 * @module
 */
import type { ByteStream } from "../core/ports.ts";
import { type Answer, bodyStream } from "./answer.ts";

/** Longest scheme in front of the URL that is looked for across chunks. */
const SCHEME_CHARS = 32;

/**
 * Replaces `<any scheme>://<url>` in the bodies of JSON answers by the broker server's internal address with the token.
 * Any other answer, and one with a content coding, comes back as it is. The length is no longer known and is left out.
 *
 * @param url The value of RES_BODY_URL_SUB; a scheme in it means nothing.
 */
export function substituteUrls(answer: Answer, url: string, token: string): Answer {
  const { headers, body } = answer;
  const type = headers["content-type"];
  if (typeof type !== "string" || !type.includes("json")) return answer;
  if (headers["content-encoding"] !== undefined && headers["content-encoding"] !== "identity") return answer;
  const stream = bodyStream(body);
  if (stream === undefined) return answer;
  const { "content-length": _length, ...kept } = headers;
  const replacement = `http://internal-broker-server-next/broker/${token}`;
  return { ...answer, headers: kept, body: { kind: "stream", stream: replaced(stream, url, replacement) } };
}

function replaced(stream: ByteStream, url: string, replacement: string): ByteStream {
  const bare = url.replace(/^(?:\w+:)?\/\//, "");
  const pattern = new RegExp(`\\w+://${bare.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`, "g");
  const held = bare.length + "://".length + SCHEME_CHARS;
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const encoder = new TextEncoder();
  let rest = "";
  return stream.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>(
      {
        transform(chunk, controller) {
          rest = (rest + decoder.decode(chunk, { stream: true })).replace(pattern, () => replacement);
          // A match may begin here and end in the next chunk. Surrogate pairs stay together.
          let cut = rest.length - held;
          if (cut <= 0) return;
          if (/[\uD800-\uDBFF]/.test(rest.charAt(cut - 1))) cut--;
          if (cut > 0) controller.enqueue(encoder.encode(rest.slice(0, cut)));
          rest = rest.slice(cut);
        },
        flush(controller) {
          rest = (rest + decoder.decode()).replace(pattern, () => replacement);
          if (rest !== "") controller.enqueue(encoder.encode(rest));
        },
      },
      { highWaterMark: 1 },
      { highWaterMark: 0 },
    ),
  );
}
