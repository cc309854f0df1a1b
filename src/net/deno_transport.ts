/**
 * The transport on Deno's own `fetch`: one connection pool per set of TLS options.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { HttpTransport, OpenTransport, TransportOptions } from "./transport.ts";

/** What the transport needs of Deno, handed over by main.ts. */
export interface DenoTransportDependencies {
  readonly fetch: (request: Request, init: { readonly client: Deno.HttpClient }) => Promise<Response>;
  readonly createHttpClient: typeof Deno.createHttpClient;
}

/**
 * Makes the {@link HttpTransport} of this process. Proxies (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) and the process-wide
 * authorities (DENO_CERT, NODE_EXTRA_CA_CERTS) are honoured by Deno itself.
 *
 * HTTP/2 is off: a download is one stream per connection anyway, and its buffers cost about 18 MB per large layer.
 */
export function createDenoTransport(dependencies: DenoTransportDependencies): HttpTransport {
  return {
    open(options: TransportOptions): OpenTransport {
      const client = openClient(dependencies, options);
      return {
        fetch: (request) => dependencies.fetch(request, { client }),
        close: () => client.close(),
      };
    },
  };
}

/** @throws {OutpostError} CONFIG_INVALID when a certificate or key is not what its PEM says. */
function openClient({ createHttpClient }: DenoTransportDependencies, options: TransportOptions): Deno.HttpClient {
  const { caCerts = [], clientCertificate } = options;
  try {
    return createHttpClient({ caCerts: [...caCerts], http2: false, ...clientCertificate });
  } catch (cause) {
    throw new OutpostError("CONFIG_INVALID", `Cannot use a certificate for TLS: ${(cause as Error).message}`, {
      hint: "Look at the files of CA_CERT, NODE_EXTRA_CA_CERTS, CR_CA_FILE, CR_CLIENT_CERT and CR_CLIENT_KEY, as by " +
        "`openssl x509 -noout -text -in FILE`.",
      cause,
    });
  }
}
