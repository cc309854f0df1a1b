/**
 * Snyk's real broker client (npm: snyk-broker) in its container-registry-agent flavour: what Outpost replaces, to run
 * against one half of Outpost or beside it.
 *
 * @module
 */
import { NODE_24, peerPath } from "./mod.ts";
import { freePort, poll, type ServerProcess, startProcess } from "./process.ts";

/** How to start the client. */
export interface BrokerClientOptions {
  /** BROKER_SERVER_URL. */
  readonly serverUrl: string;
  /** BROKER_TOKEN. */
  readonly token: string;
  /** CR_AGENT_URL. */
  readonly agentUrl: string;
  /** Port on the loopback interface; by default a free one. */
  readonly port?: number;
  /** Further variables, CR_CREDENTIALS among them. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A running client. */
export interface BrokerClient extends AsyncDisposable {
  /** Where the agent sends its callbacks: BROKER_CLIENT_URL. */
  readonly url: string;
  readonly process: ServerProcess;
  log(): string;
  stop(): Promise<void>;
}

/** The SCM rule flags, which the client's container-registry template turns off. */
const NO_SCM_RULES = [
  "ACCEPT_ESSENTIALS",
  "ACCEPT_APPRISK",
  "ACCEPT_GIT",
  "ACCEPT_CODE",
  "ACCEPT_IAC",
  "ACCEPT_LARGE_MANIFESTS",
  "ACCEPT_CUSTOM_PR_TEMPLATES",
] as const;

/**
 * Starts the client with the accept rules that its package ships for container registries, and waits until it says
 * that its websocket is open.
 *
 * @throws {Error} when the peer is not installed or does not get ready.
 */
export async function startBrokerClient(options: BrokerClientOptions): Promise<BrokerClient> {
  const script = peerPath("snyk-broker");
  const dir = await Deno.makeTempDir({ prefix: "outpost-client-" });
  const port = options.port ?? freePort();
  const url = `http://127.0.0.1:${port}`;
  const rules = new URL(`file://${script}/../../client-templates/container-registry-agent/accept.json.sample`).pathname;
  const remove = (): Promise<void> => Deno.remove(dir, { recursive: true });
  const client = await startProcess({
    name: "snyk-broker client",
    command: NODE_24,
    args: [script, "client"],
    cwd: dir,
    env: {
      ...Object.fromEntries(NO_SCM_RULES.map((name) => [name, "false"])),
      ACCEPT: rules,
      PORT: String(port),
      BROKER_SERVER_URL: options.serverUrl,
      BROKER_TOKEN: options.token,
      BROKER_CLIENT_URL: url,
      CR_AGENT_URL: options.agentUrl,
      // Preflight checks and the IPv6 probe ask Snyk's own hosts.
      PREFLIGHT_CHECKS_ENABLED: "false",
      IPV6_CONNECTIVITY_CHECK_ENABLED: "false",
      REMOTE_WORKLOAD_NAME: "BrokerWorkload",
      REMOTE_WORKLOAD_MODULE_PATH: "../broker-workload/websocketRequests",
      CLIENT_WORKLOAD_NAME: "BrokerClientRequestWorkload",
      CLIENT_WORKLOAD_MODULE_PATH: "../broker-workload/clientLocalRequests",
      ...options.env,
    },
    ready: (started, signal) => poll(`${url}/healthcheck`, (response) => response.status === 200, started, signal),
  }).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  const stop = async (): Promise<void> => {
    await client.stop();
    await remove();
  };
  return { url, process: client, log: () => client.log(), stop, [Symbol.asyncDispose]: stop };
}
