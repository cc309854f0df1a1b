/**
 * What the broker client shows on its port: health, rules, and the way of callbacks to Snyk.
 *
 * @module
 */
import { Hono } from "hono";
import { LIMITS } from "../core/limits.ts";
import { withDeadline } from "../lib/deadline.ts";
import { abortable } from "../net/body.ts";
import { readBody } from "./body.ts";
import type { AppContext, AppDeps, AppEnv, BrokerFace } from "./deps.ts";

/** Headers that belong to one hop (RFC 9110 §7.6.1), and the length, which is counted anew. */
const NOT_FORWARDED = new Set([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Routes of the broker client; only with a broker. */
export function brokerRoutes(broker: BrokerFace, deps: AppDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.get("/filters", (c) => c.json(broker.rules()));
  app.post("/filters", async (c) => c.json(await broker.reloadRules()));
  app.get("/health/checks", async (c) => c.json(await broker.checks(c.req.raw.signal)));
  app.get("/health/checks/:id", async (c) => {
    const check = await broker.check(c.req.param("id"), c.req.raw.signal);
    return check === undefined ? c.text("Not Found", 404) : c.json(check);
  });
  app.all("*", (c) => forward(broker, deps, c));
  return app;
}

/** `/healthcheck` in the broker client's shape (broker-protocol §7): 200 while at least one socket is open. */
export function healthcheck(deps: AppDeps): Response {
  if (deps.broker === undefined) return Response.json({ ok: true, version: deps.version });
  const states = deps.broker.states().map((state) => ({
    ok: state.open,
    websocketConnectionOpen: state.open,
    brokerServerUrl: state.url,
    version: deps.protocolVersion,
    transport: "websocket",
    ...(state.connection === undefined
      ? {}
      : { identifier: state.connection.identifier, friendlyName: state.connection.name }),
  }));
  const status = states.some((state) => state.ok) ? 200 : 500;
  return Response.json(states.length === 1 ? states[0] : states, { status });
}

/** Anything else that comes here, with whatever method, goes to Snyk if the public rules allow it (broker-protocol §6). */
async function forward(broker: BrokerFace, { clock, config }: AppDeps, c: AppContext): Promise<Response> {
  const url = new URL(c.req.url);
  const limit = { clock, ms: config.broker.requestTimeoutMs, what: "Receiving the request", signal: c.req.raw.signal };
  const body = await withDeadline(
    limit,
    (signal) => abortable(readBody(c.req.raw, LIMITS.brokerRequestBodyBytes), signal),
  );
  const headers = Object.fromEntries([...c.req.raw.headers].filter(([name]) => !NOT_FORWARDED.has(name)));
  const request = { method: c.req.method, url: url.pathname + url.search, headers, body };
  const answer = await broker.forward(request, c.req.raw.signal);
  const answered = new Headers();
  for (const [name, value] of Object.entries(answer.headers)) {
    const known = name.toLowerCase();
    // We ask for no content coding; a field that came all the same says nothing about the body as it is now.
    if (!NOT_FORWARDED.has(known) && known !== "content-encoding") answered.set(name, value);
  }
  const empty = answer.status === 204 || answer.status === 304;
  return new Response(empty ? null : answer.body, { status: answer.status, headers: answered });
}
