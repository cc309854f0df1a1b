/**
 * Layers whose stored bytes a test has made.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Digest } from "../../src/core/digest.ts";
import type { ByteSource, ByteStream, LayerHandle } from "../../src/core/ports.ts";

/** Digest of bytes. */
export function digestOf(bytes: Uint8Array, algorithm: "sha256" | "sha512" = "sha256"): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

/** A stream of the bytes in chunks; `fail` ends it with an error instead of an end. */
export function streamOf(bytes: Uint8Array, chunk = 1000, fail?: unknown): ByteStream {
  let at = 0;
  return new ReadableStream({
    pull(controller): void {
      if (at < bytes.length) controller.enqueue(new Uint8Array(bytes.slice(at, at += chunk)));
      else if (fail !== undefined) controller.error(fail);
      else controller.close();
    },
  });
}

/** Reads a stream, until the signal aborts. */
export function sourceOf(stream: ByteStream, signal?: AbortSignal): ByteSource {
  const reader = stream.getReader();
  const cancel = async (): Promise<void> => await reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener("abort", cancel, { once: true });
  return { read: async () => (await reader.read()).value, close: cancel };
}

/** A layer, and how often it was opened. */
export interface FakeLayer {
  readonly handle: LayerHandle;
  readonly opens: () => number;
}

/** A layer of stored bytes, whose digest and size are right unless overridden. */
export function fakeLayer(stored: Uint8Array, overrides: Partial<LayerHandle> = {}): FakeLayer {
  let opens = 0;
  const handle = {
    name: "sha256:layer",
    digest: digestOf(stored),
    size: stored.length,
    mediaType: "text/plain",
    diffId: undefined,
    open(signal: AbortSignal): Promise<ByteSource> {
      opens++;
      return Promise.resolve(sourceOf(streamOf(stored), signal));
    },
    ...overrides,
  };
  return { handle, opens: () => opens };
}
