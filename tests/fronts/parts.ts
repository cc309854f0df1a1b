/**
 * Parts from which fronts are put together: paths of `/v2`, pages, links, error bodies, token endpoints.
 *
 * @module
 */
import type { Front, FrontCall } from "./front.ts";

/** What a `/v2` path asks for. */
export interface V2Path {
  readonly kind: "root" | "catalog" | "tags" | "manifest" | "blob" | "referrers" | "other";
  /** Repository name; empty for root and catalog. */
  readonly name: string;
  /** Tag or digest. */
  readonly reference: string;
}

/** Takes a path apart; `prefix` is what stands before `/v2`. */
export function parseV2(path: string, prefix = ""): V2Path {
  const rest = path.startsWith(`${prefix}/v2`) ? path.slice(prefix.length + 3) : undefined;
  if (rest === "" || rest === "/") return { kind: "root", name: "", reference: "" };
  if (rest === "/_catalog") return { kind: "catalog", name: "", reference: "" };
  const match = /^\/(.+?)\/(tags|manifests|blobs|referrers)\/([^/]+)$/.exec(rest ?? "");
  if (match === null) return { kind: "other", name: "", reference: "" };
  const [, name = "", noun = "", reference = ""] = match;
  const kind = noun === "tags" ? "tags" : noun === "manifests" ? "manifest" : noun === "blobs" ? "blob" : "referrers";
  return { kind, name, reference };
}

/** The scope that distribution's own token authentication asks for. */
export function scopeOf({ kind, name }: V2Path): string | undefined {
  if (kind === "root" || kind === "other") return undefined;
  return kind === "catalog" ? "registry:catalog:*" : `repository:${name}:pull`;
}

/** Whether a token's scopes hold all actions of a scope. */
export function covers(granted: readonly string[], scope: string): boolean {
  const wanted = split(scope);
  return wanted.actions.every((action) =>
    granted.map(split).some(({ resource, actions }) => resource === wanted.resource && actions.includes(action))
  );
}

function split(scope: string): { readonly resource: string; readonly actions: readonly string[] } {
  const at = scope.lastIndexOf(":");
  return { resource: scope.slice(0, at), actions: scope.slice(at + 1).split(",") };
}

/** An error of the distribution specification. */
export function ociError(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return Response.json({ errors: [{ code, message, detail: null }] }, { status, headers });
}

/** A window on a sorted list, by `n` and `last` as `/v2` has them. */
export interface Window<T> {
  readonly items: readonly T[];
  /** Name of the last item when there are more; undefined at the end. */
  readonly last: string | undefined;
  readonly n: number;
}

/** Cuts a list of names; `n` is `fallback` when it is not asked for, and never more than `cap`. */
export function windowOf<T>(
  url: URL,
  all: readonly T[],
  name: (item: T) => string,
  { cap, fallback = cap }: { readonly cap: number; readonly fallback?: number },
): Window<T> {
  const last = url.searchParams.get("last") ?? "";
  const asked = Number(url.searchParams.get("n") ?? "");
  const n = Math.min(asked > 0 ? asked : fallback, cap);
  const rest = all.filter((item) => name(item) > last);
  const items = rest.slice(0, n);
  const end = items.at(-1);
  return { items, n, last: rest.length > items.length && end !== undefined ? name(end) : undefined };
}

/** A page of a numbered list. */
export interface Numbered<T> {
  readonly items: readonly T[];
  readonly page: number;
  readonly size: number;
  readonly more: boolean;
}

/** Cuts a list by page number and size, named as the API names them. */
export function pageOf<T>(
  url: URL,
  all: readonly T[],
  { page: pageName, size: sizeName, cap }: { readonly page: string; readonly size: string; readonly cap: number },
): Numbered<T> {
  const page = Math.max(1, Number(url.searchParams.get(pageName) ?? "1"));
  const asked = Number(url.searchParams.get(sizeName) ?? "");
  const size = Math.min(asked > 0 ? asked : 10, cap);
  return { items: all.slice((page - 1) * size, page * size), page, size, more: all.length > page * size };
}

/** The scopes of a token request: several parameters, each of several scopes separated by blanks. */
export function askedScopes(call: FrontCall): readonly string[] {
  const form = call.method === "POST" ? new URLSearchParams(call.body) : call.url.searchParams;
  return form.getAll("scope").flatMap((scope) => scope.split(" ")).filter((scope) => scope !== "");
}

/** Takes the right to list out of scopes when the account does not have it. */
export function grantedScopes(front: Front, scopes: readonly string[]): readonly string[] {
  return front.state.mayList ? scopes : scopes.filter((scope) => !scope.startsWith("registry:"));
}

/** A JWT whose signature nobody checks. */
export function unsignedJwt(claims: Readonly<Record<string, unknown>>): string {
  const part = (value: unknown): string =>
    new TextEncoder().encode(JSON.stringify(value)).toBase64({ alphabet: "base64url", omitPadding: true });
  return `${part({ alg: "RS256", typ: "JWT" })}.${part({ ...claims, jti: crypto.randomUUID() })}.c2lnbmF0dXJl`;
}
