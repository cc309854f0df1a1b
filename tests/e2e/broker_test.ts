/**
 * The main job against real peers in three arrangements: Outpost alone behind Snyk's broker server, its agent behind
 * Snyk's broker client, and its broker client before an agent in another process. Snyk's part is played through the
 * server's HTTP side, the registry is Debian's docker-registry with Basic auth.
 */
import { afterAll, beforeAll, describe } from "vitest";
import { startBrokerClient } from "../peers/broker_client.ts";
import { peersAvailable } from "../peers/mod.ts";
import { freePort } from "../peers/process.ts";
import { type Arrangement, type BrokerPeers, brokerSuite, startBrokerPeers } from "./broker_suite.ts";
import { startDaemonProcess } from "./daemon.ts";

const DEBUG = { LOG_LEVEL: "debug" };
const COMMON = ["/healthcheck", "/readyz", "/metrics", "/openapi.json"];
const WITH_BROKER = [...COMMON, "/systemcheck", "/filters"];

/** Both halves in one process. */
async function all({ server, credentials }: BrokerPeers, token: string): Promise<Arrangement> {
  const daemon = await startDaemonProcess({
    ...DEBUG,
    BROKER_TOKEN: token,
    BROKER_SERVER_URL: server.url,
    ...credentials,
  });
  return {
    daemons: [daemon],
    stateUrls: WITH_BROKER.map((path) => daemon.url + path),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}

/** Snyk's broker client holds the credentials; our agent gets them with each request. */
async function agent({ server, encodedCredentials }: BrokerPeers, token: string): Promise<Arrangement> {
  const port = freePort();
  const daemon = await startDaemonProcess({
    ...DEBUG,
    OUTPOST_ROLE: "agent",
    BROKER_CLIENT_URL: `http://127.0.0.1:${port}`,
  });
  const client = await startBrokerClient({
    serverUrl: server.url,
    token,
    agentUrl: daemon.url,
    port,
    env: {
      CR_CREDENTIALS: encodedCredentials,
      // As the entry point of Snyk's container sets them: the client's /systemcheck asks the agent's.
      BROKER_CLIENT_VALIDATION_URL: `${daemon.url}/systemcheck`,
      BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER: encodedCredentials,
    },
  });
  return {
    daemons: [daemon],
    stateUrls: [...COMMON.map((path) => daemon.url + path), `${client.url}/healthcheck`, `${client.url}/systemcheck`],
    [Symbol.asyncDispose]: async () => {
      await client.stop();
      await daemon[Symbol.asyncDispose]();
    },
  };
}

/** Our broker client holds the credentials; the agent in the other process gets them with each request. */
async function broker({ server, credentials }: BrokerPeers, token: string): Promise<Arrangement> {
  const PORT = String(freePort());
  const behind = await startDaemonProcess({
    ...DEBUG,
    OUTPOST_ROLE: "agent",
    BROKER_CLIENT_URL: `http://127.0.0.1:${PORT}`,
  });
  const before = await startDaemonProcess({
    ...DEBUG,
    OUTPOST_ROLE: "broker",
    PORT,
    BROKER_TOKEN: token,
    BROKER_SERVER_URL: server.url,
    CR_AGENT_URL: behind.url,
    ...credentials,
  });
  return {
    daemons: [before, behind],
    stateUrls: [...WITH_BROKER.map((path) => before.url + path), ...COMMON.map((path) => behind.url + path)],
    [Symbol.asyncDispose]: async () => {
      await before[Symbol.asyncDispose]();
      await behind[Symbol.asyncDispose]();
    },
  };
}

describe.skipIf(!peersAvailable("docker-registry", "skopeo", "snyk-broker"))("outpost", () => {
  let peers: BrokerPeers;
  beforeAll(async () => {
    peers = await startBrokerPeers();
  });
  afterAll(() => peers?.[Symbol.asyncDispose]());

  brokerSuite("in one process", "c0ffee00-1111-4222-8333-canarytoken1", () => peers, all);
  brokerSuite("as the agent behind Snyk's client", "c0ffee00-1111-4222-8333-canarytoken2", () => peers, agent);
  brokerSuite("as the client before an agent", "c0ffee00-1111-4222-8333-canarytoken3", () => peers, broker);
});
