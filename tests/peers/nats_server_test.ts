import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import { connect } from "../../src/store/nats_sockets.ts";
import { peer } from "./mod.ts";
import { type NatsServer, startNatsCluster, startNatsServer } from "./nats_server.ts";
import { within } from "./process.ts";

async function connected(server: NatsServer, run: (connection: NatsConnection) => Promise<void>): Promise<void> {
  const connection = await connect({ ...server.connectOptions, reconnect: false });
  try {
    await run(connection);
  } finally {
    await connection.close();
  }
}

async function addStream(connection: NatsConnection, replicas: number): Promise<void> {
  await (await jetstreamManager(connection)).streams.add({ name: "S", subjects: ["s"], num_replicas: replicas });
}

async function messages(connection: NatsConnection): Promise<number> {
  return (await (await jetstreamManager(connection)).streams.info("S")).state.messages;
}

describe.skipIf(!peer("nats-server").available)("startNatsServer()", () => {
  it("keeps its streams over an orderly restart and over a kill", async () => {
    await using server = await startNatsServer();
    await connected(server, async (connection) => {
      await addStream(connection, 1);
      await jetstream(connection).publish("s", "1");
    });
    await server.restart();
    await connected(server, async (connection) => {
      await jetstream(connection).publish("s", "2");
    });
    await server.kill();
    await server.restart();
    await connected(server, async (connection) => expect(await messages(connection)).toBe(2));
  });

  it("asks for user and password", async () => {
    await using server = await startNatsServer({ username: "outpost", password: "pass" });
    await connected(server, async (connection) => expect(await connection.rtt()).toBeGreaterThanOrEqual(0));
    await expect(connect({ servers: server.host, reconnect: false })).rejects.toThrow(/authorization/i);
  });

  it("speaks TLS, and asks for a client's certificate", async () => {
    await using server = await startNatsServer({ clientCertificates: true });
    await connected(server, (connection) => {
      expect(connection.info?.tls_required).toBe(true);
      return Promise.resolve();
    });
    const { caPem } = server;
    const anonymous = {
      servers: server.host,
      reconnect: false,
      ...(caPem === undefined ? {} : { tls: { ca: caPem } }),
    };
    await expect(connect(anonymous)).rejects.toThrow();
  });
});

describe.skipIf(!peer("nats-server").available)("startNatsCluster()", () => {
  it("goes on without one of three", async () => {
    await using cluster = await startNatsCluster();
    const [first, second] = cluster.servers;
    if (first === undefined || second === undefined) throw new Error("There is no cluster");
    await connected(first, async (connection) => {
      await addStream(connection, 3);
      await jetstream(connection).publish("s", "1");
    });
    await first.kill();
    await connected(second, async (connection) => {
      // The two others elect leaders of JetStream and of the stream first, if the killed one was it.
      const kept = await within(20_000, "the election", async (signal) => {
        for (;;) {
          signal.throwIfAborted();
          const found = await messages(connection).catch(() => undefined);
          if (found !== undefined) return found;
        }
      });
      expect(kept).toBe(1);
    });
  });
});
