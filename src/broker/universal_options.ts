/**
 * What a universal client is made of, beside what every broker client is.
 *
 * @module
 */
import type { DispatchInfo } from "./relay_request.ts";
import type { BrokerClientOptions } from "./client_options.ts";
import type { ConnectionVariablesOptions } from "./connection_variables.ts";
import type { VariableLookup } from "./substitute.ts";

/** The connection that a request came by. */
export interface ConnectionInfo {
  /** Its name. */
  readonly name: string;
  /** CR_CREDENTIALS of it, or of the request's context. */
  readonly credentials: string | undefined;
}

/** Asks the agent; {@link ConnectionInfo} says for which registry. */
export type ConnectionDispatch = (
  request: Request,
  info: DispatchInfo & { readonly connection: ConnectionInfo },
) => Promise<Response>;

/** Where connections come from: Snyk's API with OAuth, or a local file. */
export type ConnectionSource =
  | {
    readonly kind: "remote";
    /** API_BASE_URL. */
    readonly apiUrl: string;
    /** CLIENT_ID. */
    readonly clientId: string;
    /** CLIENT_SECRET. */
    readonly clientSecret: string;
    /** DEPLOYMENT_ID. */
    readonly deploymentId: string;
    /** UNIVERSAL_BROKER_GA: handshakes and answers are authorized too, and renewed. */
    readonly authorizedSockets: boolean;
    /** AUTH_EXPIRATION_OVERRIDE in milliseconds. */
    readonly renewalMs: number;
    /** REMOTE_CONFIG_POLLING_MODE, or no UNIVERSAL_BROKER_GA: ask again and again, not only when the server says so. */
    readonly polls: boolean;
  }
  | {
    readonly kind: "local";
    /** DEPLOYMENT_ID, if there is one. */
    readonly deploymentId: string | undefined;
    /** Reads the parsed file. */
    readonly read: () => Promise<unknown>;
  };

/** Options of `createUniversalClient`. */
export interface UniversalClientOptions extends
  Omit<
    BrokerClientOptions,
    "token" | "dispatch" | "variables" | "requestVariables" | "contextVariables" | "clientId" | "universal"
  >,
  Pick<ConnectionVariablesOptions, "encodeCredentials" | "remoteAgents"> {
  readonly source: ConnectionSource;
  readonly dispatch: ConnectionDispatch;
  /** Variables of this process: for `${VAR}` in connections and rules. */
  readonly environment: VariableLookup;
  /** Whether a brokered request may name this variable. */
  readonly isRequestVariable: (name: string) => boolean;
  /** Gets every secret of a connection before it is used, so that it is kept out of logs. */
  readonly onSecret: (secret: string) => void;
  /** Gets every access token likewise; there is a new one every hour or so. */
  readonly onToken: (token: string) => void;
}
