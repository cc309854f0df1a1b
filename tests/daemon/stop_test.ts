/**
 * The order and the times of the daemon's end (P7, reliability.md S8), on a clock that moves when the test says so: scans
 * may finish for 18 s, answers for 22 s, and 25 s are the end whatever hangs.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Daemon } from "../../src/cli/context.ts";
import { LIMITS } from "../../src/core/limits.ts";
import type { Registry } from "../../src/core/ports.ts";
import { startDaemon } from "../../src/daemon.ts";
import { FakeClock } from "../fakes/clock.ts";
import { idleParts } from "../fakes/daemon_parts.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/fake_broker.ts";
import { RecordingLogger } from "../fakes/logger.ts";

const TOKEN = "77777777-2222-4333-8444-555555555555";
const soon = (): AbortSignal => AbortSignal.timeout(20_000);
const POST = (path: string, body: string): Request =>
  new Request(`http://loopback${path}`, { method: "POST", body, headers: { "content-type": "application/json" } });

describe("the daemon's end", () => {
  let clock: FakeClock;
  let logger: RecordingLogger;
  let server: FakeBroker;
  let daemon: Daemon;
  /** Opens what hangs in the registry. */
  let gate: PromiseWithResolvers<void>;
  let entered: PromiseWithResolvers<void>;
  let cut: string[];

  beforeEach(async () => {
    clock = new FakeClock();
    logger = new RecordingLogger();
    gate = Promise.withResolvers();
    entered = Promise.withResolvers();
    cut = [];
    server = startFakeBroker(TOKEN);
    const env = {
      BROKER_TOKEN: TOKEN,
      BROKER_SERVER_URL: server.url,
      CR_TYPE: "oci",
      CR_BASE: "registry.example",
      MAX_ACTIVE_OPERATIONS: "2",
      PREFLIGHT_CHECKS_ENABLED: "false",
    };
    const parts = await idleParts(env, {
      credentials: { type: "oci", base: "registry.example" },
      registries: { open: () => hanging },
      clock,
      logger,
      fetch: (request) => fetch(request),
      webSocket: (url, { headers }) => new WebSocket(url, { headers: { ...headers } }),
    });
    daemon = await startDaemon(parts);
    await clock.advance(0);
    await server.broker.connected(2, soon());
    await daemon.ready(soon());
  });
  afterEach(async () => {
    gate.resolve();
    await clock.advance(LIMITS.shutdownMs);
    await daemon.stop();
    await server[Symbol.asyncDispose]();
  });

  /** A registry that answers once the gate opens, or never. */
  async function held(what: string, signal: AbortSignal): Promise<void> {
    entered.resolve();
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => {
      cut.push(what);
      aborted.reject(signal.reason);
    };
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    await Promise.race([gate.promise, aborted.promise]);
    signal.removeEventListener("abort", abort);
  }

  const hanging = {
    host: "registry.example",
    async image(_repository: string, _reference: string, { signal }: { readonly signal: AbortSignal }) {
      await held("scan", signal);
      throw new DOMException("It was let go", "DataError");
    },
    async *repositories(signal: AbortSignal) {
      yield ["first"];
      await held("answer", signal);
      yield ["last"];
    },
  } as unknown as Registry;

  const scan = async (): Promise<number> => {
    const response = await server.broker.call(POST("/scan", '{"name":"team/app:1"}'));
    await response.body?.cancel();
    return response.status;
  };
  /** Whether it has not ended after everything that could end it had its turn. */
  const hangs = async (promise: Promise<unknown>): Promise<boolean> => {
    await clock.advance(0);
    const { promise: late, resolve } = Promise.withResolvers<true>();
    const timer = setTimeout(() => resolve(true), 100);
    return await Promise.race([promise.then(() => false), late]).finally(() => clearTimeout(timer));
  };

  it("S8 cuts scans off after 18 s, names what is lost, and tells nobody that it failed", async () => {
    for (let n = 0; n < 5; n++) expect(await scan()).toBe(202);
    await entered.promise;
    const stopping = daemon.stop();
    await clock.advance(LIMITS.shutdownScansMs - 1);
    expect(cut).toEqual([]);
    expect(await scan()).toBe(503);
    await clock.advance(1);
    expect(cut).toEqual(["scan", "scan"]);
    await stopping;
    const messages = logger.lines.map(({ message }) => message);
    expect(messages.filter((message) => message.startsWith("Scan request dropped"))).toHaveLength(5);
    expect(server.callbacks).toEqual([]);
    expect(server.broker.sockets).toEqual([]);
  });

  it("S8 cuts answers off after 22 s, when there are no scans to wait for", async () => {
    const response = await server.broker.call(new Request("http://loopback/list"));
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toContain("first");
    await entered.promise;
    const rest = expect(reader?.read()).rejects.toThrow();
    const stopping = daemon.stop();
    await clock.advance(LIMITS.shutdownAnswersMs - 1);
    expect(await hangs(stopping)).toBe(true);
    await clock.advance(1);
    await rest;
    await clock.advance(LIMITS.brokerCloseMs);
    await stopping;
  });

  it("S8 is over at once when nothing runs, and as soon as the last answer is out", async () => {
    const response = await server.broker.call(new Request("http://loopback/list"));
    await entered.promise;
    const stopping = daemon.stop();
    expect(await hangs(stopping)).toBe(true);
    gate.resolve();
    expect(await response.json()).toEqual(["first", "last"]);
    await stopping;
    expect(cut).toEqual([]);
  });

  it("S8 ends after 22 s although a local caller never finishes its request", async () => {
    const url = new URL(daemon.url);
    using connection = await Deno.connect({ hostname: url.hostname, port: Number(url.port) });
    await connection.write(
      new TextEncoder().encode("POST /v2/import/done HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"),
    );
    // The request is in once the daemon has read its head: asked behind it, it answers.
    await fetch(`${daemon.url}/livez`).then((response) => response.body?.cancel());
    const stopping = daemon.stop();
    await clock.advance(LIMITS.shutdownAnswersMs - 1);
    expect(await hangs(stopping)).toBe(true);
    await clock.advance(1);
    await stopping;
  });
});
