/**
 * The universal client: as many connections as the operator's deployment has, each with two sockets of its own
 * (broker-protocol.md §10).
 *
 * @module
 */
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { CallbackRequest, Logger, SocketState } from "../core/ports.ts";
import { backoff } from "../lib/backoff.ts";
import { AccessTokens } from "./access_tokens.ts";
import { renewAuthorization } from "./auth_renewal.ts";
import type { Callback, CallbackAnswer } from "./callbacks.ts";
import { createBrokerClient } from "./client.ts";
import type { ClientErrorCode } from "./client_events.ts";
import type { BrokerClient, ConnectionReport } from "./client_options.ts";
import { ConnectionPool, type RunningConnection } from "./connection_pool.ts";
import { DeploymentApi } from "./deployment_api.ts";
import { TokenMask } from "./handshake.ts";
import { LiveRules } from "./live_rules.ts";
import type { PreflightCheck } from "./preflight.ts";
import { readLocalConnections, readRemoteConnections, type RemoteConnection } from "./remote_connections.ts";
import type { RuleFile } from "./rules.ts";
import type { BrokerSession } from "./session.ts";
import type { ConnectionSource, UniversalClientOptions } from "./universal_options.ts";
import { Waiters } from "./waiters.ts";

/**
 * Makes a universal client; nothing is asked or connected before {@link BrokerClient.prepare}.
 *
 * @throws {ConfigError} when an accept rule cannot be used.
 */
export function createUniversalClient(options: UniversalClientOptions): BrokerClient {
  return new UniversalClient(options);
}

type RemoteSource = Extract<ConnectionSource, { readonly kind: "remote" }>;

/** What a remote source needs beside its settings. */
interface Remote {
  readonly source: RemoteSource;
  readonly tokens: AccessTokens;
  readonly api: DeploymentApi;
}

