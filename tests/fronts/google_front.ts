/**
 * Google's registries (registries.md §2.5): token servers that look at rights, `tags/list` with Google's own members, an
 * empty or absent catalog, Artifact Registry's API behind access tokens that are given for signed assertions.
 *
 * Shapes: go-containerregistry's `pkg/v1/google/list.go`, Harbor's `googlegcr` adapter, Google's API reference.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition, Site } from "./front.ts";
import type { LibraryTag } from "./library.ts";
import { askedScopes, covers, ociError, parseV2, scopeOf } from "./parts.ts";

const PROJECT = "my-project";
const EMAIL = `outpost@${PROJECT}.iam.gserviceaccount.com`;
const TOKEN_URL = "https://oauth2.googleapis.com/token";
const MOST = 1000;

const keys = await crypto.subtle.generateKey(
  { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  true,
  ["sign", "verify"],
);
const PEM = pemOf(new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey)));

function pemOf(bytes: Uint8Array): string {
  const lines = bytes.toBase64().match(/.{1,64}/g) ?? [];
  return ["-----BEGIN PRIVATE KEY-----", ...lines, "-----END PRIVATE KEY-----", ""].join("\n");
}

/** A service account's key file, some members replaced. */
export function keyFile(changes: Readonly<Record<string, string>> = {}): string {
  const fields = {
    type: "service_account",
    project_id: PROJECT,
    private_key_id: "canary-key-id",
    private_key: PEM,
    client_email: EMAIL,
    token_uri: TOKEN_URL,
    ...changes,
  };
  return JSON.stringify(fields, null, 2);
}

/** The private key of a key file that Google does not know. */
export async function strangePem(): Promise<string> {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
  const { privateKey } = await crypto.subtle.generateKey({ ...algorithm, hash: "SHA-256" }, true, ["sign", "verify"]);
  return pemOf(new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey)));
}

const LOGIN = { username: "_json_key", password: keyFile() };

interface Host {
  /** What `/v2` answers to `_catalog`. */
  readonly catalog: "empty" | "documentation";
  readonly location: string;
  /** The repository behind the host; undefined when image names have it. */
  readonly repository?: string;
  /** Whether the project has the Artifact Registry API enabled. */
  readonly api: boolean;
  /** Container Registry writes times as texts, Artifact Registry as numbers. */
  readonly times: "text" | "number";
}

const PKG_DEV: Host = { catalog: "empty", location: "europe-west1", api: true, times: "number" };
const GCR: Host = { catalog: "documentation", location: "europe", repository: "eu.gcr.io", api: true, times: "text" };
const numbered = (at: number): string => `app-${String(at).padStart(4, "0")}`;

/** Artifact Registry. */
export const googleArtifactFront: FrontDefinition = {
  type: "google-artifact-cr",
  credentials: { type: "google-artifact-cr", base: "europe-west1-docker.pkg.dev", ...LOGIN },
  repository: (at) => `${PROJECT}/images/team/${numbered(at)}`,
  catalogPage: MOST,
  tagsPage: MOST,
  dates: true,
  // Google does not tell that a key was deleted.
  expired: "BAD_CREDENTIALS",
  blobs: "redirect",
  sites: (front) => sites(front, PKG_DEV, "https://europe-west1-docker.pkg.dev"),
};

/** Container Registry's host, in a project with the API. */
export const gcrFront: FrontDefinition = {
  ...googleArtifactFront,
  type: "gcr",
  credentials: { type: "gcr", base: "eu.gcr.io", ...LOGIN },
  repository: (at) => `${PROJECT}/team/${numbered(at)}`,
  sites: (front) => sites(front, GCR, "https://eu.gcr.io"),
};

/** The same without the API: names are found by walking. */
export const gcrWalkFront: FrontDefinition = {
  ...gcrFront,
  variant: "without the API",
  catalogPage: 100,
  sites: (front) => sites(front, { ...GCR, api: false }, "https://eu.gcr.io"),
};

function sites(front: Front, host: Host, origin: string): Readonly<Record<string, Site>> {
  front.addSecret("private-key", PEM);
  const accepts = ["token"];
  return {
    registry: {
      origin,
      accepts: ["password", "private-key", "token"],
      handle: (call) => registry(front, host, call),
    },
    oauth: { origin: "https://oauth2.googleapis.com", handle: (call) => accessToken(front, call) },
    api: { origin: "https://artifactregistry.googleapis.com", accepts, handle: (call) => api(front, host, call) },
    projects: {
      origin: "https://cloudresourcemanager.googleapis.com",
      accepts,
      handle: (call) => projects(front, call),
    },
    documentation: {
      origin: "https://cloud.google.com",
      handle: () => new Response("<!doctype html><h1>Docs</h1>", { headers: { "content-type": "text/html" } }),
    },
  };
}

