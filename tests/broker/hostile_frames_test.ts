/**
 * A hostile broker server that sends what it should not (reliability.md B3, B5; P3): the daemon lives, keeps its memory,
 * answers /healthcheck meanwhile, and serves the next request.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LIMITS } from "../../src/core/limits.ts";
import { type DaemonProcess, SHIPPED, startDaemonProcess } from "../e2e/daemon.ts";
import { readUsage } from "../e2e/process_usage.ts";
import { type Canary, startCanary } from "../fakes/canary.ts";
import { GREETING, type HostileBroker, startHostileBroker } from "../fakes/hostile_broker.ts";

const TOKEN = "00000000-aaaa-4bbb-8ccc-eeeeeeeeeeee";
const MiB = 1024 * 1024;
const soon = (): AbortSignal => AbortSignal.timeout(30_000);
/** However long the server goes on: a third of it is the program, the rest a body, the largest frame, and copies on their way. */
const MEMORY = 256 * MiB;
/** The same once answers of 12 MiB have travelled inside the websocket: two at once, each as text and as a frame. */
const MEMORY_OF_ANSWERS = 384 * MiB;
/** Longest wait for /healthcheck while the server does its worst, on a busy machine. */
const HEALTH_MS = 2_000;

/** Names that JavaScript objects have by themselves, and those of the libraries that the reference is made of. */
const NAMES = [
  "__proto__",
  "constructor",
  "toString",
  "valueOf",
  "hasOwnProperty",
  "prototype",
  "__defineGetter__",
  "then",
  "toJSON",
  "open",
  "close",
  "error",
  "data",
  "end",
  "reconnect",
  "newListener",
  "incoming::open",
  "outgoing::end",
  "",
  "\u0000",
] as const;

const NULLS = [null, undefined, 0, -1, 1e308, "", "null", [], {}, [null], { url: null }, true] as const;

const deep = (open: string, close: string, depth = 100_000): string => open.repeat(depth) + close.repeat(depth);

/** Frames that are no messages, messages that are no packets, packets that are no events. */
const MALFORMED: readonly string[] = [
  "",
  " ",
  "\u0000",
  "x",
  "7",
  "4",
  "4 ",
  "4{",
  "4}",
  "4[",
  '4"',
  "4null",
  "4true",
  "4NaN",
  "41e999",
  "4[[],[]]",
  '4"primus::"',
  '4"primus::id::"',
  '4"primus::ping::1"',
  '4"primus::pong::"',
  '4"primus::server::"',
  "0",
  "0null",
  "0{}",
  '0{"sid":null,"pingInterval":-1,"pingTimeout":1e999}',
  "3",
  "3x",
  "5",
  "6",
  "6junk",
  `4{"type":0}`,
  `4{"type":0,"data":null}`,
  `4{"type":0,"data":{}}`,
  `4{"type":0,"data":{"length":1e9}}`,
  `4{"type":0,"data":[null]}`,
  `4{"type":0,"data":[{}]}`,
  `4{"type":0,"data":["request"],"id":null}`,
  `4{"type":0,"data":["request"],"id":"1"}`,
  `4{"type":0,"data":["request"],"id":1e308}`,
  `4{"type":0,"data":["request"],"id":-1}`,
  `4{"type":0,"data":["request"],"id":9007199254740993}`,
  `4{"type":1,"data":[]}`,
  `4{"type":1,"data":[],"id":{}}`,
  `4{"type":2,"data":["request"]}`,
  `4{"type":"0","data":["request"]}`,
  `4{"__proto__":{"type":0,"data":["request",{}]}}`,
  ...[1, 2, -1, 1e15].map((id) => `4{"type":1,"data":[{"status":200}],"id":${id}}`),
];

/** EJSON that is none. */
const EJSON: readonly string[] = [
  `{"$binary":null}`,
  `{"$binary":"%%%"}`,
  `{"$binary":"A"}`,
  `{"$binary":{"$binary":"AA=="}}`,
  `{"$date":"now"}`,
  `{"$date":1e400}`,
  `{"$date":8640000000000001}`,
  `{"$InfNaN":2}`,
  `{"$InfNaN":"1"}`,
  `{"$type":"oid","$value":"x"}`,
  `{"$type":"__proto__","$value":{}}`,
  `{"$escape":null}`,
  `{"$escape":{"$escape":{"$binary":1}}}`,
  `{"$escape":{"$type":"x","$value":{"$date":null}}}`,
  `{"__proto__":{"url":"/list"}}`,
  `{"constructor":{"prototype":{"polluted":1}}}`,
  `{"url":{"$binary":"L2xpc3Q="},"method":{"$date":0},"headers":{"$InfNaN":1}}`,
  `{"url":"/list","method":"GET","headers":[["a","b"]],"streamingID":{"$binary":"AA=="}}`,
  `{"url":"/list","method":"GET","headers":{"a":{"$binary":"AA=="}},"body":{"$date":0},"streamingID":"ejson"}`,
];

