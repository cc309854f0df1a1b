/**
 * OUTPOST_RECORD_DIR: redacted copies of real exchanges, so that an operator can show where our contract is wrong.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { toOutpostError } from "../core/errors.ts";
import type { AppDeps, AppEnv } from "./deps.ts";

/** Longer bodies are cut: a record shows shapes, it is no archive. */
const MAX_RECORDED_CHARS = 256 * 1024;

/** Middleware that records requests whose path matches, with their answers. */
export function recordExchange(deps: AppDeps, paths: RegExp): MiddlewareHandler<AppEnv> {
  return async function recordExchangeHandler(c, next): Promise<void> {
    if (deps.record === undefined || !paths.test(c.req.path)) return await next();
    const request = { method: c.req.method, url: c.req.url, headers: plain(c.req.raw.headers), body: "" };
    if (c.req.method !== "GET") request.body = (await c.req.raw.clone().text()).slice(0, MAX_RECORDED_CHARS);
    await next();
    const body = (await c.res.clone().text()).slice(0, MAX_RECORDED_CHARS);
    const exchange = {
      time: new Date(deps.clock.now()).toISOString(),
      request,
      response: { status: c.res.status, headers: plain(c.res.headers), body },
    };
    await deps.record(`${deps.clock.now()}-${c.req.path.split("/")[1] ?? "request"}-${deps.newId()}.json`, exchange)
      .catch(
        (error: unknown) => deps.logger.warn("Cannot record an exchange", { error: toOutpostError(error) }),
      );
  };
}

function plain(headers: Headers): Record<string, string> {
  return Object.fromEntries(headers);
}
