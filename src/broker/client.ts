/**
 * The broker client: two connections, the relay for the server's requests, and the way of callbacks.
 *
 * @module
 */
import type { CallbackRequest, Clock, Logger, SocketState } from "../core/ports.ts";
import { LIMITS } from "../core/limits.ts";
import { OutpostError } from "../core/errors.ts";
import { authorizedExchange, authorizedFetch, authorizedSockets, renewingFetch } from "./authorization.ts";
import { type Callback, type CallbackAnswer, Callbacks } from "./callbacks.ts";
import { type ClientErrorCode, ClientEvents } from "./client_events.ts";
import type { BrokerClient, BrokerClientOptions, ConnectionReport } from "./client_options.ts";
import { BrokerConnection } from "./connection.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { BrokerEvent, BrokerEventSink } from "./events.ts";
import { BrokerEndpoints, type ClientDescription, type ClientIdentity, TokenMask } from "./handshake.ts";
import { LiveRules } from "./live_rules.ts";
import type { PreflightCheck } from "./preflight.ts";
import { Relay } from "./relay.ts";
import type { AcceptRules, RuleFile } from "./rules.ts";
import { handleNotification, handleService } from "./server_messages.ts";
import type { BrokerSession, ServerMessage, SessionTimes } from "./session.ts";
import { Substituter } from "./substitute.ts";
import { substituteUrls } from "./url_substitution.ts";
import { Waiters } from "./waiters.ts";