async function registry(front: Front, host: Host, call: FrontCall): Promise<Response> {
  const { url } = call;
  if (url.pathname === "/v2/token") return registryToken(front, call);
  const path = parseV2(url.pathname);
  const token = front.token(call);
  const scope = path.kind === "catalog" ? undefined : scopeOf(path);
  const enough = token !== undefined && !token.revoked && (scope === undefined || covers(token.scopes, scope));
  if (!enough) return challenged(call, host);
  if (path.kind === "tags") return tagList(front, host, path.name);
  if (path.kind !== "catalog") return await front.serve(call);
  if (host.catalog === "empty") return Response.json({ repositories: [] });
  const location = `${call.originOf("documentation")}/container-registry/docs`;
  return new Response(null, { status: 302, headers: { location } });
}

/** Artifact Registry names no service; Container Registry does, without quotes. */
function challenged(call: FrontCall, { repository }: Host): Response {
  const service = repository === undefined ? "" : `,service=${repository}`;
  const challenge = `Bearer realm="${call.originOf("registry")}/v2/token"${service}`;
  return unauthorized({ "www-authenticate": challenge });
}

function unauthorized(headers: Readonly<Record<string, string>> = {}): Response {
  const message = "You don't have the needed permissions to perform this operation, and you may have invalid " +
    "credentials. To authenticate your request, follow the steps in: https://cloud.google.com/docs";
  return ociError(401, "UNAUTHORIZED", message, headers);
}

/** Refuses the token when the account may not do what it is for. */
function registryToken(front: Front, call: FrontCall): Response {
  if (call.method !== "GET") return new Response(null, { status: 405 });
  const { username, password } = call.basic ?? {};
  const byAccessToken = username === "oauth2accesstoken" && password !== undefined && isIssued(front, call, password);
  const byBase64 = username === "_json_key_base64" && password === btoa(LOGIN.password);
  if ((front.login(call) !== "ok" && !byAccessToken && !byBase64) || front.state.expired) return unauthorized();
  const scopes = askedScopes(call);
  const denied = scopes.map((scope) => scope.split(":")[1] ?? "").find((name) => !mayRead(front, name));
  if (denied !== undefined) {
    const message = `Permission "artifactregistry.repositories.downloadArtifacts" denied on resource ` +
      `"projects/${denied}" (or it may not exist)`;
    return ociError(403, "DENIED", message);
  }
  return Response.json({ expires_in: 3599, issued_at: "2024-01-01T00:00:00Z", token: front.issue(scopes).value });
}

function isIssued(front: Front, call: FrontCall, value: string): boolean {
  return front.token({ ...call, bearer: value })?.revoked === false;
}

/** With few rights only images can be read, not what is above them. */
function mayRead(front: Front, name: string): boolean {
  return front.state.mayList || name === "catalog" || front.library.tags(name) !== undefined;
}

/** Everything at once, whatever `n` and `last` say. */
function tagList(front: Front, { times }: Host, name: string): Response {
  const tags = front.library.tags(name);
  const below = front.library.names.filter((other) => other.startsWith(`${name}/`));
  if (tags === undefined && below.length === 0 && name !== PROJECT) {
    return ociError(404, "NAME_UNKNOWN", `Failed to find "${name}"`);
  }
  const child = [...new Set(below.map((other) => other.slice(name.length + 1).split("/")[0] ?? ""))];
  return Response.json({ child, manifest: manifests(tags, times), name, tags: (tags ?? []).map(({ tag }) => tag) });
}

/** Tags of the same digest stand together; the time is that of the first. A repository without tags keeps a manifest. */
function manifests(tags: readonly LibraryTag[] | undefined, times: Host["times"]): Record<string, unknown> {
  const entry = (tag: readonly string[], ms: number): unknown => ({
    imageSizeBytes: "763789",
    layerId: "",
    mediaType: "application/vnd.docker.distribution.manifest.v2+json",
    tag,
    timeCreatedMs: "1595895577054",
    timeUploadedMs: times === "text" ? String(ms) : ms,
  });
  if (tags === undefined) return {};
  if (tags.length === 0) return { [`sha256:${"0".repeat(64)}`]: entry([], 1) };
  const digests = [...new Set(tags.map(({ digest }) => digest))];
  return Object.fromEntries(digests.map((digest) => {
    const own = tags.filter((tag) => tag.digest === digest);
    return [digest, entry(own.map(({ tag }) => tag), Date.parse(own[0]?.pushed ?? ""))];
  }));
}

