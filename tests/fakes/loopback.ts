/**
 * The demo's registry on a loopback port with the real registry client in front of it: what tests of the server, of jobs
 * and of commands ask.
 *
 * @module
 */
import type { Clock, RegistryCredentials } from "../../src/core/ports.ts";
import { createDenoTransport } from "../../src/net/deno_transport.ts";
import { createLoopbackRegistry, type LoopbackRepository } from "../../src/registries/loopback_registry.ts";
import { type ClosableRegistryProvider, createRegistryProvider } from "../../src/registries/mod.ts";
import { BackoffClock } from "./clock.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { RecordingLogger } from "./logger.ts";

/** A running registry. */
export interface LoopbackServer extends AsyncDisposable {
  readonly url: string;
  /** `127.0.0.1:port`. */
  readonly host: string;
  readonly credentials: RegistryCredentials & { readonly username: string; readonly password: string };
  /** Method and path of each request so far. */
  readonly requests: readonly string[];
  /** Answers instead of the registry until it is undefined again; the registry answers where it gives undefined. */
  intercept: ((request: Request) => Response | Promise<Response> | undefined) | undefined;
}

/** Credentials of every loopback registry; canaries that no answer may show. */
export const LOGIN = { username: "canary-user-4711", password: "canary-pass-4711" } as const;

/** Starts the registry. */
export function startLoopbackRegistry(repositories: Readonly<Record<string, LoopbackRepository>>): LoopbackServer {
  const answer = createLoopbackRegistry({ ...LOGIN, repositories });
  const requests: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    requests.push(`${request.method} ${new URL(request.url).pathname}`);
    return await started.intercept?.(request) ?? await answer(request);
  });
  const host = `127.0.0.1:${server.addr.port}`;
  const started: LoopbackServer = {
    url: `http://${host}`,
    host,
    credentials: { type: "oci", base: `http://${host}`, ...LOGIN },
    requests,
    intercept: undefined,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return started;
}

/** The real provider. Waits between attempts are over at once by default; time limits never run out. */
export function loopbackProvider(clock: Clock = instantBackoff()): ClosableRegistryProvider {
  return createRegistryProvider({
    transport: createDenoTransport({
      fetch: (request, init) => fetch(request, init),
      createHttpClient: Deno.createHttpClient,
    }),
    clock,
    logger: new RecordingLogger(),
  });
}

function instantBackoff(): BackoffClock {
  return new BackoffClock([
    LIMITS.connectTimeoutMs,
    LIMITS.responseTimeoutMs,
    LIMITS.noProgressMs,
    LIMITS.scanTimeoutMs,
  ]);
}

/** Credentials in the form in which broker clients send them. */
export function brokered(credentials: RegistryCredentials): string {
  const { type, base: registryBase, username, password } = credentials;
  return new TextEncoder().encode(JSON.stringify({ type, username, password, registryBase })).toBase64();
}