describe("a hostile server and its frames", () => {
  let broker: HostileBroker;
  let agent: Canary;
  let daemon: DaemonProcess;
  let gate: Promise<void> | undefined;
  let memory = MEMORY;

  beforeAll(async () => {
    broker = startHostileBroker();
    agent = startCanary(async (request) => {
      const { pathname } = new URL(request.url);
      await gate;
      if (pathname === "/list/large") return new Response("x".repeat(12 * MiB));
      return undefined;
    });
    // With the defaults of V8 it is chance how much garbage lies around when the peak comes.
    daemon = await startDaemonProcess({
      OUTPOST_ROLE: "broker",
      BROKER_TOKEN: TOKEN,
      BROKER_SERVER_URL: broker.url,
      API_BASE_URL: broker.url,
      CR_AGENT_URL: agent.url,
      PREFLIGHT_CHECKS_ENABLED: "false",
      ...SHIPPED.env,
    }, SHIPPED.flags);
    await broker.until(() => broker.sockets.length === 2, soon());
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    await broker[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  const send = (frame: string): void => broker.sockets.at(-1)?.send(frame);
  const event = (name: unknown, ...args: readonly string[]): string =>
    `4{"type":0,"data":[${[JSON.stringify(name), ...args].join()}]}`;

  /** The daemon answers a request, asks nobody twice, and stands at or below its memory. */
  async function serves(): Promise<void> {
    const streamingID = crypto.randomUUID();
    broker.sockets.at(-1)?.ask({ streamingID });
    expect((await broker.upload(streamingID, soon())).status).toBe(200);
    expect(broker.uploads.filter(({ id }) => id === streamingID)).toHaveLength(1);
    expect(readUsage(daemon.process.pid)?.peakRssBytes).toBeLessThan(memory);
  }

  /** Does the work and asks /healthcheck all the while; gives the longest that it took. */
  async function whileHealthy(work: () => Promise<void>): Promise<void> {
    let over = false;
    let slowest = 0;
    const statuses = new Set<number>();
    const asking = (async () => {
      do {
        const startedAt = performance.now();
        const response = await fetch(`${daemon.url}/healthcheck`, { signal: soon() });
        statuses.add(response.status);
        await response.body?.cancel();
        slowest = Math.max(slowest, performance.now() - startedAt);
      } while (!over);
    })();
    try {
      await work();
    } finally {
      over = true;
      await asking;
    }
    expect([...statuses]).toEqual([200]);
    expect(slowest).toBeLessThan(HEALTH_MS);
  }

  it("§1.1 §1.3 skips malformed frames on the connection that it has", async () => {
    const { connections } = broker;
    for (const frame of MALFORMED) send(frame);
    broker.sockets.at(-1)?.send(new Uint8Array([0x34, 0x22]));
    broker.sockets.at(-1)?.send(new Uint8Array(0));
    await serves();
    expect(broker.connections).toBe(connections);
  });

  it("§1.4 skips EJSON that is none, in every place", async () => {
    const { connections } = broker;
    for (const text of EJSON) {
      send(`4${text}`);
      for (const name of ["request", "identify", "service", "notification", "chunk"]) {
        send(event(name, text));
        send(event(name, `[${text}]`));
        send(`4{"type":0,"data":[${JSON.stringify(name)},${text}],"id":77}`);
      }
      send(`4{"type":1,"id":1,"data":[${text}]}`);
    }
    await serves();
    expect(broker.connections).toBe(connections);
  });

  it("§16 survives null and other values in place of every event's argument", async () => {
    const { connections } = broker;
    for (const name of ["request", "identify", "service", "notification", "error", "client-event", "terminate"]) {
      for (const value of NULLS) {
        const text = JSON.stringify(value) ?? "null";
        send(event(name, text));
        send(event(name));
        send(`4{"type":0,"data":[${JSON.stringify(name)},${text}],"id":5}`);
      }
    }
    for (const greeting of GREETING) send(greeting);
    await serves();
    expect(broker.connections).toBe(connections);
  });

  it("§1.3 takes events, headers, fields and ids that are called like parts of objects as names", async () => {
    const { connections } = broker;
    for (const name of NAMES) {
      send(event(name, `{"${name === "\u0000" ? "\\u0000" : name}":{"polluted":1}}`));
      const text = JSON.stringify(name);
      send(
        event(
          "request",
          `{"url":"/list","method":"GET","streamingID":${text},"headers":{${text}:"1"},${text}:{"polluted":1}}`,
        ),
      );
      send(event("request", `{"url":"/scan","method":${text},"streamingID":"named","headers":{}}`));
      send(event("service", `{"url":${text}}`));
      send(event("notification", `{"level":${text},"message":${text}}`));
      send(event("identify", `{"capabilities":[${text}]}`));
      send(event("identify", `{"capabilities":["receive-post-streams"],${text}:1}`));
    }
    await serves();
    expect(broker.connections).toBe(connections);
  });

  it("refuses nesting of 100,000 levels without parsing it", async () => {
    await whileHealthy(async () => {
      for (
        const [open, close] of [["[", "]"], ['{"a":', "}"], ['{"$escape":{"a":', "}}"], ['[{"$binary":', "}]"]] as const
      ) {
        const nested = deep(open, close);
        send(`4${nested}`);
        send(`0${nested}`);
        send(event("request", nested));
        send(event("request", `{"url":"/list","method":"GET","headers":${nested},"streamingID":"deep"}`));
        send(`4{"type":1,"id":1,"data":[${nested}]}`);
      }
      const body = new TextEncoder().encode(`{"BROKER_VAR_SUB":["a"],"a":${deep("[", "]")}}`);
      broker.sockets.at(-1)?.ask({ url: "/scan", method: "POST", body, headers: {} });
      await serves();
    });
  });

  it("refuses 21 MiB of small values without building them", async () => {
    await whileHealthy(async () => {
      const fill = (piece: string): string => piece.repeat(Math.floor((LIMITS.brokerFrameBytes - 100) / piece.length));
      for (const piece of ["[],", '{"a":1},', "1,", '"",']) send(event("request", `[${fill(piece)}1]`));
      await serves();
    });
  });

  it("§3.2 takes frames of 21 MiB, one after the other, within its memory", async () => {
    await whileHealthy(async () => {
      const letters = "x".repeat(LIMITS.brokerFrameBytes - 200);
      for (let n = 0; n < 4; n++) {
        send(event("x", JSON.stringify(letters)));
        send(event("request", `{"url":"/${letters}","method":"GET","headers":{},"streamingID":"long-${n}"}`));
        send(
          event("request", `{"url":"/list","method":"GET","headers":{"x-a":"${letters}"},"streamingID":"head-${n}"}`),
        );
        send(event("request", `{"url":"/list","method":"${letters}","headers":{},"streamingID":"method-${n}"}`));
        send(event("notification", `{"level":"error","message":"${letters}"}`));
        send(`2${letters}`);
        await serves();
      }
      expect((await broker.upload("long-0", soon())).status).toBe(400);
    });
  });

  it("ends a connection whose frame is larger than any may be, and comes back", async () => {
    const { connections } = broker;
    const [first] = broker.sockets;
    first?.send("x".repeat(70 * MiB));
    await broker.until(() => broker.connections > connections && broker.sockets.length === 2, soon());
    await serves();
  });

  it("answers 1,000 requests at once, each once, with 503 beyond its bound (B3)", async () => {
    const hold = Promise.withResolvers<void>();
    gate = hold.promise;
    const ids = Array.from({ length: 1_000 }, (_, n) => `flood-${n}`);
    await whileHealthy(async () => {
      for (const streamingID of ids) broker.sockets.at(-1)?.ask({ url: "/list/flood", streamingID });
      const refused = ids.length - LIMITS.brokerRequestsInFlight;
      const flooded = (): number => broker.uploads.filter(({ id }) => id.startsWith("flood-")).length;
      await broker.until(() => flooded() === refused, soon());
      hold.resolve();
      await broker.until(() => flooded() === ids.length, soon());
    });
    gate = undefined;
    const answers = broker.uploads.filter(({ id }) => id.startsWith("flood-"));
    expect(new Set(answers.map(({ id }) => id)).size).toBe(1_000);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(LIMITS.brokerRequestsInFlight);
    expect(answers.filter(({ status, headers }) => status === 503 && headers["retry-after"] === "1")).toHaveLength(
      1_000 - LIMITS.brokerRequestsInFlight,
    );
    await serves();
  });

  it("answers 30 requests with bodies of 10 MiB within its memory", async () => {
    const body = new Uint8Array(LIMITS.brokerRequestBodyBytes).fill(0x20).toBase64();
    await whileHealthy(async () => {
      for (let n = 0; n < 30; n++) {
        const argument =
          `{"url":"/scan","method":"POST","headers":{},"streamingID":"body-${n}","body":{"$binary":"${body}"}}`;
        send(event("request", argument));
        if (n % 10 === 9) {
          await broker.until(
            () => broker.uploads.filter(({ id }) => id.startsWith("body-")).length > n - 5,
            soon(),
          );
        }
      }
      await broker.until(() => broker.uploads.filter(({ id }) => id.startsWith("body-")).length === 30, soon());
    });
    await serves();
  });

  it("§3.2 acknowledges each event that wants it once, also when ids are used again", async () => {
    const before = broker.frames.length;
    memory = MEMORY_OF_ANSWERS;
    for (let n = 0; n < 20; n++) broker.sockets.at(-1)?.ask({ url: "/list/large", streamingID: "" }, 1 + n % 3);
    const acks = (): number => broker.frames.slice(before).filter(({ kind }) => kind === "ack").length;
    await whileHealthy(() => broker.until(() => acks() === 20, soon()));
    await serves();
    expect(acks()).toBe(20);
  });

  it("§3.1 gives up on a stream that the server does not know, and serves the next", async () => {
    broker.answerUpload = () =>
      Response.json({ message: "Unable to find request matching streaming id." }, { status: 500 });
    for (let n = 0; n < 20; n++) broker.sockets.at(-1)?.ask({ streamingID: "unknown" });
    await broker.until(() => broker.uploads.filter(({ id }) => id === "unknown").length === 20, soon());
    broker.answerUpload = () => Response.redirect("http://127.0.0.1:1/", 307);
    broker.sockets.at(-1)?.ask({ streamingID: "redirected" });
    await broker.upload("redirected", soon());
    broker.answerUpload = () => Response.json({});
    await serves();
    await broker.until(
      () => broker.frames.some((frame) => frame.kind === "event" && frame.name === "client-event"),
      soon(),
    );
  });

  it("§1.2 asks the agent for nothing that comes after the end of a connection", async () => {
    const last = agent.requests.length;
    for (const end of ['4"primus::server::close"', "1"]) {
      const { connections } = broker;
      const [socket] = broker.sockets;
      socket?.send(end);
      for (let n = 0; n < 10; n++) socket?.ask({ url: "/list/after", streamingID: crypto.randomUUID() });
      await broker.until(() => broker.connections > connections && broker.sockets.length === 2, soon());
    }
    await serves();
    expect(agent.requests.slice(last).filter(({ url }) => url.endsWith("/list/after"))).toEqual([]);
  });

  it("§1.5 serves nobody before the server has opened the session, and reads no times that make no sense", async () => {
    const ask = event("request", `{"url":"/list/early","method":"GET","headers":{},"streamingID":"early"}`);
    for (
      const greeting of [
        [ask, ...GREETING],
        [`0{"sid":"","pingInterval":0,"pingTimeout":0}`, GREETING[1] ?? ""],
        [`0{"sid":"","pingInterval":1e308,"pingTimeout":1e308}`, GREETING[1] ?? ""],
        [...GREETING, ...GREETING],
      ]
    ) {
      broker.greeting = greeting;
      const { connections } = broker;
      broker.sockets[0]?.close();
      await broker.until(() => broker.connections > connections && broker.sockets.length === 2, soon());
      await serves();
    }
    broker.greeting = GREETING;
    expect(agent.requests.filter(({ url }) => url.endsWith("/list/early"))).toEqual([]);
  });

  it("has printed no secret and no defect of its own", () => {
    const log = daemon.process.log();
    expect(log).not.toContain(TOKEN);
    expect(log).not.toMatch(/Uncaught|panicked|TypeError/);
  });
});
