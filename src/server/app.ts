/**
 * The one Hono app: the broker relay calls it inside the process, the listener from the network.
 *
 * @module
 */
import { Hono } from "hono";
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { agentRoutes } from "./agent_routes.ts";
import { brokerRoutes, healthcheck } from "./broker_routes.ts";
import type { AppContext, AppDeps, AppEnv } from "./deps.ts";
import { jobRoutes } from "./job_routes.ts";
import { opsRoutes, systemcheck } from "./ops_routes.ts";
import { recordExchange } from "./record.ts";

/** What a caller is told to wait, in seconds, when it is not known for how long there is no connection to Snyk. */
const RETRY_AFTER_S = 5;

const LOOPBACK = /^(?:127\.|::1$|::ffff:127\.)/;
const LOCAL_HOST = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/;

const AGENT_PATHS =
  /^\/(?:validate-credentials|get-state-identifier|list|list-paginated|list-with-metadata|image-metadata|discover|scan)(?:\/|$)/;

/** What the operator of this machine alone may ask, not the broker server. */
const API_PATHS = /^\/api\/jobs(?:\/|$)/;

/** Assembles the app. With OUTPOST_ROLE=broker there are no agent routes, with OUTPOST_ROLE=agent no broker routes. */
export function createApp(deps: AppDeps): Hono<AppEnv> {
  const { config, broker } = deps;
  const app = new Hono<AppEnv>();
  app.onError((error, c) => answerError(deps, error, c));
  app.notFound((c) =>
    c.json({ code: "NOT_FOUND", message: `There is nothing at ${c.req.method} ${c.req.path.slice(0, 200)}` }, 404)
  );
  app.use(async function guardAgentRoutes(c, next) {
    if (AGENT_PATHS.test(c.req.path)) requireLocalPeer(deps, c);
    if (API_PATHS.test(c.req.path)) requireOperator(c);
    await next();
  });
  if (deps.record !== undefined) app.use(recordExchange(deps, AGENT_PATHS));
  app.get(config.healthcheckPath, () => healthcheck(deps));
  app.get(config.systemcheckPath, (c) => systemcheck(deps, c));
  app.route("/", opsRoutes(deps));
  if (config.role !== "broker") app.route("/", agentRoutes(deps)).route("/", jobRoutes(deps));
  if (broker !== undefined) app.route("/", brokerRoutes(broker, deps));
  return app;
}

/**
 * The agent's routes use the daemon's own credentials when a request brings none. Behind the broker they are reached
 * inside the process; from the network they are open only to this machine, unless this process is the agent alone.
 */
function requireLocalPeer(deps: AppDeps, c: AppContext): void {
  const { internal, remoteAddress } = c.env ?? {};
  if (deps.config.role === "agent" || internal === true || remoteAddress === undefined) return;
  if (LOOPBACK.test(remoteAddress)) return;
  throw new OutpostError("REQUEST_INVALID", "The agent's routes are closed to other machines", {
    status: 403,
    hint: "Requests come through the broker. To serve an external broker client, run with OUTPOST_ROLE=agent.",
  });
}

/** The local API is closed to the broker server and to other machines, whatever the role. */
function requireOperator(c: AppContext): void {
  const { internal, remoteAddress } = c.env ?? {};
  if (internal !== true && (remoteAddress === undefined || LOOPBACK.test(remoteAddress))) {
    // A page in a browser on this machine names its own site: by Origin, or, after DNS rebinding, by Host.
    const host = c.req.header("host")?.replace(/:\d+$/, "") ?? "";
    if (c.req.header("origin") === undefined && LOCAL_HOST.test(host)) return;
  }
  throw new OutpostError("REQUEST_INVALID", "The local API is open to this machine only", {
    status: 403,
    hint: "Ask it on the machine (or in the container) itself: outpost jobs.",
  });
}

function answerError(deps: AppDeps, error: unknown, c: AppContext): Response {
  const known = toOutpostError(error);
  const fields = { method: c.req.method, path: c.req.path, requestId: c.req.header("snyk-request-id"), error: known };
  if (known.code === "INTERNAL") deps.logger.error("Request failed", fields);
  else deps.logger.warn("Request refused", fields);
  const headers = new Headers();
  if (known.retryAt !== undefined) {
    headers.set("retry-after", String(Math.max(1, Math.ceil((known.retryAt - deps.clock.now()) / 1000))));
  } else if (known.status === 503) headers.set("retry-after", String(RETRY_AFTER_S));
  // No secret was put into the text; a registry's own words in it might still quote one.
  const { code, message, hint } = known;
  const redacted = {
    code,
    message: deps.redactor.text(message),
    ...(hint === undefined ? {} : { hint: deps.redactor.text(hint) }),
  };
  return Response.json(redacted, { status: known.status, headers });
}
