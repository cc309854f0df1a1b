/**
 * Routes for whoever runs the process.
 *
 * @module
 */
import { Hono } from "hono";
import { toOutpostError } from "../core/errors.ts";
import type { AppContext, AppDeps, AppEnv } from "./deps.ts";
import { openApiDocument } from "./openapi.ts";
import { isValidationRequest } from "./validation.ts";

/** `/livez`, `/readyz`, `/metrics`, `/openapi.json` and the system check. */
export function opsRoutes(deps: AppDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>();

  app.get("/livez", (c) => c.json({ ok: true }));

  app.get("/readyz", (c) => {
    const broker = deps.broker;
    const reasons = [
      ...(deps.stopping() ? ["stopping"] : []),
      ...(broker !== undefined && !broker.states().some((state) => state.open) ? ["broker not connected"] : []),
    ];
    return reasons.length === 0 ? c.json({ ok: true }) : c.json({ ok: false, reasons }, 503);
  });

  app.get("/metrics", () => {
    for (const state of deps.broker?.states() ?? []) {
      deps.metrics.brokerConnected.set({ role: state.role }, state.open ? 1 : 0);
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
  return await registryCheck(deps, authorization, signal);
}

async function registryCheck(
  deps: AppDeps,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<Response> {
  deps.redactor.addTransient(authorization);
  // A registry's own words may repeat what it was sent.
  const redact = (text: string | undefined): string | undefined =>
    text === undefined ? undefined : deps.redactor.text(text);
  const told = <T extends { readonly message?: string; readonly hint?: string }>(one: T): T => ({
    ...one,
    message: redact(one.message),
    hint: redact(one.hint),
  });
  try {
    const given = (authorization ?? "").trim() !== "";
    const credentials = given && authorization !== undefined ? deps.parseCredentials(authorization) : deps.credentials;
    if (credentials === undefined) {
      const message = "No registry is configured and the request brings no credentials";
      return Response.json([{ ok: false, message, maskedCredentials: null }], { status: 500 });
    }
    deps.redactor.addTransient(credentials.password);
    const registry = deps.registries.open(credentials);
    const { ok, steps, code, message, hint } = await registry.validate(signal);
    const masked = credentials.username === undefined ? null : "***";
    const result = {
      ok,
      registry: registry.host,
      type: credentials.type,
      maskedCredentials: masked,
      code,
      message: redact(message),
      hint: redact(hint),
      steps: steps.map(told),
    };
    return Response.json([result], { status: ok ? 200 : 500 });
  } catch (error) {
    const known = toOutpostError(error);
    return Response.json([{ ok: false, maskedCredentials: "***", ...told(known.toJSON()) }], { status: 500 });
  }
}
