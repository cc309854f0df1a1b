/**
 * 100,000 fuzzed frames through the codec, and as many into a live connection (reliability.md B5, T7): nothing is thrown,
 * nothing is left unhandled, nothing stays in memory. FUZZ_SEED makes another run, FUZZ_FRAMES a longer one.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { decodeFrame, encodeFrame } from "../../src/broker/codec.ts";
import { createBrokerClient } from "../../src/broker/mod.ts";
import type { Clock, Logger } from "../../src/core/ports.ts";
import { fuzzFrames } from "../fakes/frame_fuzzer.ts";
import { RECORDED_FRAMES } from "../fakes/recorded_frames.ts";
import { FakeWebSocket } from "../fakes/web_socket.ts";

const MiB = 1024 * 1024;
const FRAMES = Number(Deno.env.get("FUZZ_FRAMES") ?? 100_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_261_122);
const CORPUS = RECORDED_FRAMES.map(({ text }) => text);

/** Without the frames that end a session: a dead connection is no test. Fuzzed ones still do, now and then. */
const LIVE = CORPUS.filter((text) => text.length > 1 && !text.includes("primus::server"));

/** Heap in use once nothing can be collected any more. */
function heap(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  return Deno.memoryUsage().heapUsed;
}

/** Keeps nothing. */
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

/** Waits are over at once when they ask for no time, and never otherwise. */
const still: Clock = {
  now: () => 1_700_000_000_000,
  random: () => 0,
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (ms === 0) return void setTimeout(resolve, 0);
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    }),
};

/** A websocket that reads what the client sends, and counts instead of keeping. */
class CountingWebSocket extends FakeWebSocket {
  unreadable = 0;
  override send(data: Parameters<WebSocket["send"]>[0]): void {
    const { kind } = decodeFrame(data);
    if (kind === "malformed" || kind === "ignored") this.unreadable++;
  }
}

describe("fuzzed frames", () => {
  it(`never make the codec throw, and what it reads it writes and reads again (seed ${SEED})`, () => {
    const kinds = new Map<string, number>();
    for (const text of fuzzFrames(CORPUS, FRAMES, SEED)) {
      const frame = decodeFrame(text);
      kinds.set(frame.kind, (kinds.get(frame.kind) ?? 0) + 1);
      if (frame.kind === "malformed" || frame.kind === "ignored") continue;
      const again = decodeFrame(encodeFrame(frame));
      if (!same(again, frame)) expect(again, JSON.stringify(text)).toEqual(frame);
    }
    // The run is worth its time only when a good part of it is still frames.
    expect(kinds.get("event") ?? 0).toBeGreaterThan(FRAMES / 20);
    expect(kinds.get("malformed") ?? 0).toBeGreaterThan(FRAMES / 10);
  });

  it(`leave a live connection at work, and nothing behind (seed ${SEED})`, async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (event: PromiseRejectionEvent): void => {
      event.preventDefault();
      unhandled.push(event.reason);
    };
    globalThis.addEventListener("unhandledrejection", onUnhandled);
    const sockets: CountingWebSocket[] = [];
    const foreign: string[] = [];
    let answered = 0;
    let served = 0;
    const client = createBrokerClient({
      serverUrl: "http://broker.example",
      token: "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
      protocolVersion: "5.22.14",
      clock: still,
      logger: silent,
      randomId: () => "22222222-2222-4222-8222-222222222222",
      roles: ["primary"],
      webSocket: () => {
        const socket = new CountingWebSocket();
        sockets.splice(0, sockets.length, socket);
        setTimeout(() => socket.accept(), 0);
        return socket;
      },
      fetch: async (request) => {
        await request.body?.pipeTo(new WritableStream());
        if (!request.url.startsWith("http://broker.example/response-data/")) foreign.push(request.url);
        answered++;
        return Response.json({});
      },
      dispatch: async (request) => {
        if (new URL(request.url).origin !== "http://agent.internal") foreign.push(request.url);
        await request.body?.cancel();
        served++;
        return Response.json(["a"]);
      },
      variables: (name) => name === "CR_CREDENTIALS" ? "c2VjcmV0" : undefined,
    });
    client.start();
    const settled = async (): Promise<void> => {
      do await new Promise((resolve) => setTimeout(resolve, 0)); while (client.inFlight() > 0);
      await client.ready(AbortSignal.timeout(10_000));
    };
    await settled();
    const ask = (): void =>
      sockets[0]?.receive({
        kind: "event",
        name: "request",
        args: [{ url: "/list", method: "GET", headers: {}, streamingID: "probe" }],
      });
    const round = async (seed: number, count: number): Promise<void> => {
      let n = 0;
      for (const text of fuzzFrames(LIVE, count, seed)) {
        sockets[0]?.receiveRaw(text);
        if (++n % 100 === 0) await settled();
      }
      await settled();
    };
    await round(SEED + 1, 5_000);
    const before = heap();
    await round(SEED, FRAMES);
    const grown = heap() - before;
    expect(grown).toBeLessThan(2 * MiB);
    const probes = answered;
    ask();
    await settled();
    while (answered === probes) await settled();
    expect(sockets[0]?.unreadable).toBe(0);
    expect(foreign).toEqual([]);
    expect(served).toBeGreaterThan(FRAMES / 200);
    await client.close(AbortSignal.timeout(5_000));
    await new Promise((resolve) => setTimeout(resolve, 0));
    globalThis.removeEventListener("unhandledrejection", onUnhandled);
    expect(unhandled).toEqual([]);
  });
});

/** Whether two decoded frames are alike; cheap, since `toEqual` of 100,000 pairs takes longer than everything else. */
function same(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  if (one instanceof Date || other instanceof Date) return Number(one) === Number(other);
  const keys = Object.keys(one);
  if (keys.length !== Object.keys(other).length) return false;
  return keys.every((key) => same((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key]));
}
