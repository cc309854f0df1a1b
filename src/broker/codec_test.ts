import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { decodeEjson, decodeFrame, encodeEjson, encodeFrame, type Frame, parseBoundedJson } from "./codec.ts";

// One seed, so that a run can be repeated.
fc.configureGlobal({ seed: 4_104 });

/** Frames as Snyk's server 5.22.14 sent and took them. */
const RECORDED: readonly (readonly [string, Frame])[] = [
  [
    `0{"sid":"ojbsthM7azhlEy44AAAA","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":22020096}`,
    { kind: "open", sid: "ojbsthM7azhlEy44AAAA", pingInterval: 25000, pingTimeout: 20000 },
  ],
  [
    `4{"type":0,"data":["identify",{"capabilities":["receive-post-streams"]}]}`,
    { kind: "event", name: "identify", args: [{ capabilities: ["receive-post-streams"] }] },
  ],
  [
    `4{"type":0,"data":["request",{"url":"/scan","method":"POST","body":{"$binary":"eyJhIjoxfQ=="},"headers":{"content-length":"7"},"streamingID":""}],"id":1}`,
    {
      kind: "event",
      name: "request",
      args: [{
        url: "/scan",
        method: "POST",
        body: new TextEncoder().encode('{"a":1}'),
        headers: { "content-length": "7" },
        streamingID: "",
      }],
      id: 1,
    },
  ],
  [
    `4{"id":1,"type":1,"data":[{"status":200,"headers":{"content-type":"application/json"},"body":"[]"}]}`,
    {
      kind: "ack",
      id: 1,
      args: [{ status: 200, headers: { "content-type": "application/json" }, body: "[]" }],
    },
  ],
  [`4"primus::ping::1795325648123"`, { kind: "primus-ping", value: "1795325648123" }],
  [`4"primus::pong::1795325648123"`, { kind: "primus-pong", value: "1795325648123" }],
  [`4"primus::server::close"`, { kind: "server-close" }],
  ["2", { kind: "ping", data: "" }],
  ["3", { kind: "pong", data: "" }],
  ["1", { kind: "close" }],
  ["6", { kind: "noop" }],
];

const leaf = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.double().filter((n) => !Object.is(n, -0)),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 64 }),
  fc.date({ noInvalidDate: true }),
);
const key = fc.oneof(
  fc.string(),
  fc.constantFrom("$binary", "$date", "$InfNaN", "$escape", "$type", "$value", "__proto__", "constructor", "toString"),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.array(fc.tuple(key, tie("value")), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
}));

describe("decodeFrame()", () => {
  it.each(RECORDED)("reads the recorded frame %s", (text, frame) => {
    expect(decodeFrame(text)).toEqual(frame);
  });

  it.each(RECORDED)("and encodeFrame() writes it again: %s", (text, frame) => {
    if (frame.kind === "ignored" || frame.kind === "malformed") return expect.unreachable();
    expect(encodeFrame(frame)).toBe(text);
  });

  it.each(
    [
      [undefined, "not text"],
      [new Uint8Array([0x34]), "not text"],
      ["", "packet type"],
      ["b", "packet type"],
      ["0", "not JSON"],
      ["0[]", "not an object"],
      [`0{"sid":"x","pingInterval":"soon","pingTimeout":1}`, "pingInterval"],
      [`0{"sid":"x","pingInterval":{"$InfNaN":1},"pingTimeout":1}`, "pingInterval"],
      ["4{", "not JSON"],
      [`4{"type":0,"data":["a",{"$binary":"~"}]}`, "base64"],
      [`4{"type":0,"data":["a",{"$binary":7}]}`, "not text"],
      [`4{"type":0,"data":["a",{"$date":"never"}]}`, "not a time"],
      [`4{"type":0,"data":["a",{"$InfNaN":5}]}`, "$InfNaN"],
      [`4{"type":0,"data":["a",{"$type":"x","$value":1}]}`, "custom EJSON type"],
    ] as const,
  )("calls %j malformed", (message, reason) => {
    const frame = decodeFrame(message);
    expect(frame.kind).toBe("malformed");
    expect(frame.kind === "malformed" && frame.reason).toContain(reason);
  });

  it.each(
    [
      "4null",
      "41",
      "4[]",
      `4"hello"`,
      `4"primus::unknown"`,
      "4{}",
      `4{"type":0,"data":"request"}`,
      `4{"type":0,"data":[]}`,
      `4{"type":0,"data":[7]}`,
      `4{"type":0,"data":["request"],"id":"1"}`,
      `4{"type":0,"data":["request"],"id":1.5}`,
      `4{"type":2,"data":[]}`,
      `4{"type":1,"data":[1]}`,
      `4{"type":0,"data":["open"]}`,
      `4{"type":0,"data":["reconnect"]}`,
      `4{"type":0,"data":["incoming::end"]}`,
      "5",
    ] as const,
  )("ignores %s", (message) => {
    expect(decodeFrame(message).kind).toBe("ignored");
  });

  it("takes events with names of object internals as data", () => {
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      const frame = decodeFrame(
        `4{"type":0,"data":[${JSON.stringify(name)},{"__proto__":{"polluted":1}}],"__proto__":{"id":1}}`,
      );
      expect(frame).toMatchObject({ kind: "event", name });
      expect(frame.kind === "event" && frame.id).toBe(undefined);
    }
    expect(({} as Record<string, unknown>)["polluted"]).toBe(undefined);
  });

  it("treats id 0 as no wish for an acknowledgement", () => {
    expect(decodeFrame(`4{"type":0,"data":["a"],"id":0}`)).toEqual({ kind: "event", name: "a", args: [] });
  });

  it("accepts a frame at brokerFrameBytes and refuses one above", () => {
    const text = "2" + "x".repeat(LIMITS.brokerFrameBytes - 1);
    expect(decodeFrame(text).kind).toBe("ping");
    expect(decodeFrame(text + "x")).toMatchObject({
      kind: "malformed",
      reason: expect.stringContaining("brokerFrameBytes"),
    });
  });

  it("never throws, whatever comes (10,000 random frames)", () => {
    const scraps = fc.constantFrom(
      ...'0123456{}[],:"\\',
      `"type":0`,
      `"type":1`,
      `"data":`,
      `"id":`,
      `["request",`,
      `{"$binary":"`,
      "primus::",
      "null",
      "1e999",
      "\ud800",
      "\u0000",
    );
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(scraps, { maxLength: 30 }).map((parts) => parts.join("")),
      fc.json().map((json) => `4${json}`),
      fc.tuple(fc.constantFrom(...RECORDED), fc.nat(200), fc.string({ maxLength: 3 })).map(([[recorded], at, with_]) =>
        recorded.slice(0, at) + with_ + recorded.slice(at + 1)
      ),
    );
    fc.assert(fc.property(text, (frame) => typeof decodeFrame(frame).kind === "string"), { numRuns: 10_000 });
  });
});

