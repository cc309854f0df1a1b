/**
 * The connections of a universal client that run now, kept to what was last read of them (broker-protocol.md §10.3).
 *
 * @module
 */
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { BrokerClient, ConnectionReport } from "./client_options.ts";
import { ConnectionVariables, type ConnectionVariablesOptions } from "./connection_variables.ts";
import { TokenMask } from "./handshake.ts";
import type { RemoteConnection } from "./remote_connections.ts";

/** A connection that runs. */
export interface RunningConnection {
  readonly name: string;
  readonly type: string;
  /** What the broker server knows it by. */
  readonly identifier: string;
  /** As last read. */
  readonly variables: () => ConnectionVariables;
}

/** Options of {@link ConnectionPool}. */
export interface ConnectionPoolOptions extends ConnectionVariablesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Makes the client of a connection; the pool starts and closes it. */
  readonly create: (connection: RunningConnection) => BrokerClient;
  /** Gets every secret of a connection before it is used. */
  readonly onSecret: (secret: string) => void;
}

interface Member {
  readonly connection: RemoteConnection;
  readonly identifier: string;
  readonly client: BrokerClient;
  variables: ConnectionVariables;
}

/** Starts what is new, ends what is gone, and leaves alone what stays: its requests go on. */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #members = new Map<string, Member>();
  /** Why a connection is not, or not as last read, in use. */
  readonly #problems = new Map<string, string>();
  readonly #ending = new Set<Promise<void>>();
  #closed = false;

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
  }

  /** Clients in the order in which their connections came. */
  get clients(): readonly BrokerClient[] {
    return [...this.#members.values()].map(({ client }) => client);
  }

  /** The client of a connection. */
  client(name: string): BrokerClient | undefined {
    return this.#members.get(name)?.client;
  }

  /** What is known of every connection. */
  reports(): readonly ConnectionReport[] {
    const names = new Set([...this.#members.keys(), ...this.#problems.keys()]);
    return [...names].map((name) => ({
      name,
      credentials: this.#members.get(name)?.variables.get("CR_CREDENTIALS"),
      problem: this.#problems.get(name),
    }));
  }

  /**
   * Makes the pool what was read. A connection with another identifier or type is replaced; one with other values only
   * changes what its next requests mean. When new values cannot be used, the old ones stay.
   */
  apply(connections: readonly RemoteConnection[]): void {
    if (this.#closed) return;
    const read = new Map(connections.map((one) => [one.name, one]));
    for (const name of [...this.#problems.keys()]) if (!read.has(name)) this.#problems.delete(name);
    for (const [name, member] of [...this.#members]) {
      const next = read.get(name);
      if (next?.identifier !== member.identifier || next.type !== member.connection.type) this.#end(name, member);
    }
    for (const connection of connections) this.#keep(connection);
  }

  /** Closes every client; requests may finish until the signal aborts. */
  async close(signal: AbortSignal): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.clients.map((client) => client.close(signal)), ...this.#ending]);
  }

  #keep(connection: RemoteConnection): void {
    const { name, identifier } = connection;
    if (identifier === undefined) return this.#report(name, "no organization uses it yet", "info");
    try {
      this.#options.onSecret(identifier);
      const variables = new ConnectionVariables(connection, this.#options);
      variables.secrets.forEach((secret) => this.#options.onSecret(secret));
      const member = this.#members.get(name);
      if (member === undefined) this.#start(connection, identifier, variables);
      else member.variables = variables;
      this.#problems.delete(name);
    } catch (error) {
      const { message, hint } = toOutpostError(error);
      this.#report(name, hint === undefined ? message : `${message}. ${hint}`, "error");
    }
  }

  #start(connection: RemoteConnection, identifier: string, variables: ConnectionVariables): void {
    const { name, type } = connection;
    const running = { name, type, identifier, variables: () => member.variables };
    const member: Member = { connection, identifier, variables, client: this.#options.create(running) };
    this.#members.set(name, member);
    const masked = new TokenMask(identifier).masked;
    this.#options.logger.info("Connecting a connection of this deployment", { connection: name, type, token: masked });
    member.client.start();
  }

  #end(name: string, { client }: Member): void {
    this.#members.delete(name);
    this.#options.logger.info("Ending a connection of this deployment", { connection: name });
    const ending = this.#drain(client).finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  async #drain(client: BrokerClient): Promise<void> {
    const { clock } = this.#options;
    const closed = new AbortController();
    const late = new AbortController();
    const waiting = clock.sleep(LIMITS.brokerConnectionDrainMs, closed.signal).then(
      () => late.abort(new OutpostError("CANCELLED", "The connection was taken away")),
      () => {},
    );
    await client.close(late.signal);
    closed.abort();
    await waiting;
  }

  /** Logs a problem once, however often the connections are read. */
  #report(name: string, problem: string, level: "info" | "error"): void {
    if (this.#problems.get(name) === problem) return;
    this.#problems.set(name, problem);
    this.#options.logger[level]("A connection of this deployment is not in use", {
      connection: name,
      reason: problem,
    });
  }
}