export type { BrokerClient, BrokerClientOptions, ConnectionReport } from "./client_options.ts";

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
  readonly #clock: Clock;
  readonly #preflight: BrokerClientOptions["preflight"];
  #preflightChecks: readonly PreflightCheck[] = [];
  readonly #rules: LiveRules;
  readonly #ownRules: boolean;
  readonly #events: ClientEvents;
  readonly #connection: BrokerClientOptions["connection"];
  readonly #onSession: BrokerClientOptions["onSession"];
  readonly #onConfigReload: BrokerClientOptions["onConfigReload"];
  readonly #known = new WeakSet<BrokerSession>();
  readonly #relay: Relay;
  readonly #callbacks: Callbacks;
  readonly #dispatcher: Dispatcher | undefined;
  readonly #connections: readonly BrokerConnection[];
  readonly #onEvent: BrokerEventSink;
  readonly #life = new AbortController();
  readonly #pendingCallbacks = new Set<Promise<unknown>>();
  readonly #waiting = new Waiters();
  #running: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: BrokerClientOptions) {
    const { clock, randomId, protocolVersion, dispatch, authorization } = options;
    const fetch = authorization === undefined ? options.fetch : authorizedFetch(options.fetch, authorization);
    const logger = this.#logger = options.logger.child("broker");
    this.#clock = clock;
    this.#preflight = options.preflight;
    this.#connection = options.connection;
    this.#onSession = options.onSession;
    this.#onConfigReload = options.onConfigReload;
    this.#ownRules = options.liveRules === undefined;
    this.#rules = options.liveRules ??
      new LiveRules({ rules: options.rules, source: options.ruleSource, clock, logger });
    const sessions = (): readonly BrokerSession[] => this.#sessions();
    this.#events = new ClientEvents(clock, sessions, options.connection?.name);
    const onEvent = this.#onEvent = options.onEvent ?? ((_event: BrokerEvent): void => {});
    const endpoints = new BrokerEndpoints(options.serverUrl, options.token, options.uploads);
    const mask = new TokenMask(options.token);
    const identity: ClientIdentity = {
      token: options.token,
      clientId: options.clientId ?? randomId(),
      protocolVersion,
    };
    const rules = (): AcceptRules => this.#rules.current;
    this.#relay = new Relay({
      clock,
      logger,
      fetch,
      dispatch,
      agentExchange: options.exchange,
      uploadExchange: options.exchange && authorization
        ? authorizedExchange(options.exchange, authorization)
        : options.exchange,
      endpoints,
      protocolVersion,
      rules,
      ruleVariables: new Substituter(options.variables),
      requestVariables: requestVariables(options),
      substituteHeaders: options.substituteHeaders ?? true,
      substituteBodies: options.substituteBodies ?? true,
      removeForwarded: options.removeForwardedHeaders ?? false,
      randomId,
      onEvent,
      onLost: (requestId) => this.#events.error("SEND_BACK_FAILED", requestId),
      uploadIdleMs: options.uploadIdleMs ?? LIMITS.brokerUploadIdleMs,
      maxResponseBytes: options.maxResponseBytes ?? LIMITS.brokerSocketResponseBytes,
      agentRetries: options.agentRetries ?? AGENT_RETRIES,
      insecureDownstream: options.insecureDownstream ?? false,
      rewrite: (answer) =>
        options.responseUrl === undefined ? answer : substituteUrls(answer, options.responseUrl, options.token),
    });
    const times = { ...SESSION_TIMES, ...options.times };
    const describe = (): ClientDescription => ({
      filters: options.universal === undefined ? this.#rules.current.file : {},
      universal: options.universal,
      preflightChecks: this.#preflightChecks,
      settings: { haMode: options.dispatcher !== undefined, ...options.settings },
    });
    const askDispatcher = options.dispatcherAuthorization === undefined
      ? fetch
      : renewingFetch(options.fetch, options.dispatcherAuthorization);
    this.#dispatcher = options.dispatcher &&
      new Dispatcher({ ...options.dispatcher, ...identity, fetch: askDispatcher, clock, logger });
    const webSocket = authorization === undefined
      ? options.webSocket
      : authorizedSockets(options.webSocket, authorization);
    this.#connections = (options.roles ?? ["primary", "secondary"]).map((role) =>
      new BrokerConnection({
        role,
        identity,
        endpoints,
        mask,
        clock,
        logger,
        randomId,
        webSocket,
        onEvent,
        describe,
        times,
        serverId: () => this.#dispatcher?.serverId,
        onMessage: (session, message) => this.#message(session, message),
        onChange: () => this.#changed(),
      })
    );
    const { apiUrl } = options;
    const webhooks = apiUrl === undefined
      ? undefined
      : { apiUrl, fetch: options.fetch, clock, maskedToken: mask.masked };
    this.#callbacks = new Callbacks({ clock, logger, rules, randomId, onEvent, sessions, webhooks });
  }

  prepare(_signal: AbortSignal): Promise<void> {
    return Promise.resolve();
  }

  start(): void {
    if (this.#running !== undefined) return;
    const { signal } = this.#life;
    this.#events.start();
    this.#running = this.#preflight === undefined ? this.#run(signal) : this.#checkAndRun(signal, this.#preflight);
  }

  states(): readonly SocketState[] {
    const connection = this.#connection;
    const named = connection === undefined ? {} : { connection };
    return this.#connections.map((socket) => ({ ...socket.state(), ...named }));
  }

  async ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#sessions().length > 0) return;
    await this.#waiting.wait(signal);
  }

  connections(): readonly ConnectionReport[] {
    return [];
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
    return this.#rules.current.file;
  }

  reloadRules(): Promise<RuleFile> {
    return this.#rules.reload(this.#life.signal);
  }

  inFlight(): number {
    return this.#relay.inFlight;
  }

  reportError(errorCode: ClientErrorCode): void {
    this.#events.error(errorCode);
  }

  announceStop(): void {
    this.#events.announceStop();
  }

  announceCrash(error: unknown): void {
    this.#events.announceCrash(error);
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
      this.#ownRules ? this.#rules.reloadDaily(signal) : undefined,
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
    const sessions = this.#sessions();
    for (const session of sessions) {
      if (this.#known.has(session)) continue;
      this.#known.add(session);
      this.#onSession?.(session);
    }
    if (sessions.length > 0) this.#waiting.wake();
  }

  #message(session: BrokerSession, message: ServerMessage): void {
    switch (message.name) {
      case "request":
        return this.#relay.handle(session, message);
      case "notification":
        return handleNotification(message.args[0], this.#logger);
      case "service":
        return handleService(session, message, { logger: this.#logger, onConfigReload: this.#onConfigReload });
      default:
        this.#onEvent({ kind: "frame", role: session.role, outcome: "ignored" });
    }
  }
}

/** One substituter for each context, so that each has its own turns through pools. */
function requestVariables(options: BrokerClientOptions): (contextId: string | undefined) => Substituter | undefined {
  const { variables, contextVariables } = options;
  const lookup = options.requestVariables ?? variables;
  const plain = new Substituter(lookup);
  if (contextVariables === undefined) return () => plain;
  const contexts = new Map<string, Substituter>();
  return (contextId) => {
    if (contextId === undefined) return plain;
    if (contextVariables(contextId) === undefined) return undefined;
    const known = contexts.get(contextId);
    if (known !== undefined) return known;
    const substituter = new Substituter((name) => contextVariables(contextId)?.(name));
    contexts.set(contextId, substituter);
    return substituter;
  };
}
