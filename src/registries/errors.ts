/**
 * What a registry's refusal means: status, error codes and texts of a dozen products turned into one classified error
 * with advice (registries.md §1.6 and §3).
 *
 * @module
 */
import { type ErrorCode, OutpostError, type OutpostErrorOptions } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";
import type { BufferedResponse } from "../net/http.ts";
import { isRateLimit } from "../net/retry.ts";
import type { Flavour } from "./flavour.ts";

/** What was asked for. */
export type Subject = "api" | "login" | "catalog" | "tags" | "manifest" | "blob";

/** Circumstances of a request, for the message. */
export interface ErrorContext {
  /** `host[:port]` of the registry. */
  readonly host: string;
  /** The failed action, after "Cannot": `list the repositories of host`. */
  readonly action: string;
  readonly subject: Subject;
  readonly flavour: Flavour;
  /** Origin that was asked; an answer from elsewhere came by a redirect. */
  readonly origin: string;
  /** How the request was authorised: a registry that took the login and still refuses, forbids. */
  readonly login: "none" | "basic" | "basic-accepted" | "token";
  /** Whether there are credentials at all. */
  readonly hasCredentials: boolean;
  /** Takes known secrets out of a text. */
  readonly redact: (text: string) => string;
}

/** What an error body says. */
export interface ErrorBody {
  /** Error codes in upper case, as far as there are any. */
  readonly codes: readonly string[];
  /** The first message, cut to LIMITS.errorMessageChars; undefined when there is none that a person could read. */
  readonly message: string | undefined;
  readonly html: boolean;
}

/** Reads an error body of any known shape; never throws. */
export function parseErrorBody(body: Uint8Array, contentType: string | null): ErrorBody {
  const json = parseJson(body);
  if (json !== undefined) return { ...fromJson(json), html: false };
  const text = new TextDecoder().decode(body).trim();
  const html = (contentType ?? "").toLowerCase().includes("text/html") || /^\s*<(?:!doctype html|html)/i.test(text);
  if (html) return { codes: [], message: undefined, html: true };
  const xmlCode = /<Code>([^<]{1,100})<\/Code>/.exec(text)?.[1];
  const xmlMessage = /<Message>([^<]{1,1000})<\/Message>/.exec(text)?.[1];
  if (xmlCode !== undefined) return { codes: [xmlCode.toUpperCase()], message: clean(xmlMessage ?? ""), html: false };
  return { codes: [], message: text.startsWith("<") ? undefined : clean(text), html: false };
}

