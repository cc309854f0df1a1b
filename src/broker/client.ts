/**
 * The broker client: two connections, the relay for the server's requests, and the way of callbacks.
 *
 * @module
 */
import type { CallbackRequest, CallbackTransport, Clock, Fetch, Logger, SocketState } from "../core/ports.ts";
import { LIMITS } from "../core/limits.ts";
import { OutpostError } from "../core/errors.ts";
import { type Callback, type CallbackAnswer, Callbacks } from "./callbacks.ts";
import { isRecord } from "./codec.ts";
import { BrokerConnection, type WebSocketFactory } from "./connection.ts";
import { Dispatcher, type DispatcherSettings } from "./dispatcher.ts";
import type { BrokerEvent, BrokerEventSink, Role } from "./events.ts";
import {
  BrokerEndpoints,
  type ClientDescription,
  type ClientIdentity,
  type ClientSettings,
  TokenMask,
} from "./handshake.ts";
import type { PreflightCheck } from "./preflight.ts";
import { type Dispatch, Relay } from "./relay.ts";
import { AcceptRules, DEFAULT_RULES, type RuleFile } from "./rules.ts";
import type { BrokerSession, ServerMessage, SessionTimes } from "./session.ts";
import type { RuleSource } from "./rule_source.ts";
import { Substituter, type VariableLookup } from "./substitute.ts";
import { substituteUrls } from "./url_substitution.ts";

/** Options of {@link createBrokerClient}. */
export interface BrokerClientOptions {
  /** BROKER_SERVER_URL. */
  readonly serverUrl: string;
  /** BROKER_TOKEN. */
  readonly token: string;
  /** Version of the broker protocol that is announced, `5.22.14` for instance: a semantic version, or the server fails. */
  readonly protocolVersion: string;
  /** A parsed accept file; Snyk's rules for the container registry agent by default. */
  readonly rules?: unknown;
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
  /** Asks the agent. */
  readonly dispatch: Dispatch;
  /** Values for `${VAR}`; CR_AGENT_URL without a value means that the agent is this process. */
  readonly variables: VariableLookup;
  /** Values for `${VAR}` in headers and bodies of requests; by default {@link BrokerClientOptions.variables}. */
  readonly requestVariables?: VariableLookup | undefined;
  /** Metrics. */
  readonly onEvent?: BrokerEventSink | undefined;
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

/** A broker client. */
export interface BrokerClient extends CallbackTransport {
  /** Starts connecting; returns at once. Calling it again does nothing. */
  start(): void;
  /** One state per socket, primary first. */
  states(): readonly SocketState[];
  /** Resolves when a socket is open and identified; rejects with the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
  /** Sends a request under the public rules; see {@link Callbacks.send} for the errors. */
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
  /** Tells the server, once, that this process is about to end (broker-protocol.md §11); requests are still served. */
  announceStop(): void;
  /**
   * Stops: new requests are answered 503, new callbacks rejected, present ones finish until the signal aborts, then
   * the sockets are closed. Idempotent.
   */
  close(signal: AbortSignal): Promise<void>;
}

/** MAX_RETRY's default. */
const AGENT_RETRIES = 3;

const SESSION_TIMES: SessionTimes = {
  pingIntervalMs: LIMITS.brokerPingIntervalMs,
  pongTimeoutMs: LIMITS.brokerPongTimeoutMs,
  connectTimeoutMs: LIMITS.brokerConnectTimeoutMs,
};

/**
 * Makes a broker client; nothing is connected before {@link BrokerClient.start}.
 *
 * @throws {ConfigError} when the server's URL or an accept rule cannot be used.
 */
export function createBrokerClient(options: BrokerClientOptions): BrokerClient {
  return new Client(options);
}

class Client implements BrokerClient {
  readonly #logger: Logger;
  readonly #ruleSource: RuleSource | undefined;
  readonly #clock: Clock;
  readonly #preflight: BrokerClientOptions["preflight"];
  #preflightChecks: readonly PreflightCheck[] = [];
  #rules: AcceptRules;
  #reloading: Promise<RuleFile> | undefined;
  readonly #relay: Relay;
  readonly #callbacks: Callbacks;
  readonly #dispatcher: Dispatcher | undefined;
  readonly #connections: readonly BrokerConnection[];
  readonly #onEvent: BrokerEventSink;
  readonly #life = new AbortController();
  readonly #pendingCallbacks = new Set<Promise<unknown>>();
  readonly #waiting = new Set<() => void>();
  #running: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;
  #startedAt = 0;
  #announced = false;

