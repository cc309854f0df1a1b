/**
 * The answers that travel inside the websocket: as an acknowledgement, or as `chunk` events for servers that cannot
 * receive uploads (broker-protocol.md §3.2, §3.3).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { ByteStream } from "../core/ports.ts";
import { concatBytes } from "../lib/bytes.ts";
import { type Answer, bodyStream, errorAnswer } from "./answer.ts";
import type { BrokerSession } from "./session.ts";

/** Bytes that may be held by all requests together; a reservation is released with {@link ByteBudget.release}. */
export class ByteBudget {
  #left: number;
  readonly #waiting = new Map<() => void, number>();

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Takes bytes if there are enough. */
  reserve(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  /** Gives bytes back. */
  release(bytes: number): void {
    this.#left += bytes;
    for (const [resolve, wanted] of this.#waiting) {
      if (wanted > this.#left) continue;
      this.#waiting.delete(resolve);
      resolve();
    }
  }

  /** Resolves once so many bytes are free; undefined when they are now. Nothing is taken. */
  room(bytes: number): Promise<void> | undefined {
    if (bytes <= this.#left) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(resolve, bytes);
    return promise;
  }
}

/** Options of {@link acknowledgeAnswer}. */
export interface AcknowledgeOptions {
  readonly session: BrokerSession;
  /** Id of the event that is answered. */
  readonly id: number;
  readonly requestId: string;
  readonly budget: ByteBudget;
  /** Most bytes of a body (SOCKET_MAX_RESPONSE_LENGTH). */
  readonly maxBytes: number;
}

/**
 * Sends the answer as an acknowledgement; one that is larger than `maxBytes` becomes 502
 * BODY_TOO_LARGE.
 *
 * @returns bytes of the body.
 * @throws {OutpostError} BROKER_DISCONNECTED when the session has ended.
 */
export async function acknowledgeAnswer(answer: Answer, options: AcknowledgeOptions): Promise<number> {
  const { session, id, requestId, budget, maxBytes } = options;
  const collected = await collect(answer, budget, maxBytes);
  try {
    const { status, headers, errorType } = collected.answer;
    const acknowledgement = {
      status,
      headers: { ...headers, "snyk-request-id": requestId, "x-broker-ws-response": "true" },
      body: collected.body,
      errorType,
      originalBodySize: collected.originalBodySize,
    };
    // What waits here is still counted by the budget; what the websocket holds is not.
    await sendInTurn(session, () => session.acknowledge(id, acknowledgement));
    return collected.reserved;
  } finally {
    budget.release(collected.reserved);
  }
}

interface Collected {
  readonly answer: Answer;
  readonly body: unknown;
  readonly reserved: number;
  readonly originalBodySize?: number;
}

async function collect(answer: Answer, budget: ByteBudget, maxBytes: number): Promise<Collected> {
  if (answer.body.kind === "none") return { answer, body: "", reserved: 0 };
  if (answer.body.kind === "json") return { answer, body: answer.body.value, reserved: 0 };
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let reserved = 0;
  const replaced = (made: Answer, originalBodySize?: number): Collected => {
    budget.release(reserved);
    const body = made.body.kind === "json" ? made.body.value : "";
    return { answer: made, body, reserved: 0, ...(originalBodySize === undefined ? {} : { originalBodySize }) };
  };
  try {
    for await (const chunk of bodyStream(answer.body) ?? []) {
      if (reserved + chunk.length > maxBytes) {
        const size = Math.max(Number(answer.headers["content-length"] ?? 0) || 0, reserved + chunk.length);
        return replaced(tooLarge(size, maxBytes), size);
      }
      if (!budget.reserve(chunk.length)) {
        return replaced(errorAnswer(503, "BUSY", "Cannot hold the answer: too many bytes are on their way"));
      }
      reserved += chunk.length;
      chunks.push(chunk);
    }
  } catch {
    return replaced(errorAnswer(502, "DOWNSTREAM_ERROR", "Cannot read the agent's answer: it was cut off"));
  }
  const body = decodeText(chunks);
  // The server turns bytes into JSON or into replacement characters; neither is the agent's answer.
  if (body === undefined) {
    return replaced(
      errorAnswer(502, "DOWNSTREAM_ERROR", "Cannot send the answer inside the websocket: it is not text"),
    );
  }
  return { answer, body, reserved };
}

function tooLarge(size: number, limit: number): Answer {
  return errorAnswer(502, "BODY_TOO_LARGE", `body size of ${size} is greater than max allowed of ${limit} bytes`);
}

/** UTF-8 text, or undefined when the bytes are none. */
function decodeText(chunks: readonly Uint8Array<ArrayBuffer>[]): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(concatBytes(chunks));
  } catch {
    return undefined;
  }
}

/**
 * Sends the answer as `chunk` events.
 *
 * @returns bytes of the body.
 * @throws {OutpostError} BROKER_DISCONNECTED when the session ends first.
 */
export async function sendChunks(
  answer: Answer,
  options: { readonly session: BrokerSession; readonly streamingId: string },
): Promise<number> {
  const { session, streamingId } = options;
  const { status, headers } = answer;
  let bytes = 0;
  const send = (...args: readonly unknown[]): Promise<void> =>
    sendInTurn(session, () => session.emit("chunk", streamingId, ...args));
  await send("", false, { status, headers });
  for await (const chunk of bodyChunks(answer)) {
    await send(chunk, false);
    bytes += chunk.length;
  }
  await send("", true);
  return bytes;
}

function bodyChunks(answer: Answer): ByteStream | readonly Uint8Array<ArrayBuffer>[] {
  if (answer.body.kind === "json") return [new TextEncoder().encode(JSON.stringify(answer.body.value))];
  return bodyStream(answer.body) ?? [];
}

/** Sends once there is room; of several that wait, the first may leave none for the others. */
async function sendInTurn(session: BrokerSession, send: () => boolean): Promise<void> {
  do {
    await session.drained();
    if (send()) return;
  } while (session.open && !session.hasRoom);
  throw lost();
}

function lost(): OutpostError {
  return new OutpostError("BROKER_DISCONNECTED", "Cannot deliver an answer: the websocket that asked for it is gone");
}
