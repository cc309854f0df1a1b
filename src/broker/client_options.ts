/**
 * What a broker client is made of, and what it can do.
 *
 * @module
 */
import type { CallbackTransport, Clock, Fetch, Logger, SocketState } from "../core/ports.ts";
import type { DirectExchange } from "../net/direct.ts";
import type { Authorization, RenewableAuthorization } from "./authorization.ts";
import type { Callback, CallbackAnswer } from "./callbacks.ts";
import type { ClientErrorCode } from "./client_events.ts";
import type { WebSocketFactory } from "./connection.ts";
import type { DispatcherSettings } from "./dispatcher.ts";
import type { BrokerEventSink, Role } from "./events.ts";
import type { ClientSettings, UniversalIdentity, UploadPath } from "./handshake.ts";
import type { LiveRules } from "./live_rules.ts";
import type { PreflightCheck } from "./preflight.ts";
import type { Dispatch } from "./relay.ts";
import type { RuleSource } from "./rule_source.ts";
import type { RuleFile } from "./rules.ts";
import type { BrokerSession, SessionTimes } from "./session.ts";
import type { VariableLookup } from "./substitute.ts";

/** Options of `createBrokerClient`. */
export interface BrokerClientOptions {
  /** BROKER_SERVER_URL. */
  readonly serverUrl: string;
  /** BROKER_TOKEN. */
  readonly token: string;
  /** UUID of this process; a fresh one by default. */
  readonly clientId?: string | undefined;
  /** Version of the broker protocol that is announced, `5.22.14` for instance: a semantic version, or the server fails. */
  readonly protocolVersion: string;
  /** A parsed accept file; Snyk's rules for the container registry agent by default. */
  readonly rules?: unknown;
  /** Rules that several clients share and somebody else reloads; goes before `rules` and `ruleSource`. */
  readonly liveRules?: LiveRules | undefined;
  /** Where the rules are read anew, every LIMITS.brokerRuleReloadMs and on demand; without it they never change. */
  readonly ruleSource?: RuleSource | undefined;
  /** Time and chance. */
  readonly clock: Clock;
  /** Receives lines under the component `broker`. */
  readonly logger: Logger;
  /** A fresh random UUID. */
  readonly randomId: () => string;
  /** Opens the websockets. */
  readonly webSocket: WebSocketFactory;
  /** Posts streamed answers to the broker server: must neither retry nor follow redirects. */
  readonly fetch: Fetch;
  /**
   * Direct connections, for uploads and for agents elsewhere; where none can be made, and without them, `fetch` and
   * `dispatch` are used.
   */
  readonly exchange?: DirectExchange | undefined;
  /** API_BASE_URL: takes webhooks while no socket is open; without it they are refused then. */
  readonly apiUrl?: string | undefined;
  /** Asks the agent. */
  readonly dispatch: Dispatch;
  /** Values for `${VAR}`; CR_AGENT_URL without a value means that the agent is this process. */
  readonly variables: VariableLookup;
  /** Values for `${VAR}` in headers and bodies of requests; by default {@link BrokerClientOptions.variables}. */
  readonly requestVariables?: VariableLookup | undefined;
  /**
   * Values for requests to a context of the connection; undefined for an unknown context. Without it every request means the
   * connection itself.
   */
  readonly contextVariables?: ((contextId: string) => VariableLookup | undefined) | undefined;
  /** Metrics. */
  readonly onEvent?: BrokerEventSink | undefined;
  /** Authorizes handshakes and uploads. */
  readonly authorization?: Authorization | undefined;
  /** Authorizes requests to the dispatcher; by default {@link BrokerClientOptions.authorization}. */
  readonly dispatcherAuthorization?: RenewableAuthorization | undefined;
  /** Where answers are uploaded; another path for clients with an authorization. */
  readonly uploads?: UploadPath | undefined;
  /** What a connection of a universal client tells of itself. */
  readonly universal?: UniversalIdentity | undefined;
  /** Its name and its masked identifier, as {@link BrokerClient.states} shows them. */
  readonly connection?: SocketState["connection"];
  /** The server asks for the connections to be read anew; absent in a client with a fixed token. */
  readonly onConfigReload?: (() => void) | undefined;
  /** A session has identified itself. */
  readonly onSession?: ((session: BrokerSession) => void) | undefined;
  /** Roles to connect; both by default. */
  readonly roles?: readonly Role[] | undefined;
  /** False for DISABLE_HEADER_VARS_SUBSTITUTION. */
  readonly substituteHeaders?: boolean | undefined;
  /** False for DISABLE_BODY_VARS_SUBSTITUTION. */
  readonly substituteBodies?: boolean | undefined;
  /** REMOVE_X_FORWARDED_HEADERS. */
  readonly removeForwardedHeaders?: boolean | undefined;
  /** BROKER_HA_MODE_ENABLED: the dispatcher names the server to connect to. */
  readonly dispatcher?: DispatcherSettings | undefined;
  /** INSECURE_DOWNSTREAM. */
  readonly insecureDownstream?: boolean | undefined;
  /** MAX_RETRY; 3 by default. */
  readonly agentRetries?: number | undefined;
  /** RES_BODY_URL_SUB. */
  readonly responseUrl?: string | undefined;
  /** SOCKET_PING_INTERVAL, SOCKET_PONG_TIMEOUT and SOCKET_CONNECT_TIMEOUT. */
  readonly times?: Partial<SessionTimes> | undefined;
  /** SOCKET_MAX_RESPONSE_LENGTH in bytes. */
  readonly maxResponseBytes?: number | undefined;
  /** BROKER_CLIENT_POST_TIMEOUT in milliseconds. */
  readonly uploadIdleMs?: number | undefined;
  /** What the server shows beside the connection. */
  readonly settings?: ClientSettings | undefined;
  /** Runs before the first connection, which waits for it at most LIMITS.preflightWaitMs. */
  readonly preflight?: ((signal: AbortSignal) => Promise<readonly PreflightCheck[]>) | undefined;
}

