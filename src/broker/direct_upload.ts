/**
 * The upload of an answer over a direct connection: the agent's bytes go from its socket's buffer to the server's socket,
 * in one request with the length that the agent told, or else chunked (broker-protocol.md §3.1).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { Clock } from "../core/ports.ts";
import type { DirectExchange, DirectResponse } from "../net/direct.ts";
import type { Field } from "../net/http1_head.ts";
import { type PulledBody, pulledFrom } from "../net/pulled_body.ts";
import type { AnswerBody } from "./answer.ts";

/** One upload. */
export interface DirectUpload {
  readonly exchange: DirectExchange;
  readonly clock: Clock;
  readonly url: URL;
  readonly fields: readonly Field[];
  /** Length and head of the answer. */
  readonly head: Uint8Array<ArrayBuffer>;
  readonly body: PulledBody | undefined;
  /** It is given up when it makes no progress for this long. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
}

/** How an upload ended. */
export interface UploadOutcome {
  readonly status: number;
  /** Bytes of the body that were sent. */
  readonly bytes: number;
  /** Whether the server took everything. */
  readonly whole: boolean;
}

/** Of the server's answer, `{}`, so much is read for the sake of the connection. */
const ANSWER_BYTES = 16 * 1024;
const OVER = new DOMException("The upload is over", "AbortError");

/** The agent's bytes, or those of a JSON value of our own; undefined when there are none. */
export function pulledBody(body: AnswerBody): PulledBody | undefined {
  if (body.kind === "stream") return pulledFrom(body.stream);
  if (body.kind === "pulled") return body.pulled;
  return body.kind === "json" ? pulledOnce(new TextEncoder().encode(JSON.stringify(body.value))) : undefined;
}

function pulledOnce(bytes: Uint8Array<ArrayBuffer>): PulledBody {
  let taken = false;
  const take = (): Uint8Array<ArrayBuffer> | undefined => {
    if (taken) return undefined;
    taken = true;
    return bytes;
  };
  return {
    length: bytes.length,
    get ended() {
      return taken;
    },
    take,
    read: () => Promise.resolve(take()),
    cancel: () => {},
  };
}

/**
 * Uploads; undefined when no connection could be made, and the body is untouched.
 *
 * @throws {OutpostError} as `DirectClient.exchange`, TIMEOUT after `idleMs` without progress.
 */
export async function uploadDirectly(upload: DirectUpload): Promise<UploadOutcome | undefined> {
  const { exchange, url, fields, head, body, signal } = upload;
  const life = new AbortController();
  const stop = (): void => life.abort(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  let bytes = 0;
  let moves = 0;
  const idle = watchIdle(upload, life, () => moves);
  try {
    const response = await exchange({
      method: "POST",
      url,
      fields,
      body: { prefix: head, source: body },
      signal: life.signal,
      onProgress: (count) => {
        bytes += count;
        moves++;
      },
    });
    if (response === undefined) return undefined;
    await readShort(response);
    return { status: response.status, bytes, whole: response.sent };
  } finally {
    signal.removeEventListener("abort", stop);
    if (!life.signal.aborted) life.abort(OVER);
    await idle;
  }
}

/** Reads the server's answer, so that the connection can be used again; a long one is not worth it. */
async function readShort({ body }: DirectResponse): Promise<void> {
  let bytes = 0;
  for (let piece = await body.read(); piece !== undefined; piece = await body.read()) {
    bytes += piece.length;
    if (bytes > ANSWER_BYTES) return body.cancel();
  }
}

async function watchIdle({ clock, idleMs }: DirectUpload, life: AbortController, moves: () => number): Promise<void> {
  for (let seen = -1; seen !== moves();) {
    seen = moves();
    try {
      await clock.sleep(idleMs, life.signal);
    } catch {
      return;
    }
  }
  life.abort(new OutpostError("TIMEOUT", "Cannot deliver an answer: the upload made no progress"));
}
