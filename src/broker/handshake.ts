/**
 * Addresses, headers and the identify message of a broker connection (broker-protocol.md §1, §1.5, §3.1), and the
 * masking of its token.
 *
 * @module
 */
import { ConfigError } from "../core/errors.ts";
import { sha256Hex } from "../lib/sha256.ts";
import type { Role } from "./events.ts";
import type { PreflightCheck } from "./preflight.ts";
import type { RuleFile } from "./rules.ts";

/** What names this client to the server. */
export interface ClientIdentity {
  readonly token: string;
  /** UUID of this process. */
  readonly clientId: string;
  /** Version of the protocol that we speak, as a semantic version of snyk-broker. */
  readonly protocolVersion: string;
}

/** Where the server takes streamed answers. */
export type UploadPath = "/response-data" | "/hidden/brokers/response-data";

/** The addresses at the broker server. None of them may be logged: each but `state` holds the token. */
export class BrokerEndpoints {
  readonly #server: URL;
  readonly #token: string;
  readonly #uploads: string;

  /**
   * @param uploads path under which streamed answers are taken: another one from clients with OAuth (§10).
   * @throws {ConfigError} when the server's URL is not http or https.
   */
  constructor(serverUrl: string, token: string, uploads: UploadPath = "/response-data") {
    const url = URL.canParse(serverUrl) ? new URL(serverUrl) : undefined;
    if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
      throw new ConfigError(["BROKER_SERVER_URL: it must be an http or https URL"]);
    }
    this.#server = url;
    this.#uploads = uploads;
    this.#token = encodeURIComponent(token);
  }

  /**
   * The websocket's address. A path in BROKER_SERVER_URL is ignored, as the reference ignores it.
   *
   * @param serverId the server that the dispatcher has named (§9).
   */
  socket(role: Role, serverId?: string): string {
    const scheme = this.#server.protocol === "https:" ? "wss" : "ws";
    const query = `${target(role, serverId)}&EIO=4&transport=websocket`;
    return `${scheme}://${this.#server.host}/primus/${this.#token}/?${query}`;
  }

  /**
   * Where a streamed answer is posted.
   *
   * @param serverId the server of the websocket that the request came by (§9).
   */
  upload(streamingId: string, role: Role, serverId?: string): string {
    const base = `${this.#server.origin}${this.#server.pathname.replace(/\/+$/, "")}`;
    return `${base}${this.#uploads}/${this.#token}/${encodeURIComponent(streamingId)}?${target(role, serverId)}`;
  }

  /** The address that health checks show. */
  state(role: Role): string {
    return `${this.#server.origin}/?connection_role=${role}`;
  }
}

function target(role: Role, serverId: string | undefined): string {
  return `${serverId === undefined ? "" : `server_id=${encodeURIComponent(serverId)}&`}connection_role=${role}`;
}

/** Headers of one attempt to connect; `requestId` is fresh for each. */
export function handshakeHeaders(identity: ClientIdentity, role: Role, requestId: string): Record<string, string> {
  return {
    "x-snyk-broker-client-id": identity.clientId,
    "x-snyk-broker-client-role": role,
    "x-broker-client-version": identity.protocolVersion,
    "snyk-request-id": requestId,
  };
}

/** Settings that the server shows beside a connection; false where nothing is said. */
export type ClientSettings = Partial<
  Readonly<
    Record<
      | "haMode"
      | "debugMode"
      | "bodyLogMode"
      | "credPooling"
      | "privateCa"
      | "tlsReject"
      | "proxy"
      | "customAccept"
      | "insecureDownstream"
      | "universalBroker",
      boolean
    >
  >
>;

/** What a universal client tells of a connection (§1.5). */
export interface UniversalIdentity {
  /** DEPLOYMENT_ID. */
  readonly deploymentId: string | undefined;
  /** The connection's type, `docker-hub` for instance. */
  readonly supportedIntegrationType: string;
}

/** What {@link identifyMessage} tells about this client. */
export interface ClientDescription {
  /** The accept rules; a universal client tells none. */
  readonly filters: RuleFile | Readonly<Record<string, never>>;
  /** What only a universal client tells. */
  readonly universal?: UniversalIdentity | undefined;
  readonly preflightChecks: readonly PreflightCheck[];
  readonly settings: ClientSettings;
}

/** The argument of the `identify` event. Without `capabilities` and `version` the server answers its callers 400. */
export function identifyMessage(
  identity: ClientIdentity,
  role: Role,
  { filters, preflightChecks, settings, universal }: ClientDescription,
): Record<string, unknown> {
  return {
    token: identity.token,
    metadata: {
      capabilities: ["post-streams"],
      clientId: identity.clientId,
      identifier: sha256Hex(identity.token),
      preflightChecks,
      version: identity.protocolVersion,
      clientConfig: {
        brokerClientId: identity.clientId,
        version: identity.protocolVersion,
        haMode: false,
        debugMode: false,
        bodyLogMode: false,
        credPooling: false,
        privateCa: false,
        tlsReject: false,
        proxy: false,
        customAccept: false,
        insecureDownstream: false,
        universalBroker: false,
        ...settings,
      },
      filters,
      role,
      ...universal,
    },
  };
}

/** Keeps a token out of logs. */
export class TokenMask {
  readonly #forms: readonly string[];
  /** First and last four characters, as Snyk's own logs show it. */
  readonly masked: string;

  constructor(token: string) {
    this.masked = token.length < 16 ? "***" : `${token.slice(0, 4)}-...-${token.slice(-4)}`;
    this.#forms = [...new Set([token, encodeURIComponent(token)])].filter((form) => form !== "");
  }

  /** The text with every occurrence of the token, in any case, replaced. */
  redact(text: string): string {
    return this.#forms.reduce((out, form) => replaceAllIgnoringCase(out, form, this.masked), text);
  }
}

function replaceAllIgnoringCase(text: string, search: string, replacement: string): string {
  const pattern = search.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return text.replace(new RegExp(pattern, "gi"), () => replacement);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether the text is a UUID, as request ids have to be. */
export function isUuid(text: string | undefined): text is string {
  return text !== undefined && UUID.test(text);
}
