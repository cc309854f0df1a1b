import { describe, expect, it } from "vitest";
import { peer } from "../../tests/peers/mod.ts";
import { startNatsServer } from "../../tests/peers/nats_server.ts";
import { connect } from "./nats_sockets.ts";

const TIMES = 20;

// An error without a listener would end the whole test run.
describe.skipIf(!peer("nats-server").available)("connect()", () => {
  it("rejects a refused login, whenever the server hangs up", async () => {
    await using server = await startNatsServer({ username: "outpost", password: "pass" });
    for (let time = 0; time < TIMES; time++) {
      await expect(connect({ servers: server.host, reconnect: false })).rejects.toThrow(/authorization/i);
    }
  });

  it("rejects a missing certificate and an unknown authority", async () => {
    await using server = await startNatsServer({ clientCertificates: true });
    const { caPem: ca = "", client = { certPem: "", keyPem: "" } } = server;
    for (let time = 0; time < TIMES; time++) {
      await expect(connect({ servers: server.host, reconnect: false, tls: { ca } })).rejects.toThrow();
      await expect(connect({ servers: server.host, reconnect: false })).rejects.toThrow();
    }
    const connection = await connect({ servers: server.host, tls: { ca, cert: client.certPem, key: client.keyPem } });
    await connection.close();
  });

  it("goes on after the server was killed again and again", async () => {
    await using server = await startNatsServer();
    const connection = await connect({ servers: server.host, reconnectTimeWait: 10, maxReconnectAttempts: -1 });
    for (let time = 0; time < 3; time++) {
      await server.kill();
      await server.restart();
    }
    await connection.close();
  });
});