function parseJson(body: Uint8Array): unknown {
  try {
    const value = parseJsonBytes(body);
    return isRecord(value) || Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function fromJson(value: unknown): Pick<ErrorBody, "codes" | "message"> {
  const top = isRecord(value) ? value : {};
  const list: readonly unknown[] = Array.isArray(top["errors"]) ? top["errors"] : [];
  // Google's APIs put the whole error into a member `error`, OAuth 2 (RFC 6749 §5.2) only its code.
  const entries = [...list, top, top["error"]].filter(isRecord);
  const codes = entries.flatMap(({ code, id, __type, status, error }) => [code, id, __type, status, oauthCode(error)])
    .filter((code) => typeof code === "string").map((code) => code.toUpperCase().slice(0, 100));
  const texts = entries.flatMap((entry) => [
    entry["message"],
    entry["error_description"],
    entry["details"],
    entry["error"],
    entry["detail"],
  ]);
  const message = texts.find((text) => typeof text === "string" && text.trim() !== "");
  return { codes, message: typeof message === "string" ? clean(message) : undefined };
}

function oauthCode(error: unknown): string | undefined {
  return typeof error === "string" && /^invalid_[a-z]+$/.test(error) ? error : undefined;
}

/** One line of printable characters. */
function clean(text: string): string | undefined {
  // deno-lint-ignore no-control-regex
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").replace(/\s+/g, " ").trim();
  return line === "" ? undefined : line.slice(0, LIMITS.errorMessageChars);
}

interface Meaning {
  readonly code: ErrorCode;
  readonly problem: string;
  readonly hint?: string | undefined;
}

/** Statuses that are handed on as they are; all others become what their code says. */
const OWN_STATUS = new Set([401, 403, 404, 429]);

/** Turns a registry's refusal into the error to raise. */
export function registryError(response: BufferedResponse, context: ErrorContext): OutpostError {
  const body = parseErrorBody(response.body, response.headers.get("content-type"));
  const meaning = means(response, body, context);
  const said = body.message === undefined ? body.codes[0] : context.redact(body.message);
  const quoted = said === undefined || response.status < 400 ? "" : ` (the registry says: ${said})`;
  const rateLimited = meaning.code === "RATE_LIMITED";
  const options: OutpostErrorOptions = {
    hint: rateLimited && response.retryAt !== undefined
      ? `Try again after ${new Date(response.retryAt).toISOString()}.${
        meaning.hint === undefined ? "" : ` ${meaning.hint}`
      }`
      : meaning.hint,
    status: OWN_STATUS.has(response.status) ? response.status : undefined,
    retryAt: response.retryAt,
    retryable: meaning.code === "REGISTRY_ERROR" && response.status < 500 ? false : undefined,
  };
  return new OutpostError(meaning.code, `Cannot ${context.action}: ${meaning.problem}${quoted}`, options);
}

function means(response: BufferedResponse, body: ErrorBody, context: ErrorContext): Meaning {
  const { status } = response;
  const limited = isRateLimit(status, response.headers) || body.codes.includes("TOOMANYREQUESTS");
  if (limited) return rateLimited(context);
  if (response.url.origin !== context.origin && body.html) return loginPage(response.url);
  if (status < 400) return body.html ? notARegistry(context) : unexpected(status);
  if (/plain HTTP request was sent to HTTPS|HTTP request to an HTTPS server/i.test(body.message ?? "")) {
    return { code: "HTTPS_NEEDED", problem: "it speaks TLS on this port", hint: "Write CR_BASE with https://." };
  }
  if (status === 401 || status === 403) return refused(status, body, context);
  if (status === 400 && body.codes.includes("INVALID_GRANT")) return refused(401, body, context);
  if (status === 404 || status === 405) return notFound(body, context);
  if (status >= 500) {
    return { code: "REGISTRY_ERROR", problem: `the registry failed with status ${status}`, hint: "Try again later." };
  }
  if (body.codes.includes("NAME_INVALID")) {
    return { code: "REFERENCE_INVALID", problem: "the registry does not accept the name" };
  }
  return { code: "REGISTRY_ERROR", problem: `the registry answered with status ${status}` };
}

function refused(status: number, body: ErrorBody, context: ErrorContext): Meaning {
  const said = body.message ?? "";
  const { subject, flavour } = context;
  if (
    /\b(?:has |is |token |verification: )expired\b/i.test(said) ||
    body.codes.some((code) => code.startsWith("EXPIREDTOKEN"))
  ) {
    return {
      code: "EXPIRED_CREDENTIALS",
      problem: "the credentials have expired",
      hint: flavour.expiredHint,
    };
  }
  if (/\bproject \S+ not found\b/i.test(said)) return unknownRepository();
  // Google's token servers look at rights before they give a token.
  if (context.hasCredentials && /\bdenied on resource\b/i.test(said)) return forbidden(subject, flavour);
  const accepted = context.login === "token" || context.login === "basic-accepted" || status === 403;
  if (subject !== "login" && subject !== "api" && accepted) return forbidden(subject, flavour);
  if (!context.hasCredentials) {
    return {
      code: "BAD_CREDENTIALS",
      problem: "the registry asks for a login and none is configured",
      hint: "Set CR_USERNAME and CR_PASSWORD.",
    };
  }
  return { code: "BAD_CREDENTIALS", problem: "the user name or password was refused", hint: flavour.loginHint };
}

function forbidden(subject: Subject, flavour: Flavour): Meaning {
  return subject === "catalog"
    ? { code: "NO_CATALOG_PERMISSION", problem: "the account may not list repositories", hint: flavour.listHint }
    : {
      code: "REPO_FORBIDDEN",
      problem: "the account may not read this repository, or it does not exist",
      hint: "Check the name, and the account's rights on the repository.",
    };
}

function notFound(body: ErrorBody, context: ErrorContext): Meaning {
  const { subject, flavour } = context;
  if (subject === "catalog") {
    // No right helps against it where there is no other list.
    const plain = flavour.type === "oci" || flavour.type === "docker-registry";
    const hint = plain ? "Images can still be imported by name." : flavour.listHint;
    return { code: "CATALOG_UNSUPPORTED", problem: "it has no repository list", hint };
  }
  if (subject === "api" || subject === "login") return notARegistry(context);
  if (body.codes.includes("NAME_UNKNOWN") || subject === "tags") return unknownRepository();
  return subject === "blob"
    ? { code: "BLOB_NOT_FOUND", problem: "the registry does not have it", hint: "Push the image again." }
    : {
      code: "TAG_NOT_FOUND",
      problem: "it does not exist, or the account may not see it",
      hint: "Check the tag or digest, and the repository's name.",
    };
}

function unknownRepository(): Meaning {
  return {
    code: "REPO_NOT_FOUND",
    problem: "the repository does not exist, or the account may not see it",
    hint: "Check the repository's name, and the account's rights on it.",
  };
}

function rateLimited({ flavour }: ErrorContext): Meaning {
  return {
    code: "RATE_LIMITED",
    problem: "the registry limits requests",
    hint: flavour.type === "docker-hub"
      ? "Docker Hub gives more pulls to accounts than to anonymous users."
      : undefined,
  };
}

function loginPage(url: URL): Meaning {
  const deactivated = url.hostname === "landing.jfrog.com";
  return {
    code: "LOGIN_PAGE",
    problem: `it redirects to a page of ${url.host}`,
    hint: deactivated
      ? "The JFrog instance is deactivated; activate it again."
      : "Use an access token instead of a password that needs single sign-on, and check CR_BASE.",
  };
}

function notARegistry({ flavour }: ErrorContext): Meaning {
  return { code: "NOT_A_REGISTRY", problem: "there is no registry at this address", hint: flavour.baseHint };
}

function unexpected(status: number): Meaning {
  return { code: "REGISTRY_PROTOCOL", problem: `the answer with status ${status} is not what the protocol says` };
}

/** An error for an answer that came with success, but is not what the protocol says. */
export function protocolError(action: string, problem: string): OutpostError {
  return new OutpostError("REGISTRY_PROTOCOL", `Cannot ${action}: ${problem}`, {
    hint: "Check what stands between Outpost and the registry; if nothing does, the registry is at fault.",
  });
}
