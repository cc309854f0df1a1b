/**
 * What `${VAR}` means in the requests of one connection of a universal client, and in those of its contexts
 * (broker-protocol.md §5, §10.2).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { ConnectionValues, RemoteConnection } from "./remote_connections.ts";
import type { VariableLookup } from "./substitute.ts";

/** Options of {@link ConnectionVariables}. */
export interface ConnectionVariablesOptions {
  /** Variables of this process. */
  readonly environment: VariableLookup;
  /**
   * Makes CR_CREDENTIALS of a type and its `CR_…` values.
   *
   * @throws {OutpostError} when the type is no container registry or the values cannot be used.
   */
  readonly encodeCredentials: (type: string, values: ConnectionValues) => string;
  /** Whether the connection's own CR_AGENT_URL counts when the environment has none. */
  readonly remoteAgents: boolean;
}

/** What each type cannot do without, as the reference's plug-in asks for it; the others need a user name and a password. */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  "ecr": ["CR_ROLE_ARN", "CR_REGION", "CR_EXTERNAL_ID"],
  "digitalocean-cr": ["CR_TOKEN"],
};
const LOGIN = ["CR_USERNAME", "CR_PASSWORD"];

/** Values that are secret, beside the credentials made of them. */
const SECRETS = ["CR_PASSWORD", "CR_TOKEN", "CR_EXTERNAL_ID", "CR_CREDENTIALS"];

/** The variables of a connection: its own values, then this process's. No other registry's login is among them. */
export class ConnectionVariables {
  readonly #options: ConnectionVariablesOptions;
  readonly #own: ConnectionValues;
  readonly #contexts: ReadonlyMap<string, ConnectionValues>;

  /** @throws {OutpostError} CONFIG_INVALID when a value is missing or cannot be used, naming it. */
  constructor(connection: RemoteConnection, options: ConnectionVariablesOptions) {
    const { name, type, values, contexts, missing } = connection;
    this.#options = options;
    if (missing.length > 0) {
      throw new OutpostError(
        "CONFIG_INVALID",
        `Cannot use the connection ${name}: a variable that it names is not set`,
        {
          hint: `Set ${missing.join(", ")} and start again.`,
        },
      );
    }
    this.#own = withCredentials(name, type, values, options);
    this.#contexts = new Map(
      [...contexts].map(([id, own]) => [id, withCredentials(name, type, { ...values, ...own }, options)]),
    );
  }

  /** The value of a variable for the connection itself. */
  get(name: string): string | undefined {
    return this.#lookup(this.#own, name);
  }

  /** Values for a context; undefined when there is none of that id. */
  context(id: string): VariableLookup | undefined {
    const values = this.#contexts.get(id);
    return values === undefined ? undefined : (name) => this.#lookup(values, name);
  }

  /** Every secret among the values. */
  get secrets(): readonly string[] {
    return [this.#own, ...this.#contexts.values()].flatMap((values) =>
      SECRETS.flatMap((name) => Object.hasOwn(values, name) ? values[name] ?? [] : [])
    );
  }

  #lookup(values: ConnectionValues, name: string): string | undefined {
    const { environment, remoteAgents } = this.#options;
    const own = Object.hasOwn(values, name) ? values[name] : undefined;
    if (name === "CR_AGENT_URL") return given(environment(name)) ?? (remoteAgents ? given(own) : undefined);
    return own ?? (name.startsWith("CR_") ? undefined : environment(name));
  }
}

function withCredentials(
  name: string,
  type: string,
  values: ConnectionValues,
  { encodeCredentials }: ConnectionVariablesOptions,
): ConnectionValues {
  if (given(values["CR_CREDENTIALS"]) === undefined) {
    const absent = (REQUIRED[type] ?? LOGIN).filter((one) => given(values[one]) === undefined);
    if (absent.length > 0) {
      throw new OutpostError(
        "CONFIG_INVALID",
        `Cannot use the connection ${name}: ${type} needs ${absent.join(", ")}`,
        {
          hint: "Complete the connection's configuration in Snyk.",
        },
      );
    }
  }
  return { ...values, CR_CREDENTIALS: encodeCredentials(type, values) };
}

function given(value: string | undefined): string | undefined {
  return value === undefined || value === "" ? undefined : value;
}
