/**
 * OUTPOST_RECORD_DIR: redacted copies of real exchanges, so that an operator can show where our contract is wrong.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { parseJsonBytes } from "../lib/bounded_json.ts";
import { readBody } from "./body.ts";
import type { AppDeps, AppEnv } from "./deps.ts";

/** Longer bodies are cut: a record shows shapes, it is no archive. */
const MAX_RECORDED_BYTES = 256 * 1024;

/** Middleware that records requests whose path matches, with their answers, once the answer's body has been read. */
export function recordExchange(deps: AppDeps, paths: RegExp): MiddlewareHandler<AppEnv> {
  return async function recordExchangeHandler(c, next): Promise<void> {
    const { record } = deps;
    if (record === undefined || !paths.test(c.req.path)) return await next();
    const { method, url, raw } = c.req;
    const asked = method === "GET" ? new Uint8Array(0) : await readBody(raw.clone(), LIMITS.requestBodyBytes);
    const request = { method, url, headers: plain(raw.headers), body: shown(asked.subarray(0, MAX_RECORDED_BYTES)) };
    await next();
    const { status, headers, body } = c.res;
    const keep = async (answered: Uint8Array, whole: boolean): Promise<void> => {
      const time = deps.clock.now();
      const response = { status, headers: plain(headers), body: shown(answered), ...(whole ? {} : { broken: true }) };
      const name = `${time}-${c.req.path.split("/")[1] ?? "request"}-${deps.newId()}.json`;
      await record(name, { time: new Date(time).toISOString(), request, response }).catch((error: unknown) =>
        deps.logger.warn("Cannot record an exchange", { error: toOutpostError(error) })
      );
    };
    if (body === null) await keep(new Uint8Array(0), true);
    else c.res = new Response(watched(body, keep), { status, headers });
  };
}

/** The same stream; its start is handed to `keep` before its end, or its failure, is passed on. */
function watched(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  keep: (start: Uint8Array, whole: boolean) => Promise<void>,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  const start = new Uint8Array(MAX_RECORDED_BYTES);
  let kept = 0;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) {
          await keep(start.subarray(0, kept), true);
          return controller.close();
        }
        const part = value.subarray(0, start.length - kept);
        start.set(part, kept);
        kept += part.length;
        controller.enqueue(value);
      } catch (error) {
        await keep(start.subarray(0, kept), false);
        controller.error(error);
      }
    },
    async cancel(reason) {
      await Promise.all([keep(start.subarray(0, kept), false), reader.cancel(reason)]);
    },
  });
}

/** A body as data where it is JSON, so that the redactor sees the names of its members; otherwise as text. */
function shown(bytes: Uint8Array): unknown {
  try {
    return bytes.length === 0 ? "" : parseJsonBytes(bytes);
  } catch {
    return new TextDecoder().decode(bytes);
  }
}

function plain(headers: Headers): Record<string, string> {
  return Object.fromEntries(headers);
}
