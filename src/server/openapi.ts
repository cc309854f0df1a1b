/**
 * `/openapi.json`: the HTTP surface as an OpenAPI 3.1 document.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";

interface RouteDoc {
  readonly method: "get" | "post";
  readonly path: string;
  readonly summary: string;
  readonly query?: readonly string[];
  readonly body?: Readonly<Record<string, unknown>>;
  readonly answers: Readonly<Record<string, string>>;
}

const TEXT = { type: "string" };

const IMAGE_PROPERTIES = {
  repository: TEXT,
  name: TEXT,
  image: TEXT,
  imageName: TEXT,
  target: { anyOf: [TEXT, { type: "object", properties: { name: TEXT } }] },
  tag: TEXT,
  digest: TEXT,
  platform: TEXT,
  options: { type: "object", description: "Options of snyk-docker-plugin by their names" },
};

/** The body of /scan and /discover (contract.ts, SCAN_REQUEST); a test holds the two together. */
export const SCAN_BODY = {
  type: "object",
  properties: {
    ...IMAGE_PROPERTIES,
    images: {
      type: "array",
      maxItems: LIMITS.imagesPerScan,
      items: { type: "object", properties: IMAGE_PROPERTIES, additionalProperties: true },
    },
    callbackUrl: TEXT,
  },
  additionalProperties: true,
};

/** One row per route; server/app_test.ts checks that each of them answers. */
export const ROUTES: readonly RouteDoc[] = [
  {
    method: "get",
    path: "/healthcheck",
    summary: "Broker connection",
    answers: { 200: "Connected", 500: "Not connected" },
  },
  {
    method: "get",
    path: "/systemcheck",
    summary: "Registry check, step by step",
    answers: { 200: "Usable", 500: "Not usable" },
  },
  { method: "get", path: "/livez", summary: "The process answers", answers: { 200: "Alive" } },
  {
    method: "get",
    path: "/readyz",
    summary: "Ready for work",
    answers: { 200: "Ready", 503: "Not ready, with reasons" },
  },
  { method: "get", path: "/metrics", summary: "Prometheus metrics", answers: { 200: "Text exposition format" } },
  { method: "get", path: "/openapi.json", summary: "This document", answers: { 200: "OpenAPI 3.1" } },
  { method: "get", path: "/filters", summary: "Accept rules of the broker client", answers: { 200: "Rules" } },
  {
    method: "get",
    path: "/validate-credentials",
    summary: "Logs in to the registry",
    answers: { 200: "Accepted", 401: "Refused" },
  },
  { method: "get", path: "/list", summary: "Repositories", answers: { 200: "Array of names", 403: "Not allowed" } },
  { method: "get", path: "/list/{repository}", summary: "Tags", answers: { 200: "Array of tags", 404: "Unknown" } },
  {
    method: "get",
    path: "/list-paginated/{repository}",
    summary: "All tags, streamed",
    answers: { 200: "Array of tags", 404: "Unknown" },
  },
  {
    method: "get",
    path: "/list-with-metadata/{repository}",
    summary: "Tags with digest and last push",
    answers: { 200: "Array of {tag, digest, lastPushed}", 404: "Unknown" },
  },
  {
    method: "get",
    path: "/image-metadata/{repository}",
    summary: "Configuration, manifest and attestations of an image",
    query: ["tag", "digest", "platform"],
    answers: { 200: "{config, manifest, attestations}", 404: "Unknown" },
  },
  {
    method: "get",
    path: "/get-state-identifier",
    summary: "Digest of an image",
    query: ["image", "platform"],
    answers: { 200: "{id, indexDigest?}", 404: "Unknown" },
  },
  {
    method: "post",
    path: "/scan",
    summary: "Scans images",
    body: SCAN_BODY,
    answers: { 202: "{id, accepted}", 400: "Not understood" },
  },
  {
    method: "post",
    path: "/discover",
    summary: "Scans one image",
    body: SCAN_BODY,
    answers: { 202: "{id, accepted}", 400: "Not understood" },
  },
];

/** Rows of the local API, which only this machine may ask. */
export const JOB_ROUTES: readonly RouteDoc[] = [
  {
    method: "get",
    path: "/api/jobs",
    summary: "Accepted scans, newest first",
    query: ["state", "limit"],
    answers: { 200: "Array of jobs" },
  },
  {
    method: "get",
    path: "/api/jobs/{id}",
    summary: "One, with its callbacks",
    answers: { 200: "Job", 404: "Unknown" },
  },
  {
    method: "post",
    path: "/api/jobs/{id}/cancel",
    summary: "Ends it",
    answers: { 202: "{id, cancelled}", 404: "Unknown", 409: "It has been scanned" },
  },
  {
    method: "post",
    path: "/api/jobs/{id}/retry",
    summary: "Sends its dead callbacks again, or scans again",
    answers: { 202: "{id, resent}", 404: "Unknown", 409: "It is under way" },
  },
];

/** Builds the document. */
export function openApiDocument(version: string): unknown {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of [...ROUTES, ...JOB_ROUTES]) {
    (paths[route.path] ??= {})[route.method] = {
      summary: route.summary,
      parameters: [
        ...["repository", "id"].filter((name) => route.path.includes(`{${name}}`)).map((name) =>
          parameter(name, "path")
        ),
        ...(route.query ?? []).map((name) => parameter(name, "query")),
      ],
      ...(route.body === undefined ? {} : { requestBody: { content: { "application/json": { schema: route.body } } } }),
      responses: Object.fromEntries(
        Object.entries(route.answers).map(([status, description]) => [status, { description }]),
      ),
    };
  }
  return { openapi: "3.1.0", info: { title: "Outpost", version, license: { name: "Apache-2.0" } }, paths };
}

function parameter(name: string, where: "path" | "query"): unknown {
  return { name, in: where, required: where === "path", schema: { type: "string" } };
}
