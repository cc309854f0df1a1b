/**
 * Routes for whoever runs the process.
 *
 * @module
 */
import { Hono } from "hono";
import { toOutpostError } from "../core/errors.ts";
import type { RegistryCredentials } from "../core/ports.ts";
import type { AppContext, AppDeps, AppEnv, BrokerConnectionFace } from "./deps.ts";
import { openApiDocument } from "./openapi.ts";
import { isValidationRequest } from "./validation.ts";

/** `/livez`, `/readyz`, `/metrics`, `/openapi.json` and the system check. */
export function opsRoutes(deps: AppDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>();

  app.get("/livez", (c) => c.json({ ok: true }));

  app.get("/readyz", (c) => {
    const broker = deps.broker;
    const { problem } = deps.jobs;
    const reasons = [
      ...(problem === undefined ? [] : [problem]),
      ...(deps.stopping() ? ["stopping"] : []),
      ...(broker !== undefined && !broker.states().some((state) => state.open) ? ["broker not connected"] : []),
    ];
    return reasons.length === 0 ? c.json({ ok: true }) : c.json({ ok: false, reasons }, 503);
  });

  app.get("/metrics", () => {
    const states = deps.broker?.states() ?? [];
    for (const { role } of states) {
      const open = states.some((state) => state.role === role && state.open);
      deps.metrics.brokerConnected.set({ role }, open ? 1 : 0);
    }
    return new Response(deps.metrics.render(), { headers: { "content-type": deps.metrics.contentType } });
  });

  app.get("/openapi.json", (c) => c.json(openApiDocument(deps.version)));
  return app;
}

/**
 * `/systemcheck`: asks BROKER_CLIENT_VALIDATION_URL when there is one. Without it, and for a request that brings credentials
 * or comes from a broker client's own check, it logs in to the registry and shows each step.
 */
export async function systemcheck(deps: AppDeps, c: AppContext): Promise<Response> {
  const { signal } = c.req.raw;
  const authorization = c.req.header("authorization");
  const asksAgent = (authorization ?? "").trim() !== "" || isValidationRequest(c.req.header("user-agent"));
  if (deps.validate !== undefined && !asksAgent) {
    const results = await deps.validate(signal);
    return Response.json(results, { status: results.at(-1)?.ok === true ? 200 : 500 });
  }
  const connections = asksAgent ? undefined : deps.broker?.connections?.();
  return connections === undefined
    ? await registryCheck(deps, authorization, signal)
    : await connectionsCheck(deps, connections, signal);
}

/** The registry of each connection; 200 when all of them answer (broker-protocol.md §7). */
async function connectionsCheck(
  deps: AppDeps,
  connections: readonly BrokerConnectionFace[],
  signal: AbortSignal,
): Promise<Response> {
  const results = await Promise.all(connections.map(async ({ name, credentials, problem }) => {
    const unused = { ok: false, message: problem ?? "It is not in use", maskedCredentials: null };
    const result = credentials === undefined ? unused : await checkRegistry(deps, () => credentials, signal);
    return {
      connectionName: name,
      validated: result.ok,
      results: [result],
      ...(result.ok ? {} : { message: `Validation failed, please review connection details for ${name}.` }),
    };
  }));
  return Response.json(results, { status: results.length > 0 && results.every((one) => one.validated) ? 200 : 500 });
}

async function registryCheck(
  deps: AppDeps,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<Response> {
  deps.redactor.addTransient(authorization);
  const given = authorization !== undefined && authorization.trim() !== "";
  const result = await checkRegistry(
    deps,
    () => given ? deps.parseCredentials(authorization) : deps.credentials,
    signal,
  );
  return Response.json([result], { status: result.ok ? 200 : 500 });
}

async function checkRegistry(
  deps: AppDeps,
  read: () => RegistryCredentials | undefined,
  signal: AbortSignal,
): Promise<{ readonly ok: boolean }> {
  // A registry's own words may repeat what it was sent.
  const redact = (text: string | undefined): string | undefined =>
    text === undefined ? undefined : deps.redactor.text(text);
  const told = <T extends { readonly message?: string; readonly hint?: string }>(one: T): T => ({
    ...one,
    message: redact(one.message),
    hint: redact(one.hint),
  });
  try {
    const credentials = read();
    if (credentials === undefined) {
      const message = "No registry is configured and the request brings no credentials";
      return Object.assign({ ok: false }, { message, maskedCredentials: null });
    }
    deps.redactor.addTransient(credentials.password);
    const registry = deps.registries.open(credentials);
    const { ok, steps, code, message, hint } = await registry.validate(signal);
    const result = {
      ok,
      registry: registry.host,
      type: credentials.type,
      maskedCredentials: credentials.username === undefined ? null : "***",
      code,
      message: redact(message),
      hint: redact(hint),
      steps: steps.map(told),
    };
    return result;
  } catch (error) {
    const known = toOutpostError(error);
    return Object.assign({ ok: false }, { maskedCredentials: "***", ...told(known.toJSON()) });
  }
}
