/**
 * Accept rules: which requests may pass, in which direction (broker-protocol.md §4).
 *
 * Stricter than the reference in two places: `valid: [{path, value}]` compares the value, where the reference only
 * looks whether there is one, and a path that hides `.` or `..` behind percent-encoding is refused.
 *
 * @module
 */
import * as z from "zod";
import { ConfigError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { parseBoundedJson } from "./codec.ts";
import { valuesAt } from "./json_path.ts";
import { compileGlob, compilePath, type Matcher } from "./path_pattern.ts";

const auth = z.union([
  z.object({ scheme: z.enum(["token", "bearer", "raw"]), token: z.string() }).passthrough(),
  z.object({ scheme: z.literal("basic"), username: z.string(), password: z.string() }).passthrough(),
  z.object({ scheme: z.literal("basic"), token: z.string() }).passthrough(),
]);

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

const valid = z.union([
  z.object({ path: z.string(), regex: z.string() }).passthrough(),
  z.object({ path: z.string(), value: scalar.optional() }).passthrough(),
  z.object({ queryParam: z.string(), values: z.array(z.string()) }).passthrough(),
  z.object({ header: z.string(), values: z.array(z.string()) }).passthrough(),
]);

const rule = z.object({
  method: z.string().regex(/^[A-Za-z]+$/).optional(),
  path: z.string().optional(),
  origin: z.string().optional(),
  auth: auth.optional(),
  valid: z.array(valid).max(LIMITS.brokerRules).optional(),
}).passthrough();

const ruleFile = z.object({
  public: z.array(rule).max(LIMITS.brokerRules).default([]),
  private: z.array(rule).max(LIMITS.brokerRules).default([]),
}).passthrough();

/** One accept rule, as in the file; keys that we do not know are kept for display. */
export type AcceptRule = z.infer<typeof rule>;
/** Credentials that a rule sets. */
export type RuleAuth = z.infer<typeof auth>;
/** An accept file: `private` from the server to the agent, `public` from the agent to the server. */
export type RuleFile = z.infer<typeof ruleFile>;

/** What a rule looks at. */
export interface RuleRequest {
  /** HTTP method, in any case. */
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** Looked at as JSON when a rule has body entries. */
  readonly body: Uint8Array | undefined;
}

const AGENT_ORIGIN = "${CR_AGENT_URL}";

/** The rules that Snyk ships for the container registry agent (accept.json of its client template). */
export const DEFAULT_RULES: RuleFile = {
  public: [
    "/api/v2/import/done",
    "/api/v1/recurring-tests/dependencies",
    "/api/v2/import/result",
    "/v1/import/app",
    "/v2/import/done",
    "/v1/recurring-tests/dependencies",
    "/v2/import/result",
    "/rest/scan/result",
  ].map((path) => ({ method: "POST", path })),
  private: [
    ...[
      "/healthcheck",
      "/validate-credentials",
      "/get-state-identifier",
      "/list",
      "/list/*",
      "/list-paginated/*",
      "/list-with-metadata/*",
      "/image-metadata/*",
    ].map((path) => ({ method: "GET", path, origin: AGENT_ORIGIN })),
    ...["/discover", "/scan"].map((path) => ({ method: "POST", path, origin: AGENT_ORIGIN })),
  ],
};

/** Compiled rules. */
export class AcceptRules {
  /** As loaded, variables not expanded: what `identify` and `GET /filters` show. */
  readonly file: RuleFile;
  readonly #compiled: Readonly<Record<"public" | "private", readonly CompiledRule[]>>;

  private constructor(file: RuleFile, compiled: Readonly<Record<"public" | "private", readonly CompiledRule[]>>) {
    this.file = file;
    this.#compiled = compiled;
  }

  /**
   * Compiles an accept file that has been parsed from JSON.
   *
   * @throws {ConfigError} naming each rule that cannot be used.
   */
  static from(input: unknown): AcceptRules {
    const parsed = ruleFile.safeParse(input);
    if (!parsed.success) {
      throw new ConfigError(parsed.error.issues.map((i) => `ACCEPT: ${i.path.map(String).join(".")}: ${i.message}`));
    }
    const problems: string[] = [];
    const compile = (direction: "public" | "private"): readonly CompiledRule[] =>
      parsed.data[direction].flatMap((entry, index) => {
        const made = compileRule(entry);
        if (typeof made !== "string") return [made];
        problems.push(`ACCEPT: ${direction}.${index}: ${made}`);
        return [];
      });
    const compiled = { public: compile("public"), private: compile("private") };
    if (problems.length > 0) throw new ConfigError(problems);
    return new AcceptRules(parsed.data, compiled);
  }

  /** The first rule that the request matches. */
  match(direction: "public" | "private", request: RuleRequest): AcceptRule | undefined {
    if (!isNormalized(request.url)) return undefined;
    const [path, query] = splitUrl(request.url);
    if (hidesTraversal(path)) return undefined;
    const method = request.method.toLowerCase();
    const view: RequestView = { request, method, path, query: lazyQuery(query), json: lazyJson(request.body) };
    return this.#compiled[direction].find((compiled) => compiled.matches(view))?.rule;
  }
}

/**
 * Whether Node's `path.normalize` would leave the whole URL, query included, as it is: no `//`, no `.` and no `..`
 * between slashes.
 */
export function isNormalized(url: string): boolean {
  if (!url.startsWith("/")) return false;
  const parts = url.slice(1).split("/");
  return parts.every((part, index) => part === "" ? index === parts.length - 1 : part !== "." && part !== "..");
}

/** Whether percent-decoding, however often repeated, brings out a `.` or `..` segment, a backslash or a control character. */
export function hidesTraversal(path: string): boolean {
  let text = path;
  for (let round = 0; round < 5; round++) {
    // deno-lint-ignore no-control-regex
    if (/[\\\u0000-\u001f\u007f]/.test(text)) return true;
    if (text.split("/").some((part) => part === "." || part === "..")) return true;
    const decoded = text.replace(/%[0-7][0-9a-f]/gi, (code) => String.fromCharCode(parseInt(code.slice(1), 16)));
    if (decoded === text) return false;
    text = decoded;
  }
  return true;
}

/** Path and query of a URL without its fragment. */
function splitUrl(url: string): readonly [string, string] {
  const main = url.split("#", 1)[0] ?? "";
  const mark = main.indexOf("?");
  return mark < 0 ? [main, ""] : [main.slice(0, mark), main.slice(mark + 1)];
}

interface RequestView {
  readonly request: RuleRequest;
  /** In lower case. */
  readonly method: string;
  readonly path: string;
  readonly query: () => URLSearchParams;
  readonly json: () => unknown;
}

interface CompiledRule {
  readonly rule: AcceptRule;
  readonly matches: (view: RequestView) => boolean;
}

type Check = (view: RequestView) => boolean;

function compileRule(entry: AcceptRule): CompiledRule | string {
  const method = (entry.method ?? "get").toLowerCase();
  const path = compilePath(entry.path ?? "/");
  if (typeof path === "string") return path;
  const groups = compileGroups(entry.valid ?? []);
  if (typeof groups === "string") return groups;
  return {
    rule: entry,
    matches: (view) => (method === "any" || view.method === method) && path(view.path) && groups(view),
  };
}

/** Body groups and the query group are alternatives; headers come on top. */
function compileGroups(entries: NonNullable<AcceptRule["valid"]>): Check | string {
  const bodies: Check[] = [];
  const queries: Check[] = [];
  const headers: Check[] = [];
  for (const entry of entries) {
    const made = compileGroup(entry);
    if (typeof made === "string") return made;
    if ("queryParam" in entry) queries.push(made);
    else if ("header" in entry) headers.push(made);
    else bodies.push(made);
  }
  return (view) => {
    const body = bodies.some((check) => check(view));
    const query = queries.length > 0 && queries.every((check) => check(view));
    if (bodies.length + queries.length > 0 && !body && !query) return false;
    return headers.every((check) => check(view));
  };
}

function compileGroup(entry: NonNullable<AcceptRule["valid"]>[number]): Check | string {
  if ("queryParam" in entry) return compileQuery(String(entry.queryParam), entry.values as readonly string[]);
  if ("header" in entry) {
    const [name, values] = [String(entry.header).toLowerCase(), entry.values as readonly string[]];
    return ({ request }) => Object.hasOwn(request.headers, name) && values.includes(request.headers[name] ?? "");
  }
  const path = String(entry.path);
  if (typeof entry.regex === "string") return compileRegex(path, entry.regex);
  const { value } = entry;
  if (value === undefined) return ({ json }) => valuesAt(json(), path).some((found) => Boolean(found));
  return ({ json }) => valuesAt(json(), path).some((found) => found === value);
}

function compileQuery(name: string, globs: readonly string[]): Check | string {
  const matchers: Matcher[] = [];
  for (const glob of globs) {
    const made = compileGlob(glob);
    if (typeof made === "string") return made;
    matchers.push(made);
  }
  return ({ query }) => {
    const values = query().getAll(name);
    if (values.length > 1) return false;
    return matchers.some((matcher) => matcher(values[0] ?? ""));
  };
}

/** The expression is the operator's own; what it is applied to is bounded. */
function compileRegex(path: string, source: string): Check | string {
  let regex: RegExp;
  try {
    regex = new RegExp(source);
  } catch {
    return `"${source.slice(0, 100)}" is not a regular expression`;
  }
  return ({ json }) =>
    valuesAt(json(), path).some((found) =>
      ["string", "number", "boolean"].includes(typeof found) &&
      String(found).length <= LIMITS.brokerMatchedChars && regex.test(String(found))
    );
}

function lazyQuery(text: string): () => URLSearchParams {
  let parsed: URLSearchParams | undefined;
  return () => parsed ??= new URLSearchParams(text);
}

function lazyJson(body: Uint8Array | undefined): () => unknown {
  let parsed: { readonly value: unknown } | undefined;
  return () => {
    if (parsed === undefined) {
      const result = body === undefined ? undefined : parseBoundedJson(new TextDecoder().decode(body));
      parsed = { value: result?.ok === true ? result.value : undefined };
    }
    return parsed.value;
  };
}

/** The Authorization header that a rule's `auth` sets; `expand` fills in variables. */
export function authorization(auth: RuleAuth, expand: (template: string) => string): string {
  const token = typeof auth.token === "string" ? expand(auth.token) : "";
  switch (auth.scheme) {
    case "token":
      return `Token ${token}`;
    case "bearer":
      return `Bearer ${token}`;
    case "raw":
      return token;
    case "basic":
      return "username" in auth && "password" in auth
        ? basicAuthorization(`${expand(String(auth.username))}:${expand(String(auth.password))}`)
        : basicAuthorization(token);
  }
}

/** `Basic` with the base64 of the text's UTF-8 bytes (RFC 7617). */
export function basicAuthorization(text: string): string {
  return `Basic ${new TextEncoder().encode(text).toBase64()}`;
}
