/**
 * Bodies that are pulled piece by piece from a buffer that is used again: what the relay carries by the gigabyte without
 * a stream, a copy or an object for each piece.
 *
 * @module
 */
import type { ByteStream } from "../core/ports.ts";

/** A body on its way. Its owner reads it to the end or cancels it. */
export interface PulledBody {
  /** Bytes of the whole body, where its sender told them. */
  readonly length: number | undefined;
  /** Whether everything has been taken; the body may also be over without having noticed yet. */
  readonly ended: boolean;
  /** What is here already, valid until the next call; undefined when one has to wait or everything was taken. */
  take(): Uint8Array<ArrayBuffer> | undefined;
  /**
   * The next piece, valid until the next call; undefined at the end.
   *
   * @throws {OutpostError} CONNECTION_RESET when the body breaks off, CONNECTION_FAILED when it is malformed.
   */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Gives the rest up. */
  cancel(): void;
}

/** A stream as a pulled body. */
export function pulledFrom(stream: ByteStream): PulledBody {
  const reader = stream.getReader();
  let ended = false;
  return {
    length: undefined,
    get ended() {
      return ended;
    },
    take: () => undefined,
    async read() {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) {
          ended = true;
          return undefined;
        }
        if (value.length > 0) return value;
      }
    },
    cancel: () => void reader.cancel().catch(() => {}),
  };
}

/** A pulled body as a stream; each piece is copied. */
export function streamFrom(body: PulledBody): ByteStream {
  return new ReadableStream({
    async pull(controller) {
      const piece = await body.read();
      if (piece === undefined) controller.close();
      else controller.enqueue(piece.slice());
    },
    cancel: () => body.cancel(),
  }, { highWaterMark: 0 });
}
