/**
 * The Container Registry Agent's routes (DESIGN: "The agent's messages").
 *
 * @module
 */
import { Hono } from "hono";
import { LIMITS } from "../core/limits.ts";
import { OutpostError } from "../core/errors.ts";
import type { Registry, RegistryCredentials } from "../core/ports.ts";
import { parseJsonBytes } from "../lib/bounded_json.ts";
import { parsePlatform } from "../lib/platform.ts";
import { callbackPaths } from "../jobs/callback_paths.ts";
import { readBody } from "./body.ts";
import {
  credentialTexts,
  firstCredentials,
  parseImageName,
  parseRepositoryPath,
  parseScanRequest,
} from "./contract.ts";
import type { AppContext, AppDeps, AppEnv } from "./deps.ts";
import { streamJsonArray } from "./json_stream.ts";

/** Routes of the agent. */
export function agentRoutes(deps: AppDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>();

  app.get("/validate-credentials", async (c) => {
    const { registry } = openRegistry(deps, c);
    const report = await registry.validate(c.req.raw.signal);
    if (report.ok) return c.json({ ok: true });
    const { status, code, message, hint, steps } = report;
    // A registry's own words may repeat what it was sent.
    const redact = (text: string | undefined): string | undefined =>
      text === undefined ? undefined : deps.redactor.text(text);
    const told = steps.map((step) => ({ ...step, message: redact(step.message), hint: redact(step.hint) }));
    const answer = { ok: false, code, message: redact(message), hint: redact(hint), steps: told };
    return Response.json(answer, { status });
  });

  app.get("/list", (c) => {
    // SNYK_DISABLE_LIST_REPOS: an empty list without asking, as Snyk's agent does.
    if (!deps.config.listRepositories) return c.json([]);
    const { registry } = openRegistry(deps, c);
    return jsonArray(registry.repositories(c.req.raw.signal));
  });

  for (const prefix of ["/list/", "/list-paginated/"]) {
    app.get(`${prefix}*`, (c) => {
      const repository = parseRepositoryPath(rest(c, prefix));
      const { registry } = openRegistry(deps, c);
      return jsonArray(registry.tags(repository, c.req.raw.signal));
    });
  }

  app.get("/list-with-metadata/*", (c) => {
    const repository = parseRepositoryPath(rest(c, "/list-with-metadata/"));
    const { registry } = openRegistry(deps, c);
    return jsonArray(registry.tagsWithMetadata(repository, c.req.raw.signal));
  });

  app.get("/get-state-identifier", async (c) => {
    const name = c.req.query("image");
    if (name === undefined || name === "") {
      throw new OutpostError("REQUEST_INVALID", "Cannot identify an image: the query has no image", {
        hint: "Ask /get-state-identifier?image=team/app:1.2",
      });
    }
    const { registry, credentials } = openRegistry(deps, c);
    const ref = parseImageName(name, credentials.base);
    const options = { signal: c.req.raw.signal, platform: queryPlatform(c) };
    const { digests } = await registry.resolve(ref.repository, ref.digest ?? ref.tag ?? "latest", options);
    return c.json({ id: digests.manifest, ...(digests.index === undefined ? {} : { indexDigest: digests.index }) });
  });

  app.get("/image-metadata/*", async (c) => {
    const { registry, credentials } = openRegistry(deps, c);
    const ref = parseImageName(decodePath(rest(c, "/image-metadata/")), credentials.base);
    const reference = c.req.query("digest") ?? c.req.query("tag") ?? ref.digest ?? ref.tag ?? "latest";
    const options = { signal: c.req.raw.signal, platform: queryPlatform(c) };
    const resolved = await registry.resolve(ref.repository, reference, options);
    const image = await registry.image(ref.repository, reference, options);
    const attestations = await image.attestations(c.req.raw.signal);
    return c.json({ config: image.config, manifest: resolved.manifest, attestations });
  });

  app.post("/scan", (c) => accept(deps, c, "scan"));
  app.post("/discover", (c) => accept(deps, c, "discover"));
  return app;
}

async function accept(deps: AppDeps, c: AppContext, kind: "scan" | "discover"): Promise<Response> {
  const { config, newId, jobs } = deps;
  const body = parseJson(await readBody(c.req.raw, LIMITS.requestBodyBytes));
  const credentials = requestCredentials(deps, c, [...headerTexts(c), ...credentialTexts(body)]);
  const request = parseScanRequest(body, credentials.base, c.env?.substitutedFields);
  const origins = [
    ...config.callbackOrigins,
    ...(config.brokerClientUrl === undefined ? [] : [config.brokerClientUrl.origin]),
  ];
  const callbacks = callbackPaths(kind, request.callbackUrl, origins);
  const id = newId();
  const requestId = c.req.header("snyk-request-id") ?? id;
  const { targets, fields } = request;
  const connection = c.env?.connection?.name;
  const job = { id, kind, targets, credentials, callbacks, fields, requestId, connection };
  const accepted = await jobs.accept(job);
  return Response.json({ id: accepted.id, accepted: targets.length }, { status: 202 });
}

function openRegistry(deps: AppDeps, c: AppContext): { registry: Registry; credentials: RegistryCredentials } {
  const credentials = requestCredentials(deps, c, headerTexts(c));
  return { registry: deps.registries.open(credentials), credentials };
}

/** Where credentials may stand: Authorization first, then every header whose variables the broker client filled in. */
function headerTexts(c: AppContext): readonly (string | undefined)[] {
  const substituted = (c.req.header("x-broker-var-sub") ?? "").split(",").map((name) => name.trim());
  return ["authorization", ...substituted].filter((name) => name !== "").map((name) => c.req.header(name));
}

function requestCredentials(deps: AppDeps, c: AppContext, texts: readonly (string | undefined)[]): RegistryCredentials {
  for (const text of texts) deps.redactor.addTransient(text);
  const own = c.env?.connection?.credentials;
  const credentials = firstCredentials(texts, (text) => deps.parseCredentials(text, own)) ?? own ?? deps.credentials;
  if (credentials === undefined) {
    throw new OutpostError(
      "CREDENTIALS_INVALID",
      "Cannot reach a registry: the request brings no credentials and none are configured",
      {
        hint: "Set CR_TYPE, CR_BASE, CR_USERNAME and CR_PASSWORD, or send the credentials in the Authorization header.",
      },
    );
  }
  deps.redactor.addTransient(credentials.password);
  return credentials;
}

async function jsonArray<T>(pages: AsyncIterable<readonly T[]>): Promise<Response> {
  return new Response(await streamJsonArray(pages), { headers: { "content-type": "application/json" } });
}

/** What follows the route's prefix in the path, in the form in which the router matched it. */
function rest(c: AppContext, prefix: string): string {
  return c.req.path.slice(prefix.length);
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function queryPlatform(c: AppContext): ReturnType<typeof parsePlatform> | undefined {
  const text = c.req.query("platform");
  return text === undefined || text === "" ? undefined : parsePlatform(text);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return parseJsonBytes(bytes);
  } catch (error) {
    throw new OutpostError("REQUEST_INVALID", "Cannot read the request: its body is not JSON", {
      hint: `JSON in UTF-8, at most ${LIMITS.jsonDepth} levels deep, is understood.`,
      cause: error,
    });
  }
}
