/**
 * A read-only registry in memory, for `outpost demo`: the pull and listing half of the OCI distribution
 * specification 1.1, behind Basic authentication, holding images that were built on the spot.
 *
 * @module
 */
import { Hono } from "hono";
import type { Digest } from "../core/digest.ts";
import type { BuiltContent } from "../lib/oci_builder.ts";

/** One repository: tags and what they point to. */
export type LoopbackRepository = Readonly<Record<string, BuiltContent>>;

/** Options of {@link createLoopbackRegistry}. */
export interface LoopbackRegistryOptions {
  readonly repositories: Readonly<Record<string, LoopbackRepository>>;
  readonly username: string;
  readonly password: string;
}

interface Content {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mediaType: string;
}

const NAME = "[a-z0-9._/-]+";

/** Makes the request handler. */
export function createLoopbackRegistry(options: LoopbackRegistryOptions): (request: Request) => Promise<Response> {
  const expected = `Basic ${new TextEncoder().encode(`${options.username}:${options.password}`).toBase64()}`;
  const app = new Hono();
  app.use(async function authenticate(c, next) {
    if (c.req.header("authorization") === expected) return await next();
    const headers = { "www-authenticate": 'Basic realm="Outpost demo registry"' };
    return Response.json({ errors: [{ code: "UNAUTHORIZED", message: "authentication required" }] }, {
      status: 401,
      headers,
    });
  });
  app.get("/v2/", (c) => c.json({}));
  app.get("/v2/_catalog", (c) => page(c.req.raw, "repositories", Object.keys(options.repositories), {}));
  app.get(`/v2/:name{${NAME}}/tags/list`, (c) => {
    const name = c.req.param("name");
    const repository = options.repositories[name];
    return repository === undefined
      ? unknown("NAME_UNKNOWN")
      : page(c.req.raw, "tags", Object.keys(repository), { name });
  });
  app.get(`/v2/:name{${NAME}}/manifests/:reference`, (c) => {
    const repository = options.repositories[c.req.param("name")];
    if (repository === undefined) return unknown("NAME_UNKNOWN");
    const content = findManifest(repository, c.req.param("reference"));
    if (content === undefined) return unknown("MANIFEST_UNKNOWN");
    const { digest, bytes, mediaType } = content;
    return answer(bytes, { "content-type": mediaType, "docker-content-digest": digest });
  });
  app.get(`/v2/:name{${NAME}}/blobs/:digest`, (c) => {
    const repository = options.repositories[c.req.param("name")] ?? {};
    const digest = c.req.param("digest") as Digest;
    const bytes = Object.values(repository).map((content) => content.blobs.get(digest)).find((one) =>
      one !== undefined
    );
    if (bytes === undefined) return unknown("BLOB_UNKNOWN");
    return blob(bytes, digest, c.req.header("range"));
  });
  return async (request) => await app.fetch(request);
}

function unknown(code: string): Response {
  return Response.json({ errors: [{ code, message: `${code.toLowerCase().replace("_", " ")} to registry` }] }, {
    status: 404,
  });
}

/** One page, with a Link to the next (distribution specification, "Listing Tags"). */
function page(request: Request, key: string, all: readonly string[], fields: Record<string, string>): Response {
  const url = new URL(request.url);
  const last = url.searchParams.get("last") ?? "";
  const n = Number(url.searchParams.get("n") ?? all.length);
  const sorted = all.toSorted().filter((item) => item > last);
  const items = sorted.slice(0, n);
  const end = items[items.length - 1];
  const headers: Record<string, string> = sorted.length > items.length && end !== undefined
    ? { link: `<${url.pathname}?n=${n}&last=${encodeURIComponent(end)}>; rel="next"` }
    : {};
  return Response.json({ ...fields, [key]: items }, { headers });
}

function findManifest(repository: LoopbackRepository, reference: string): (Content & { digest: Digest }) | undefined {
  const tagged = repository[reference];
  const all = tagged === undefined
    ? Object.values(repository).flatMap((content) => content.manifests.map((found) => ({ content, found })))
    : [{ content: tagged, found: tagged.descriptor }];
  const match = all.find(({ found }) => tagged !== undefined || found.digest === reference);
  const bytes = match?.content.blobs.get(match.found.digest);
  if (match === undefined || bytes === undefined) return undefined;
  return { bytes, mediaType: match.found.mediaType, digest: match.found.digest };
}

function answer(bytes: Uint8Array<ArrayBuffer>, headers: Record<string, string>): Response {
  return new Response(bytes, { headers: { ...headers, "content-length": String(bytes.length) } });
}

/** A blob, whole or a closed range of it (RFC 9110 §14). */
function blob(bytes: Uint8Array<ArrayBuffer>, digest: Digest, range: string | undefined): Response {
  const headers = { "content-type": "application/octet-stream", "docker-content-digest": digest };
  const match = /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
  if (match === null) return answer(bytes, headers);
  const start = Number(match[1]);
  const end = Math.min(match[2] === "" ? bytes.length - 1 : Number(match[2]), bytes.length - 1);
  if (start > end) return new Response(null, { status: 416, headers: { "content-range": `bytes */${bytes.length}` } });
  const part = bytes.slice(start, end + 1);
  const contentRange = `bytes ${start}-${end}/${bytes.length}`;
  return new Response(part, { status: 206, headers: { ...headers, "content-range": contentRange } });
}
