/**
 * A registry in front of docker-registry that hands out blobs slowly, and knows who fetched what and when: each client
 * logs in under a name of its own.
 *
 * @module
 */
import type { DockerRegistry } from "../peers/docker_registry.ts";

/** One download of a blob. Times in milliseconds since the epoch. */
export interface BlobFetch {
  readonly client: string;
  readonly digest: string;
  readonly began: number;
  /** Undefined while it goes on. */
  ended: number | undefined;
  /** Whether all of it was handed out. */
  whole: boolean;
}

/** A running front. */
export interface SlowRegistry extends AsyncDisposable {
  readonly url: string;
  /** Downloads of blobs, oldest first. */
  readonly fetches: readonly BlobFetch[];
  /** Waited for before a blob's first byte is handed out. */
  gate: (client: string, digest: string) => Promise<void> | undefined;
}

/** Bytes handed out in one go. */
const PIECE_BYTES = 16 * 1024;

/** Starts the front; each download has `bytesPerSecond` of its own. */
export function startSlowRegistry(registry: DockerRegistry, bytesPerSecond: number): SlowRegistry {
  const fetches: BlobFetch[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const client = clientOf(request);
    if (client === undefined) {
      return new Response(null, { status: 401, headers: { "www-authenticate": 'Basic realm="slow"' } });
    }
    const { pathname, search } = new URL(request.url);
    const digest = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(pathname)?.[1];
    const headers = new Headers(request.headers);
    for (const name of ["authorization", "host", "accept-encoding"]) headers.delete(name);
    if (digest === undefined || request.method !== "GET") {
      return await fetch(`${registry.url}${pathname}${search}`, { method: request.method, headers });
    }
    const record: BlobFetch = { client, digest, began: Date.now(), ended: undefined, whole: false };
    fetches.push(record);
    await started.gate(client, digest);
    const answer = await fetch(`${registry.url}${pathname}${search}`, { headers });
    const bytes = new Uint8Array(await answer.arrayBuffer());
    return new Response(slowly(bytes, bytesPerSecond, record), { status: answer.status, headers: answer.headers });
  });
  const started: SlowRegistry = {
    url: `http://127.0.0.1:${server.addr.port}`,
    fetches,
    gate: () => undefined,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return started;
}

function clientOf(request: Request): string | undefined {
  const encoded = /^basic (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  return encoded === undefined ? undefined : atob(encoded).split(":")[0];
}

function slowly(
  bytes: Uint8Array<ArrayBuffer>,
  bytesPerSecond: number,
  record: BlobFetch,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  const end = (whole: boolean): void => {
    record.ended ??= Date.now();
    record.whole = whole;
  };
  return new ReadableStream({
    async pull(controller) {
      if (at >= bytes.length) {
        end(true);
        return controller.close();
      }
      await new Promise((resolve) => setTimeout(resolve, PIECE_BYTES / bytesPerSecond * 1000));
      controller.enqueue(bytes.subarray(at, at += PIECE_BYTES));
    },
    cancel: () => end(false),
  }, { highWaterMark: 0 });
}
