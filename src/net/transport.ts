/**
 * The port to the network: a `fetch` per set of TLS options. main.ts supplies Deno's (deno_transport.ts), tests theirs.
 *
 * @module
 */
import type { Fetch } from "../core/ports.ts";

/** A client certificate and its key, both PEM. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

/** TLS options of a connection pool. */
export interface TransportOptions {
  /** Authorities trusted beside the built-in ones, one PEM certificate each. */
  readonly caCerts?: readonly string[] | undefined;
  /** Shown to servers that ask for one. */
  readonly clientCertificate?: ClientCertificate | undefined;
}

/** An open connection pool. */
export interface OpenTransport {
  /** Must not follow redirects by itself when the request says `redirect: "manual"`. */
  readonly fetch: Fetch;
  close(): void;
}

/** Opens connection pools. */
export interface HttpTransport {
  /** @throws {OutpostError} CONFIG_INVALID when a certificate or key is not what its PEM says. */
  open(options: TransportOptions): OpenTransport;
}
