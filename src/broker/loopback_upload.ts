/**
 * The server's end of an uploaded answer (broker-protocol.md §3.1).
 *
 * @module
 */
import { concatBytes } from "../lib/bytes.ts";
import type { ByteStream } from "../core/ports.ts";
import { isRecord } from "./codec.ts";
import { STREAM_CONTENT_TYPE } from "./upload.ts";

/** Heads beyond this are no heads. */
const MAX_HEAD_BYTES = 1024 * 1024;

/**
 * Reads an upload and gives the caller its response as soon as the head is there; the body follows as it comes. Resolves
 * with the answer for the uploader when all was read.
 */
export async function receiveUpload(request: Request, answer: (response: Response) => void): Promise<Response> {
  if (request.headers.get("content-type") !== STREAM_CONTENT_TYPE || request.body === null) {
    answer(new Response(null, { status: 502 }));
    return Response.json({ message: "The content type is wrong." }, { status: 415 });
  }
  const reader = request.body.getReader();
  const head = await readHead(reader);
  if (head === undefined) {
    await reader.cancel();
    answer(new Response(null, { status: 502 }));
    return Response.json({ message: "The head cannot be read." }, { status: 400 });
  }
  const { body, done } = passOn(reader, head.rest);
  const response = toResponse(head.value, body);
  // A response without a body (204) leaves nobody to read what came with it.
  if (response.body === null) await body.pipeTo(new WritableStream());
  answer(response);
  return await done ? Response.json({}) : Response.json({ message: "The upload broke." }, { status: 500 });
}

/** A caller's response from `{status, headers}` as clients send them. */
export function toResponse(head: Readonly<Record<string, unknown>>, body: BodyInit | null): Response {
  const { status, headers } = head;
  const valid = typeof status === "number" && Number.isInteger(status) && status >= 200 && status <= 599;
  const made = new Headers();
  for (const [name, value] of Object.entries(isRecord(headers) ? headers : {})) {
    for (const part of Array.isArray(value) ? value : [value]) made.append(name, String(part));
  }
  const empty = status === 204 || status === 205 || status === 304;
  return new Response(empty ? null : body, { status: valid ? status : 502, headers: made });
}

type Reader = ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

interface Head {
  readonly value: Readonly<Record<string, unknown>>;
  /** Body bytes that came with it. */
  readonly rest: Uint8Array<ArrayBuffer>;
}

async function readHead(reader: Reader): Promise<Head | undefined> {
  let bytes = new Uint8Array(0);
  for (;;) {
    const size = bytes.length < 4 ? undefined : new DataView(bytes.buffer).getUint32(0, true);
    if (size !== undefined && size > MAX_HEAD_BYTES) return undefined;
    if (size !== undefined && bytes.length >= 4 + size) {
      const value = parse(bytes.subarray(4, 4 + size));
      return isRecord(value) ? { value, rest: bytes.slice(4 + size) } : undefined;
    }
    const { value, done } = await reader.read();
    if (done) return undefined;
    bytes = concatBytes([bytes, value]);
  }
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

/** The rest of the upload as the caller's body, and whether it came to its end. */
function passOn(
  reader: Reader,
  first: Uint8Array<ArrayBuffer>,
): { readonly body: ByteStream; readonly done: Promise<boolean> } {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  let rest: Uint8Array<ArrayBuffer> | undefined = first;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: async (controller) => {
      if (rest !== undefined && rest.length > 0) controller.enqueue(rest);
      else await next(controller);
      rest = undefined;
    },
    cancel: async (reason) => {
      resolve(false);
      await reader.cancel(reason);
    },
  });
  const next = async (controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> => {
    try {
      const { value, done } = await reader.read();
      if (!done) return controller.enqueue(value);
      controller.close();
      resolve(true);
    } catch (error) {
      resolve(false);
      controller.error(error);
    }
  };
  return { body, done: promise };
}