  constructor(options: BrokerClientOptions) {
    const { clock, randomId, protocolVersion, fetch, dispatch } = options;
    const logger = this.#logger = options.logger.child("broker");
    this.#clock = clock;
    this.#preflight = options.preflight;
    this.#ruleSource = options.ruleSource;
    this.#rules = AcceptRules.from(options.rules === undefined ? DEFAULT_RULES : options.rules);
    const onEvent = this.#onEvent = options.onEvent ?? ((_event: BrokerEvent): void => {});
    const endpoints = new BrokerEndpoints(options.serverUrl, options.token);
    const mask = new TokenMask(options.token);
    const identity: ClientIdentity = { token: options.token, clientId: randomId(), protocolVersion };
    const rules = (): AcceptRules => this.#rules;
    this.#relay = new Relay({
      clock,
      logger,
      fetch,
      dispatch,
      endpoints,
      protocolVersion,
      rules,
      ruleVariables: new Substituter(options.variables),
      requestVariables: new Substituter(options.requestVariables ?? options.variables),
      substituteHeaders: options.substituteHeaders ?? true,
      substituteBodies: options.substituteBodies ?? true,
      removeForwarded: options.removeForwardedHeaders ?? false,
      randomId,
      onEvent,
      onLost: (requestId) => this.#report({ type: "client-error", errorCode: "SEND_BACK_FAILED", requestId }),
      uploadIdleMs: options.uploadIdleMs ?? LIMITS.brokerUploadIdleMs,
      maxResponseBytes: options.maxResponseBytes ?? LIMITS.brokerSocketResponseBytes,
      agentRetries: options.agentRetries ?? AGENT_RETRIES,
      insecureDownstream: options.insecureDownstream ?? false,
      rewrite: (answer) =>
        options.responseUrl === undefined ? answer : substituteUrls(answer, options.responseUrl, options.token),
    });
    const times = { ...SESSION_TIMES, ...options.times };
    const describe = (): ClientDescription => ({
      filters: this.#rules.file,
      preflightChecks: this.#preflightChecks,
      settings: { haMode: options.dispatcher !== undefined, ...options.settings },
    });
    this.#dispatcher = options.dispatcher &&
      new Dispatcher({ ...options.dispatcher, ...identity, fetch, clock, logger });
    this.#connections = (options.roles ?? ["primary", "secondary"]).map((role) =>
      new BrokerConnection({
        role,
        identity,
        endpoints,
        mask,
        clock,
        logger,
        randomId,
        webSocket: options.webSocket,
        onEvent,
        describe,
        times,
        serverId: () => this.#dispatcher?.serverId,
        onMessage: (session, message) => this.#message(session, message),
        onChange: () => this.#changed(),
      })
    );
    const sessions = (): readonly BrokerSession[] => this.#sessions();
    this.#callbacks = new Callbacks({ clock, logger, rules, randomId, onEvent, sessions });
  }

  start(): void {
    if (this.#running !== undefined) return;
    const { signal } = this.#life;
    this.#startedAt = this.#clock.now();
    this.#running = this.#preflight === undefined ? this.#run(signal) : this.#checkAndRun(signal, this.#preflight);
  }

  states(): readonly SocketState[] {
    return this.#connections.map((connection) => connection.state());
  }

  async ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#sessions().length > 0) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = (): void => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    this.#waiting.add(resolve);
    try {
      await promise;
    } finally {
      this.#waiting.delete(resolve);
      signal.removeEventListener("abort", abort);
    }
  }

  async callback(callback: Callback, signal: AbortSignal): Promise<CallbackAnswer> {
    if (this.#closing !== undefined) {
      throw new OutpostError("BROKER_DISCONNECTED", "Cannot send the callback: this process is shutting down");
    }
    const cut = AbortSignal.any([signal, this.#life.signal]);
    const sending = this.#callbacks.send(callback, cut);
    const tracked = sending.then(() => {}, () => {});
    this.#pendingCallbacks.add(tracked);
    try {
      return await sending;
    } finally {
      this.#pendingCallbacks.delete(tracked);
    }
  }

  send(request: CallbackRequest, signal: AbortSignal): Promise<CallbackAnswer> {
    const { path, headers, body } = request;
    return this.callback({ method: "POST", url: path, headers, body }, signal);
  }

  rules(): RuleFile {
    return this.#rules.file;
  }

  reloadRules(): Promise<RuleFile> {
    return this.#reloading ??= this.#reloadRules().finally(() => this.#reloading = undefined);
  }

  async #reloadRules(): Promise<RuleFile> {
    if (this.#ruleSource === undefined) return this.#rules.file;
    this.#rules = AcceptRules.from(await this.#ruleSource(this.#life.signal));
    const { file } = this.#rules;
    this.#logger.info("Loaded the accept rules", { public: file.public.length, private: file.private.length });
    return file;
  }

  async #reloadDaily(signal: AbortSignal): Promise<void> {
    if (this.#ruleSource === undefined) return;
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(LIMITS.brokerRuleReloadMs, signal);
        await this.reloadRules();
      } catch (error) {
        if (signal.aborted) return;
        const reason = error instanceof OutpostError ? error.message : "they cannot be read";
        this.#logger.error("Cannot reload the accept rules; the old ones stay", { reason });
      }
    }
  }

  inFlight(): number {
    return this.#relay.inFlight;
  }

  announceStop(): void {
    const [session] = this.#sessions();
    if (session === undefined || this.#announced) return;
    this.#announced = true;
    const uptimeSeconds = Math.round((this.#clock.now() - this.#startedAt) / 1_000);
    this.#report({ type: "client-shutdown", reason: "clean", uptimeSeconds });
    session.emit("terminate", { signal: "SIGTERM" });
  }

  /** §11: a client event, on one socket. */
  #report(event: Readonly<Record<string, unknown>>): void {
    this.#sessions()[0]?.emit("client-event", { ts: this.#clock.now(), event });
  }

  close(signal: AbortSignal): Promise<void> {
    return this.#closing ??= this.#close(signal);
  }

  async #close(signal: AbortSignal): Promise<void> {
    const late = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.race([Promise.all([this.#relay.drain(signal), ...this.#pendingCallbacks]), late]);
    this.#life.abort(new OutpostError("CANCELLED", "The broker client was closed"));
    await this.#running;
  }

  #run(signal: AbortSignal): Promise<unknown> {
    return Promise.all([
      this.#dispatcher?.run(signal),
      ...this.#connections.map((connection) => this.#connect(connection, signal)),
      this.#reloadDaily(signal),
    ]);
  }

  async #connect(connection: BrokerConnection, signal: AbortSignal): Promise<void> {
    if (this.#dispatcher !== undefined) await this.#dispatcher.asked;
    await connection.run(signal);
  }

  async #checkAndRun(
    signal: AbortSignal,
    preflight: (signal: AbortSignal) => Promise<readonly PreflightCheck[]>,
  ): Promise<void> {
    const checking = preflight(signal).then((checks) => void (this.#preflightChecks = checks), () => {});
    const waiting = new AbortController();
    const late = this.#clock.sleep(LIMITS.preflightWaitMs, AbortSignal.any([waiting.signal, signal])).catch(() => {});
    await Promise.race([checking, late]);
    waiting.abort();
    await Promise.all([checking, this.#run(signal)]);
  }

  #sessions(): readonly BrokerSession[] {
    return this.#connections.flatMap((connection) => connection.session ?? []);
  }

  #changed(): void {
    if (this.#sessions().length === 0) return;
    for (const resolve of this.#waiting) resolve();
  }

  #message(session: BrokerSession, message: ServerMessage): void {
    switch (message.name) {
      case "request":
        return this.#relay.handle(session, message);
      case "notification":
        return this.#notification(message.args[0]);
      case "service":
        return this.#service(session, message);
      default:
        this.#onEvent({ kind: "frame", role: session.role, outcome: "ignored" });
    }
  }

  #notification(value: unknown): void {
    const { level, message } = isRecord(value) ? value : {};
    if (typeof message !== "string") return;
    const log = level === "error" ? "error" : level === "warning" ? "warn" : "info";
    this.#logger[log]("Notification of the broker server", {
      notification: message.slice(0, LIMITS.errorMessageChars),
    });
  }

  /** §11: the commands of `/service/<token>/…`. Filters are not reloaded by the reference either. */
  #service(session: BrokerSession, message: ServerMessage): void {
    const [argument] = message.args;
    const url = isRecord(argument) ? argument["url"] : undefined;
    const path = typeof url === "string" ? url.split(/[?#]/, 1)[0] : "";
    const [status, answer] = path === "/filters/reload"
      ? [200, { ok: true, msg: "Filters reloaded." }] as const
      : path === "/config/reload"
      ? [501, { ok: false, msg: "Service command not available in classic broker." }] as const
      : [400, { ok: false, msg: "Unknown service command." }] as const;
    this.#logger.info("Service command of the broker server", { status });
    if (message.id === undefined) return;
    session.acknowledge(message.id, { status, headers: {}, body: JSON.stringify(answer) });
  }
}
