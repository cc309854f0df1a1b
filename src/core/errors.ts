/**
 * The closed set of errors that Outpost raises on purpose. Whatever else is thrown is a defect.
 *
 * @module
 */

/** What a code means to a caller: the HTTP status that the agent answers, and whether the same call may work later. */
interface ErrorClass {
  readonly status: number;
  readonly retryable: boolean;
}

/** Every error code, in one place. Codes are part of the API: they appear in answers, callbacks and logs. */
export const ERROR_CODES = {
  // What the operator or the caller wrote.
  CONFIG_INVALID: { status: 500, retryable: false },
  USAGE: { status: 400, retryable: false },
  REQUEST_INVALID: { status: 400, retryable: false },
  REFERENCE_INVALID: { status: 400, retryable: false },
  CREDENTIALS_INVALID: { status: 400, retryable: false },
  // What a registry said.
  BAD_CREDENTIALS: { status: 401, retryable: false },
  EXPIRED_CREDENTIALS: { status: 401, retryable: false },
  NO_CATALOG_PERMISSION: { status: 403, retryable: false },
  CATALOG_UNSUPPORTED: { status: 404, retryable: false },
  REPO_FORBIDDEN: { status: 403, retryable: false },
  REPO_NOT_FOUND: { status: 404, retryable: false },
  TAG_NOT_FOUND: { status: 404, retryable: false },
  BLOB_NOT_FOUND: { status: 404, retryable: false },
  RATE_LIMITED: { status: 429, retryable: true },
  REGISTRY_ERROR: { status: 502, retryable: true },
  NOT_A_REGISTRY: { status: 502, retryable: false },
  LOGIN_PAGE: { status: 502, retryable: false },
  REGISTRY_PROTOCOL: { status: 502, retryable: false },
  UNSAFE_REALM: { status: 502, retryable: false },
  UNSAFE_REDIRECT: { status: 502, retryable: false },
  // How the connection failed.
  DNS: { status: 502, retryable: true },
  CONNECTION_REFUSED: { status: 502, retryable: true },
  CONNECTION_RESET: { status: 502, retryable: true },
  CONNECTION_FAILED: { status: 502, retryable: true },
  TIMEOUT: { status: 504, retryable: true },
  BLOCKED_PORT: { status: 502, retryable: false },
  TLS_UNKNOWN_CA: { status: 502, retryable: false },
  TLS_SELF_SIGNED_CA_LEAF: { status: 502, retryable: false },
  TLS_NAME: { status: 502, retryable: false },
  TLS_EXPIRED: { status: 502, retryable: false },
  TLS_CLIENT_CERT: { status: 502, retryable: false },
  TLS_OTHER: { status: 502, retryable: false },
  HTTP_ONLY: { status: 502, retryable: false },
  HTTPS_NEEDED: { status: 502, retryable: false },
  // What is inside an image.
  INTEGRITY: { status: 502, retryable: true },
  LAYER_CORRUPT: { status: 422, retryable: false },
  LIMIT_EXCEEDED: { status: 422, retryable: false },
  ARCHIVE_INVALID: { status: 422, retryable: false },
  PLATFORM_NOT_FOUND: { status: 404, retryable: false },
  UNSUPPORTED_IMAGE: { status: 422, retryable: false },
  ANALYSIS_FAILED: { status: 422, retryable: false },
  // The broker connection and this process.
  BROKER_DISCONNECTED: { status: 503, retryable: true },
  BROKER_REFUSED: { status: 502, retryable: true },
  BODY_TOO_LARGE: { status: 413, retryable: false },
  BUSY: { status: 503, retryable: true },
  CANCELLED: { status: 503, retryable: true },
  // What outlives this process.
  STORE_UNAVAILABLE: { status: 503, retryable: true },
  STORE_UNUSABLE: { status: 500, retryable: false },
  JOB_NOT_FOUND: { status: 404, retryable: false },
  JOB_STATE: { status: 409, retryable: false },
  INTERNAL: { status: 500, retryable: false },
} as const satisfies Record<string, ErrorClass>;

/** A member of the closed set {@link ERROR_CODES}. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Options of {@link OutpostError}. */
export interface OutpostErrorOptions {
  /** What the operator can change, one sentence. */
  readonly hint?: string | undefined;
  /** HTTP status to answer with, where it differs from the code's own (a registry's status, say). */
  readonly status?: number | undefined;
  /** Overrides the code's own answer to "may the same call work later?". */
  readonly retryable?: boolean | undefined;
  /** Earliest time at which a retry makes sense, in milliseconds since the epoch. */
  readonly retryAt?: number | undefined;
  /** The error underneath. It is logged, never shown to a caller. */
  readonly cause?: unknown;
}

/**
 * An expected failure. `message` and `hint` are safe to show to anybody: they never hold a secret, a URL's query
 * or a user's password. Messages start with the failed action, in sentence case, without a full stop.
 */
export class OutpostError extends Error {
  override readonly name: string = "OutpostError";
  /** Which failure this is. */
  readonly code: ErrorCode;
  /** What to change, when we know. */
  readonly hint: string | undefined;
  /** HTTP status for the caller. */
  readonly status: number;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Earliest useful retry, in milliseconds since the epoch. */
  readonly retryAt: number | undefined;

  constructor(code: ErrorCode, message: string, options: OutpostErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    const known = ERROR_CODES[code];
    this.code = code;
    this.hint = options.hint;
    this.status = options.status ?? known.status;
    this.retryable = options.retryable ?? known.retryable;
    this.retryAt = options.retryAt;
  }

  /** The form in which answers and callbacks carry an error. */
  toJSON(): { code: ErrorCode; message: string; hint?: string } {
    return this.hint === undefined
      ? { code: this.code, message: this.message }
      : { code: this.code, message: this.message, hint: this.hint };
  }
}

/** A problem with a layer or blob: names the layer in its message. */
export class LayerError extends OutpostError {
  override readonly name = "LayerError";
  /** Digest (or archive member name) of the layer that failed. */
  readonly layer: string;

  constructor(code: ErrorCode, layer: string, problem: string, options: OutpostErrorOptions = {}) {
    super(code, `Cannot read layer ${layer}: ${problem}`, options);
    this.layer = layer;
  }
}

/** Every problem found in the configuration, reported together. */
export class ConfigError extends OutpostError {
  override readonly name = "ConfigError";
  /** One sentence per problem, each naming the variable, none holding a secret. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super("CONFIG_INVALID", `Cannot use the configuration: ${problems.join("; ")}`);
    this.problems = problems;
  }
}

/**
 * Turns anything thrown into an {@link OutpostError}. Unknown errors become INTERNAL with a message that reveals
 * nothing; the original stays in `cause` for the log. An abort becomes CANCELLED, a timeout TIMEOUT.
 */
export function toOutpostError(error: unknown): OutpostError {
  if (error instanceof OutpostError) return error;
  if (error instanceof DOMException && error.name === "AbortError") {
    return new OutpostError("CANCELLED", "The operation was cancelled", { cause: error });
  }
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return new OutpostError("TIMEOUT", "The operation took too long", { cause: error });
  }
  return new OutpostError("INTERNAL", "An internal error occurred", { cause: error });
}