/** One connection of a universal client. */
export interface ConnectionReport {
  readonly name: string;
  /** CR_CREDENTIALS of its registry; undefined when it cannot be used. */
  readonly credentials: string | undefined;
  /** Why it cannot be used, or is not. */
  readonly problem: string | undefined;
}

/** A broker client. */
export interface BrokerClient extends CallbackTransport {
  /**
   * What has to work before it makes sense to start: the first look at the connections of a universal client; nothing
   * otherwise. What may mend itself, such as a network that is down, is no reason to reject.
   *
   * @throws {OutpostError} when Snyk's API refuses this client for good, or the local file cannot be used.
   */
  prepare(signal: AbortSignal): Promise<void>;
  /** Starts connecting; returns at once. Calling it again does nothing. */
  start(): void;
  /** One state per socket, primary first, connection by connection. */
  states(): readonly SocketState[];
  /** Resolves when a socket is open and identified; rejects with the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
  /** The connections of a universal client; none in a client with a fixed token. */
  connections(): readonly ConnectionReport[];
  /** Sends a request under the public rules; see `Callbacks.send` for the errors. */
  callback(callback: Callback, signal: AbortSignal): Promise<CallbackAnswer>;
  /** The accept rules as loaded, variables not expanded. */
  rules(): RuleFile;
  /**
   * Reads the rules anew; what runs keeps the rules that it began with. When they cannot be read or used, the old ones
   * stay and it rejects with the reason.
   *
   * @throws {ConfigError} naming what is wrong with the new rules; TIMEOUT.
   */
  reloadRules(): Promise<RuleFile>;
  /** Requests that are being served now. */
  inFlight(): number;
  /** Reports a failure on one socket (broker-protocol.md §11); without an open one it is lost. */
  reportError(errorCode: ClientErrorCode): void;
  /** Tells the server, once, that this process is about to end (broker-protocol.md §11); requests are still served. */
  announceStop(): void;
  /** Tells the server, once, that this process ends because of a defect; nothing of the error but a known errno is told. */
  announceCrash(error: unknown): void;
  /**
   * Stops: new requests are answered 503, new callbacks rejected, present ones finish until the signal aborts, then
   * the sockets are closed. Idempotent.
   */
  close(signal: AbortSignal): Promise<void>;
}
