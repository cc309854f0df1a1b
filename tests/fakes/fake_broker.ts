/**
 * Outpost's own loopback broker server on a free port, and a broker client against any server, for tests.
 *
 * @module
 */
import {
  type BrokerClient,
  type BrokerClientOptions,
  type BrokerEvent,
  type Callback,
  type CallbackAnswer,
  createBrokerClient,
  LoopbackBroker,
  type LoopbackOptions,
} from "../../src/broker/mod.ts";
import type { Fetch } from "../../src/core/ports.ts";
import { DirectClient } from "../../src/net/direct.ts";
import { dialer } from "../../src/world.ts";
import { systemClock } from "./clock.ts";
import { RecordingLogger } from "./logger.ts";

export { systemClock };

/** A loopback broker server that listens. */
export interface FakeBroker extends AsyncDisposable {
  readonly broker: LoopbackBroker;
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Callbacks so far, oldest first. */
  readonly callbacks: Callback[];
}

/** Starts a loopback broker server. `answer` answers callbacks; by default `200 {"ok":true}`. */
export function startFakeBroker(
  token: string,
  options: Partial<LoopbackOptions> & {
    readonly answer?: (callback: Callback) => CallbackAnswer | Promise<CallbackAnswer>;
    readonly port?: number;
  } = {},
): FakeBroker {
  const callbacks: Callback[] = [];
  const ok = (): CallbackAnswer => ({
    status: 200,
    headers: { "content-type": "application/json" },
    body: new TextEncoder().encode('{"ok":true}'),
  });
  const broker = new LoopbackBroker({
    token,
    clock: systemClock,
    logger: new RecordingLogger(),
    randomId: () => crypto.randomUUID(),
    upgrade: Deno.upgradeWebSocket,
    onCallback: (callback) => {
      callbacks.push(callback);
      return (options.answer ?? ok)(callback);
    },
    ...options,
  });
  const server = Deno.serve({ hostname: "127.0.0.1", port: options.port ?? 0, onListen: () => {} }, broker.fetch);
  const stop = async (): Promise<void> => {
    broker.close();
    await server.shutdown();
  };
  return { broker, url: `http://127.0.0.1:${server.addr.port}`, callbacks, [Symbol.asyncDispose]: stop };
}

/** A started broker client with what it did. */
export interface TestClient extends AsyncDisposable {
  readonly client: BrokerClient;
  readonly events: BrokerEvent[];
  readonly logger: RecordingLogger;
}

/** Starts a broker client with the machine's sockets and time; `dispatch` is the agent. */
export function startTestClient(
  options: Partial<BrokerClientOptions> & Pick<BrokerClientOptions, "serverUrl" | "token" | "dispatch">,
): TestClient {
  const events: BrokerEvent[] = [];
  const logger = new RecordingLogger();
  const plainFetch: Fetch = (request) => fetch(request);
  const direct = new DirectClient({ dial: dialer([]), clock: systemClock });
  const client = createBrokerClient({
    protocolVersion: "5.22.14",
    clock: systemClock,
    logger,
    randomId: () => crypto.randomUUID(),
    webSocket: (url, { headers }) => new WebSocket(url, { headers }),
    fetch: plainFetch,
    exchange: (request) => direct.exchange(request),
    variables: () => undefined,
    onEvent: (event) => events.push(event),
    ...options,
  });
  client.start();
  return {
    client,
    events,
    logger,
    [Symbol.asyncDispose]: async () => {
      await client.close(AbortSignal.timeout(5_000));
      direct.close();
    },
  };
}