describe("encodeFrame()", () => {
  it("is undone by decodeFrame() for every event and acknowledgement", () => {
    const id = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
    const name = fc.string().filter((text) =>
      decodeFrame(`4${JSON.stringify({ type: 0, data: [text] })}`).kind === "event"
    );
    fc.assert(fc.property(name, fc.array(value, { maxLength: 3 }), id, (event, args, n) => {
      const frames = [
        { kind: "event", name: event, args },
        { kind: "event", name: event, args, id: n },
        { kind: "ack", id: n, args },
      ] as const;
      for (const frame of frames) expect(decodeFrame(encodeFrame(frame))).toEqual(frame);
    }));
  });
});

describe("decodeEjson()", () => {
  it("undoes encodeEjson() for any value", () => {
    fc.assert(
      fc.property(value, (any) => {
        expect(decodeEjson(encodeEjson(any))).toEqual({ ok: true, value: any });
      }),
      { numRuns: 1_000 },
    );
  });

  it.each(
    [
      [`{"$binary":"AQI="}`, new Uint8Array([1, 2])],
      [`{"$binary":"AQI=","x":1}`, { $binary: "AQI=", x: 1 }],
      [`{"$date":5}`, new Date(5)],
      [`{"$InfNaN":-1}`, -Infinity],
      [`{"$escape":{"$date":5}}`, { $date: 5 }],
      [`{"$escape":{"$date":{"$date":5}}}`, { $date: new Date(5) }],
      [`{"$type":"x"}`, { $type: "x" }],
    ] as const,
  )("reads %s", (text, expected) => {
    expect(decodeEjson(text)).toEqual({ ok: true, value: expected });
  });

  it("leaves undefined properties out", () => {
    expect(encodeEjson({ a: undefined, b: 1 })).toBe(`{"b":1}`);
  });
});

describe("parseBoundedJson()", () => {
  const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);

  it("accepts nesting up to jsonDepth", () => {
    expect(parseBoundedJson(nested(LIMITS.jsonDepth - 1)).ok).toBe(true);
    expect(parseBoundedJson(nested(LIMITS.jsonDepth)).ok).toBe(true);
    expect(parseBoundedJson(nested(LIMITS.jsonDepth + 1))).toEqual({
      ok: false,
      reason: "The message is nested deeper than jsonDepth",
    });
  });

  it("accepts values up to jsonValues", () => {
    const flat = (commas: number): string => `[${"1,".repeat(commas)}1]`;
    expect(parseBoundedJson(flat(LIMITS.jsonValues - 1)).ok).toBe(true);
    expect(parseBoundedJson(flat(LIMITS.jsonValues)).ok).toBe(false);
  });

  it("does not count brackets inside strings, whatever is escaped", () => {
    const text = JSON.stringify(["[".repeat(200), `\\"${"{".repeat(200)}`, '\\\\"[', "\\"]);
    expect(parseBoundedJson(text)).toEqual({ ok: true, value: JSON.parse(text) });
  });

  it("refuses a bomb of brackets before parsing it", () => {
    expect(parseBoundedJson("[".repeat(8_000_000)).ok).toBe(false);
    expect(parseBoundedJson(`["${"\\".repeat(1_000_001)}`).ok).toBe(false);
  });
});