/** RFC 7523: verifies the assertion's signature and claims. */
async function accessToken(front: Front, call: FrontCall): Promise<Response> {
  const form = new URLSearchParams(call.body);
  const refused = (text: string): Response =>
    Response.json({ error: "invalid_grant", error_description: text }, { status: 400 });
  if (form.get("grant_type") !== "urn:ietf:params:oauth:grant-type:jwt-bearer") {
    return Response.json({ error: "unsupported_grant_type" }, { status: 400 });
  }
  const [head = "", payload = "", signature = ""] = (form.get("assertion") ?? "").split(".");
  const text = new TextEncoder().encode(`${head}.${payload}`);
  const bytes = (part: string): Uint8Array<ArrayBuffer> => Uint8Array.fromBase64(part, { alphabet: "base64url" });
  const genuine = await crypto.subtle.verify("RSASSA-PKCS1-v1_5", keys.publicKey, bytes(signature), text);
  if (!genuine || front.state.expired) return refused("Invalid JWT Signature.");
  const claims: unknown = JSON.parse(new TextDecoder().decode(bytes(payload)));
  const { iss, aud, scope, iat, exp } = claims as Record<string, unknown>;
  const readOnly = "https://www.googleapis.com/auth/cloud-platform.read-only";
  const shortLived = Number(exp) - Number(iat) <= 3600;
  if (iss !== EMAIL || aud !== TOKEN_URL || scope !== readOnly || !shortLived) return refused("Invalid JWT");
  return Response.json({ access_token: front.issue([readOnly]).value, expires_in: 3599, token_type: "Bearer" });
}

function googleError(code: number, status: string, message: string): Response {
  return Response.json({ error: { code, message, status } }, { status: code });
}

function refuseApi(front: Front, call: FrontCall): Response | undefined {
  const token = front.token(call);
  if (token !== undefined && !token.revoked) return undefined;
  return googleError(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
}

function api(front: Front, host: Host, call: FrontCall): Response {
  const refusal = refuseApi(front, call);
  if (refusal !== undefined) return refusal;
  if (!host.api) {
    return googleError(403, "PERMISSION_DENIED", "Artifact Registry API has not been used in project before");
  }
  const match = /^\/v1\/(projects\/([^/]+)\/locations\/([^/]+)\/repositories)(?:\/([^/]+)\/packages)?$/
    .exec(call.url.pathname);
  const [, parent = "", project = "", location = "", repository] = match ?? [];
  if (!front.state.mayList) {
    const message = `Permission 'artifactregistry.repositories.list' denied on resource '//${parent}'`;
    return googleError(403, "PERMISSION_DENIED", message);
  }
  if (location !== host.location) return notFound();
  if (repository === undefined) return page(call.url, "repositories", repositories(parent));
  if (repository !== (host.repository ?? "images")) return notFound();
  const prefix = `${project.replace(":", "/")}/${host.repository === undefined ? `${repository}/` : ""}`;
  const images = front.library.names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const name = (image: string): string => `${parent}/${repository}/packages/${encodeURIComponent(image)}`;
  return page(call.url, "packages", images.map((image) => ({ name: name(image), createTime: "2024-01-01T00:00:00Z" })));
}

function notFound(): Response {
  return googleError(404, "NOT_FOUND", "Requested entity was not found.");
}

function repositories(parent: string): readonly unknown[] {
  return [
    { name: `${parent}/jars`, format: "MAVEN", mode: "STANDARD_REPOSITORY" },
    { name: `${parent}/images`, format: "DOCKER", mode: "STANDARD_REPOSITORY" },
  ];
}

/** Empty lists are left out of answers, as all default values are. */
function page(url: URL, member: string, all: readonly unknown[]): Response {
  const asked = Number(url.searchParams.get("pageSize") ?? "0");
  const size = asked > 0 && asked < MOST ? asked : MOST;
  const from = Number(atob(url.searchParams.get("pageToken") ?? "") || "0");
  const items = all.slice(from, from + size);
  const more = all.length > from + size ? { nextPageToken: btoa(String(from + size)) } : {};
  return Response.json({ ...(items.length === 0 ? {} : { [member]: items }), ...more });
}

/** Looking for projects is a right of its own, which this account does not have. */
function projects(front: Front, call: FrontCall): Response {
  return refuseApi(front, call) ?? googleError(403, "PERMISSION_DENIED", "The caller does not have permission");
}