class UniversalClient implements BrokerClient {
  readonly #options: UniversalClientOptions;
  readonly #logger: Logger;
  readonly #clientId: string;
  readonly #rules: LiveRules;
  readonly #pool: ConnectionPool;
  readonly #remote: Remote | undefined;
  readonly #life = new AbortController();
  readonly #renewals = new Set<Promise<void>>();
  readonly #waiting = new Waiters();
  #wake = Promise.withResolvers<void>();
  #prepared = false;
  #readAt = -Infinity;
  #announced = false;
  #checks: Promise<readonly PreflightCheck[]> | undefined;
  #running: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: UniversalClientOptions) {
    const { clock, source } = options;
    this.#options = options;
    const logger = this.#logger = options.logger.child("broker");
    this.#clientId = options.randomId();
    this.#rules = new LiveRules({ rules: options.rules, source: options.ruleSource, clock, logger });
    this.#remote = source.kind === "remote" ? this.#createRemote(source) : undefined;
    this.#pool = new ConnectionPool({
      clock,
      logger,
      environment: options.environment,
      encodeCredentials: options.encodeCredentials,
      remoteAgents: options.remoteAgents,
      onSecret: options.onSecret,
      create: (connection) => this.#createClient(connection),
    });
  }

  async prepare(signal: AbortSignal): Promise<void> {
    try {
      await this.#synchronize(AbortSignal.any([signal, this.#life.signal]));
      this.#prepared = true;
    } catch (error) {
      const known = toOutpostError(error);
      if (!known.retryable) throw known;
      this.#logFailure(known, 1);
    }
  }

  start(): void {
    const { signal } = this.#life;
    // Also without a connection that would wait for them.
    void this.#check()?.catch(() => {});
    this.#running ??= Promise.all([
      this.#remote?.tokens.run(signal),
      this.#rules.reloadDaily(signal),
      this.#keepSynchronized(signal),
    ]);
  }

  states(): readonly SocketState[] {
    return this.#pool.clients.flatMap((client) => client.states());
  }

  async ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#open() !== undefined) return;
    await this.#waiting.wait(signal);
  }

  connections(): readonly ConnectionReport[] {
    return this.#pool.reports();
  }

  /** By the first connection that is open: an external agent does not say for which one its callback is. */
  async callback(callback: Callback, signal: AbortSignal): Promise<CallbackAnswer> {
    const client = this.#open() ?? this.#pool.clients[0];
    if (client === undefined) {
      throw new OutpostError(
        "BROKER_DISCONNECTED",
        "Cannot send the callback: this deployment has no connection in use",
        {
          hint: "Check the deployment's connections in Snyk; /systemcheck shows why one is not in use.",
        },
      );
    }
    return await client.callback(callback, signal);
  }

  async send(request: CallbackRequest, signal: AbortSignal): Promise<{ readonly status: number }> {
    const { path: url, headers, body, connection } = request;
    if (connection === undefined) return await this.callback({ method: "POST", url, headers, body }, signal);
    const client = this.#pool.client(connection);
    if (client !== undefined) return await client.send(request, signal);
    throw new OutpostError("BROKER_DISCONNECTED", `Cannot send the callback: the connection ${connection} is gone`);
  }

  rules(): RuleFile {
    return this.#rules.current.file;
  }

  reloadRules(): Promise<RuleFile> {
    return this.#rules.reload(this.#life.signal);
  }

  inFlight(): number {
    return this.#pool.clients.reduce((sum, client) => sum + client.inFlight(), 0);
  }

  reportError(errorCode: ClientErrorCode): void {
    this.#open()?.reportError(errorCode);
  }

  announceStop(): void {
    const client = this.#open();
    if (client === undefined || this.#announced) return;
    this.#announced = true;
    client.announceStop();
  }

  announceCrash(error: unknown): void {
    this.#open()?.announceCrash(error);
  }

  close(signal: AbortSignal): Promise<void> {
    return this.#closing ??= this.#close(signal);
  }

  async #close(signal: AbortSignal): Promise<void> {
    await this.#pool.close(signal);
    this.#life.abort(new OutpostError("CANCELLED", "The broker client was closed"));
    await Promise.all([this.#running, this.#checks?.catch(() => {}), ...this.#renewals]);
  }

  #open(): BrokerClient | undefined {
    return this.#pool.clients.find((client) => client.states().some(({ open }) => open));
  }

  #createRemote(source: RemoteSource): Remote {
    const { fetch, clock, onToken, protocolVersion } = this.#options;
    const tokens = new AccessTokens({
      ...source,
      fetch,
      clock,
      logger: this.#logger,
      onToken,
      onFailure: () => this.#authorizationFailed("token", 0),
    });
    const api = new DeploymentApi({
      apiUrl: source.apiUrl,
      clientId: this.#clientId,
      protocolVersion,
      tokens,
      fetch,
      clock,
    });
    return { source, tokens, api };
  }

  #createClient(connection: RunningConnection): BrokerClient {
    const { dispatch, isRequestVariable, source, preflight } = this.#options;
    const { name, type, identifier, variables } = connection;
    const authorizes = this.#remote?.source.authorizedSockets === true;
    return createBrokerClient({
      ...this.#options,
      token: identifier,
      clientId: this.#clientId,
      liveRules: this.#rules,
      dispatcherAuthorization: this.#remote?.tokens,
      universal: { deploymentId: source.deploymentId, supportedIntegrationType: type },
      connection: { name, identifier: new TokenMask(identifier).masked },
      settings: { ...this.#options.settings, universalBroker: true },
      ...(authorizes ? { authorization: this.#remote?.tokens, uploads: "/hidden/brokers/response-data" as const } : {}),
      variables: (variable) => variables().get(variable),
      requestVariables: (variable) => isRequestVariable(variable) ? variables().get(variable) : undefined,
      contextVariables: (id) => {
        const lookup = variables().context(id);
        return lookup && ((variable) => isRequestVariable(variable) ? lookup(variable) : undefined);
      },
      dispatch: (request, info) => {
        const { contextId } = info;
        const lookup = contextId === undefined ? undefined : variables().context(contextId);
        const credentials = lookup?.("CR_CREDENTIALS") ?? variables().get("CR_CREDENTIALS");
        return dispatch(request, { ...info, connection: { name, credentials } });
      },
      // Once for all connections: they differ in nothing that is checked.
      preflight: preflight && (() => this.#check() ?? Promise.resolve([])),
      onConfigReload: () => this.#wake.resolve(),
      onSession: (session) => this.#opened(session, connection),
    });
  }

  #check(): Promise<readonly PreflightCheck[]> | undefined {
    return this.#checks ??= this.#options.preflight?.(this.#life.signal);
  }

  #opened(session: BrokerSession, { name, identifier }: RunningConnection): void {
    this.#waiting.wake();
    if (this.#remote === undefined || !this.#remote.source.authorizedSockets) return;
    const { api, source } = this.#remote;
    const renewal = renewAuthorization(session, {
      api,
      identifier,
      connection: name,
      intervalMs: source.renewalMs,
      clock: this.#options.clock,
      logger: this.#logger,
      onFailure: (status) => {
        this.#authorizationFailed("renewal", status);
        // The connection may have another identifier by now, or be gone.
        this.#wake.resolve();
      },
    }).finally(() => this.#renewals.delete(renewal));
    this.#renewals.add(renewal);
  }

  #authorizationFailed(what: "token" | "renewal", status: number): void {
    this.#options.onEvent?.({ kind: "authorization-failure", what, status });
    this.reportError(what === "token" ? "JWT_REFRESH_FAILED" : "AUTH_RENEWAL_FAILED");
  }

  async #keepSynchronized(signal: AbortSignal): Promise<void> {
    let failures = 0;
    if (!this.#prepared) failures = 1;
    while (!signal.aborted) {
      await this.#untilDue(failures, signal);
      if (signal.aborted) return;
      this.#readAt = this.#options.clock.now();
      const error = await this.#synchronize(signal).then(() => undefined, toOutpostError);
      failures = error === undefined ? 0 : failures + 1;
      if (error !== undefined && !signal.aborted) this.#logFailure(error, failures);
    }
  }

  /** Until the server asks for it, a failure was waited off, or the connections have to be looked at by ourselves. */
  async #untilDue(failures: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const waitMs = failures === 0 ? LIMITS.brokerConnectionsPollMs : backoff(failures, {
      min: LIMITS.brokerApiRetryMinMs,
      max: LIMITS.brokerApiRetryMaxMs,
      random: clock.random(),
    });
    for (let asked = false; !asked;) {
      const waiting = new AbortController();
      const slept = clock.sleep(waitMs, AbortSignal.any([signal, waiting.signal])).then(() => false, () => false);
      asked = await Promise.race([this.#wake.promise.then(() => true), slept]);
      waiting.abort();
      if (signal.aborted || failures > 0 || this.#polls()) break;
    }
    this.#wake = Promise.withResolvers<void>();
    // A server that asks without end does not make us ask Snyk's API without end.
    const pauseMs = this.#readAt + LIMITS.brokerApiRetryMinMs - clock.now();
    if (pauseMs > 0) await clock.sleep(pauseMs, signal).catch(() => {});
  }

  #polls(): boolean {
    return this.#remote !== undefined && (this.#remote.source.polls || this.#open() === undefined);
  }

  async #synchronize(signal: AbortSignal): Promise<void> {
    this.#pool.apply(await this.#read(signal));
  }

  async #read(signal: AbortSignal): Promise<readonly RemoteConnection[]> {
    const { environment, source } = this.#options;
    if (source.kind === "local") return readLocalConnections(await source.read(), environment);
    const answer = await this.#remote?.api.connections(source.deploymentId, signal);
    return readRemoteConnections(answer, environment);
  }

  #logFailure({ code, message: reason, hint }: OutpostError, failures: number): void {
    this.#logger.error("Cannot synchronize the connections; those that there are stay", {
      code,
      reason,
      hint,
      failures,
    });
  }
}
