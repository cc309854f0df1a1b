/** A defect that nobody caught: the log says so without secrets, the server is told, and the process ends with 1. */
import { expect, it } from "vitest";
import { LIMITS } from "../../src/core/limits.ts";
import { startDaemon } from "../../src/daemon.ts";
import { outpostScript } from "../e2e/script.ts";
import { eventually } from "../fakes/broker_bench.ts";
import { FakeClock } from "../fakes/clock.ts";
import { idleParts } from "../fakes/daemon_parts.ts";
import { RecordingLogger } from "../fakes/logger.ts";
import { FakeWebSocket } from "../fakes/web_socket.ts";

it.each([
  [Object.assign(new Error("boom"), { code: "EMFILE" }), { errorCode: "EMFILE" }],
  [Object.assign(new Error("boom"), { code: "a-name-from-outside" }), {}],
  ["no error at all", {}],
])("the daemon ends after %o, and tells the server", async (error, expected) => {
  const clock = new FakeClock();
  const logger = new RecordingLogger();
  const sockets: FakeWebSocket[] = [];
  const exits: number[] = [];
  let crash: ((error: unknown) => void) | undefined;
  const env = { BROKER_TOKEN: "77777777-2222-4333-8444-555555555555", PREFLIGHT_CHECKS_ENABLED: "false" };
  const parts = await idleParts(env, {
    clock,
    logger,
    webSocket: (url, init) => {
      const socket = new FakeWebSocket(url, init);
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
    onUncaught: (handle) => {
      crash = handle;
      return { [Symbol.dispose]: () => crash = undefined };
    },
    exit: (code) => void exits.push(code),
  });
  const daemon = await startDaemon(parts);
  await clock.advance(0);
  const [socket] = await eventually(() => sockets);
  socket?.accept();
  await clock.advance(2_000);
  crash?.(error);
  const events = (socket?.sentOf("event") ?? []).slice(1);
  expect(events).toMatchObject([{
    name: "client-event",
    args: [{ event: { type: "client-shutdown", reason: "uncaught_exception", uptimeSeconds: 2, ...expected } }],
  }]);
  expect(JSON.stringify(events)).not.toContain("outside");
  expect(logger.lines.at(-1)).toMatchObject({ level: "error", message: expect.stringContaining("nobody caught") });
  expect(exits).toEqual([]);
  await clock.advance(LIMITS.crashNoticeMs);
  expect(exits).toEqual([1]);
  const stopping = daemon.stop();
  await clock.advance(LIMITS.shutdownMs);
  await stopping;
  expect(crash).toBeUndefined();
});

it.each(["throw new Error('boom')", "Promise.reject(new Error('boom'))"])(
  "uncaughtOfProcess() hands over what nobody caught, once: %s",
  async (defect) => {
    const { code, stdout, stderr } = await outpostScript(`
      import { uncaughtOfProcess } from "./src/world.ts";
      using _ = uncaughtOfProcess((error) => console.log("handled", error.message));
      setTimeout(() => { ${defect} }, 0);
      setTimeout(() => { ${defect} }, 1);
      await new Promise((resolve) => setTimeout(resolve, 50));
      console.log("alive");
    `);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "handled boom\nalive\n", stderr: "" });
  },
);
