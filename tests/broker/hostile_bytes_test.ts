/**
 * A hostile broker server below the frames: messages without an end, lengths that lie, bytes that are no frames, and a
 * peer that does not read (RFC 6455). The daemon keeps its memory, answers /healthcheck, and connects again.
 */
import { describe, expect, it } from "vitest";
import { startDaemonProcess } from "../e2e/daemon.ts";
import { readUsage } from "../e2e/process_usage.ts";
import { GREETING } from "../fakes/hostile_broker.ts";
import { OPCODE, rawFrame, type RawSocket, startRawWebSocketServer } from "../fakes/raw_websocket.ts";

const MiB = 1024 * 1024;
/** Two sockets that each hold a message at its bound, which grows by doubling. */
const MEMORY = 320 * MiB;
const FLOOD = 64 * MiB;
const piece = new Uint8Array(256 * 1024).fill(0x61);

/** Writes the same bytes until the client has had enough, or the flood is over. */
async function flood(socket: RawSocket, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < FLOOD && !socket.closed; sent += bytes.length) await socket.write(bytes);
}

function repeated(frame: Uint8Array, times: number): Uint8Array {
  const bytes = new Uint8Array(frame.length * times);
  for (let n = 0; n < times; n++) bytes.set(frame, n * frame.length);
  return bytes;
}

interface Attack {
  readonly name: string;
  /** What comes behind the greeting. */
  readonly play: (socket: RawSocket) => Promise<void>;
  readonly reads: boolean;
  /** The client has to end the connection by itself, and comes back. */
  readonly ends: boolean;
}

const ATTACKS: readonly Attack[] = [
  {
    name: "a message without an end",
    play: async (socket) => {
      await socket.write(rawFrame(OPCODE.text, piece, { final: false }));
      await flood(socket, rawFrame(OPCODE.continuation, piece, { final: false }));
    },
    reads: true,
    ends: true,
  },
  {
    name: "a million fragments of nothing",
    play: async (socket) => {
      await socket.write(rawFrame(OPCODE.text, "", { final: false }));
      const nothing = repeated(rawFrame(OPCODE.continuation, "", { final: false }), 20_000);
      for (let n = 0; n < 50; n++) await socket.write(nothing);
    },
    reads: true,
    ends: false,
  },
  {
    name: "a length of 2^53",
    play: (socket) => socket.write(rawFrame(OPCODE.text, piece, { length: 2 ** 53 })),
    reads: true,
    ends: true,
  },
  {
    name: "bytes that are no frames",
    play: (socket) => socket.write(new TextEncoder().encode("HTTP/1.1 500 no\r\n\r\n".repeat(1_000))),
    reads: true,
    ends: true,
  },
  {
    name: "text that is not UTF-8",
    play: (socket) => socket.write(rawFrame(OPCODE.text, new Uint8Array([0x34, 0xff, 0xfe]))),
    reads: true,
    ends: true,
  },
  {
    name: "engine.io pings of 60 KB that nobody reads the answers to",
    play: (socket) => flood(socket, rawFrame(OPCODE.text, `2${"x".repeat(60_000)}`)),
    reads: false,
    ends: false,
  },
  {
    name: "websocket pings that nobody reads the answers to",
    play: (socket) => flood(socket, repeated(rawFrame(OPCODE.ping, "x".repeat(125)), 2_000)),
    reads: false,
    ends: false,
  },
  {
    name: "acknowledged requests that nobody reads the answers to",
    play: async (socket) => {
      const request = `4{"type":0,"data":["service",{"url":"/x","headers":{}}],"id":7}`;
      for (let n = 0; n < 100; n++) await socket.write(repeated(rawFrame(OPCODE.text, request), 1_000));
    },
    reads: false,
    ends: false,
  },
];

describe("a hostile server and its bytes", () => {
  it.each(ATTACKS.map((attack) => [attack.name, attack] as const))("§1.1 %s", async (_name, { play, reads, ends }) => {
    const played = Promise.withResolvers<void>();
    const again = Promise.withResolvers<void>();
    let connections = 0;
    await using server = startRawWebSocketServer({
      reads,
      play: async (socket) => {
        const late = ++connections > 2;
        for (const greeting of GREETING) await socket.write(rawFrame(OPCODE.text, greeting));
        if (late) return again.resolve();
        try {
          await play(socket);
          if (ends) await socket.gone;
        } finally {
          played.resolve();
        }
      },
    });
    await using daemon = await startDaemonProcess({
      OUTPOST_ROLE: "broker",
      BROKER_TOKEN: "00000000-aaaa-4bbb-8ccc-ffffffffffff",
      BROKER_SERVER_URL: server.url,
      API_BASE_URL: server.url,
      CR_AGENT_URL: "http://127.0.0.1:1",
      PREFLIGHT_CHECKS_ENABLED: "false",
    });
    const limit = AbortSignal.timeout(60_000);
    for (let over = false; !over;) {
      limit.throwIfAborted();
      const response = await fetch(`${daemon.url}/healthcheck`, { signal: AbortSignal.timeout(5_000) });
      await response.body?.cancel();
      const { promise: late, resolve } = Promise.withResolvers<false>();
      const timer = setTimeout(() => resolve(false), 50);
      over = await Promise.race([(ends ? again : played).promise.then(() => true), late]);
      clearTimeout(timer);
    }
    expect(daemon.process.ended).toBe(false);
    expect(readUsage(daemon.process.pid)?.peakRssBytes).toBeLessThan(MEMORY);
    expect(daemon.process.log()).not.toMatch(/Uncaught|panicked/);
  });
});
