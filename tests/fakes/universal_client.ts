/**
 * A universal client with the machine's sockets and time, for tests.
 *
 * @module
 */
import {
  type BrokerClient,
  type BrokerEvent,
  type ConnectionInfo,
  type ConnectionSource,
  type ConnectionValues,
  createUniversalClient,
  type UniversalClientOptions,
} from "../../src/broker/mod.ts";
import { systemClock } from "./clock.ts";
import { RecordingLogger } from "./logger.ts";
import type { SnykApi } from "./snyk_api.ts";

/** A request that reached the agent. */
export interface AgentRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly connection: ConnectionInfo;
}

/** A started universal client with what it did. */
export interface TestUniversalClient extends AsyncDisposable {
  readonly client: BrokerClient;
  readonly agent: AgentRequest[];
  readonly events: BrokerEvent[];
  readonly secrets: string[];
  readonly logger: RecordingLogger;
}

/** Settings of the API's deployment. */
export function remoteSource(
  api: SnykApi,
  changes: Partial<Extract<ConnectionSource, { kind: "remote" }>> = {},
): ConnectionSource {
  return {
    kind: "remote",
    apiUrl: api.url,
    ...api.credentials,
    authorizedSockets: true,
    renewalMs: 600_000,
    polls: false,
    ...changes,
  };
}

/** Starts the client; its agent answers with the credentials that the request brought. */
export async function startUniversalClient(
  options: Partial<UniversalClientOptions> & Pick<UniversalClientOptions, "serverUrl" | "source">,
): Promise<TestUniversalClient> {
  const agent: AgentRequest[] = [];
  const events: BrokerEvent[] = [];
  const secrets: string[] = [];
  const logger = new RecordingLogger();
  const client = createUniversalClient({
    protocolVersion: "5.22.14",
    clock: systemClock,
    logger,
    randomId: () => crypto.randomUUID(),
    webSocket: (url, { headers }) => new WebSocket(url, { headers }),
    fetch: (request) => fetch(request),
    environment: () => undefined,
    isRequestVariable: (name) => name.startsWith("CR_"),
    remoteAgents: false,
    encodeCredentials: encodeForTest,
    onSecret: (secret) => secrets.push(secret),
    onToken: (token) => secrets.push(token),
    dispatch: (request, { connection }) => {
      const headers = Object.fromEntries(request.headers);
      agent.push({ path: new URL(request.url).pathname, headers, connection });
      return Promise.resolve(Response.json({ authorization: headers["authorization"] ?? null }));
    },
    onEvent: (event) => events.push(event),
    ...options,
  });
  await client.prepare(AbortSignal.timeout(20_000));
  client.start();
  return {
    client,
    agent,
    events,
    secrets,
    logger,
    [Symbol.asyncDispose]: () => client.close(AbortSignal.timeout(5_000)),
  };
}

/** Credentials that a test can read. */
export function encodeForTest(type: string, { CR_USERNAME, CR_PASSWORD }: ConnectionValues): string {
  return `${type}:${CR_USERNAME}:${CR_PASSWORD}`;
}
