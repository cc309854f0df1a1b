import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { TextBytes } from "../lib/text_bytes.ts";
import { decodeFrame } from "./codec.ts";
import { OversizedText } from "./large_json.ts";

const bytesOf = (text: string): TextBytes => new TextBytes(new TextEncoder().encode(text));
const event = (argument: string): string => `4{"type":0,"data":["request",${argument}]}`;
const long = (length: number, letter = "x"): string => letter.repeat(length);

/** What both ways of reading a frame make of it, which is to be the same. */
function both(text: string): unknown {
  const large = decodeFrame(bytesOf(text));
  expect(large).toEqual(decodeFrame(text));
  return large;
}

function argumentOf(text: string): unknown {
  const frame = decodeFrame(bytesOf(event(text)));
  return frame.kind === "event" ? frame.args[0] : frame;
}

describe("LargeJson", () => {
  const base64 = new Uint8Array(200_000).map((_, n) => n * 7).toBase64();

  it.each([
    ["long text", `{"url":"/${long(9_000)}","b":"${long(5_000, "é")}"}`],
    ["escapes", `{"a":"${long(5_000)}\\"\\\\\\u00e9\\n","b":"\\\\"}`],
    ["texts that look like marks", `["!","!0","\\u00210","!1x","${long(5_000)}","!2"]`],
    ["long names", `{"${long(6_000)}":"${long(6_000)}","!0" : "!0"}`],
    ["a body", `{"body":{"$binary":"${base64}"}}`],
    ["short bodies", `[{"$binary":""},{"$binary":"AA=="},{"$binary":"AAA"},{"$binary":"${long(5_000, "A")}"}]`],
    ["bodies that are none", `{"$binary":"${base64}","x":1}`],
    ["an escaped body", `{"$escape":{"$binary":"${base64}"}}`],
    ["other extensions", `[{"$date":5},{"$InfNaN":0},{"$escape":{"$escape":"${long(5_000)}"}}]`],
    ["a name that is written otherwise", `{"\\u0024binary":"AA=="}`],
    ["a prototype", `{"__proto__":{"a":"${long(5_000)}"}}`],
    ["blanks", ` { "a" : "${long(5_000)}" , "b" : [ "${long(5_000)}" ] } `],
    ["a custom type", `{"$type":"x","$value":"${long(5_000)}"}`],
    ["what is no base64", `{"$binary":"%%%${long(5_000)}"}`],
    ["what is no JSON", `{"a":"${long(5_000)}"`],
    ["an escape that there is not", `{"a":"${long(5_000)}\\x"}`],
    ["a string without an end", `{"a":"${long(5_000)}`],
    ["deep nesting", "[".repeat(1_000)],
    ["many values", `[${"0,".repeat(LIMITS.jsonValues)}0]`],
  ])("reads %s as the parser does", (_name, text) => {
    both(event(text));
    both(`4${text}`);
  });

  it("reads any EJSON as the parser does", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 20 }),
      fc.constant(long(5_000, "é!")),
      fc.constant("!3"),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        text,
        fc.integer(),
        fc.constant(null),
        tie("body"),
        tie("list"),
        tie("record"),
      ),
      body: fc.uint8Array({ maxLength: 9_000 }).map((bytes) => ({ $binary: bytes.toBase64() })),
      list: fc.array(tie("value"), { maxLength: 4 }),
      record: fc.dictionary(fc.oneof(text, fc.constantFrom("$binary", "$escape", "$date", "$type")), tie("value"), {
        maxKeys: 3,
      }),
    }));
    fc.assert(fc.property(value, (one) => void both(event(JSON.stringify(one)))), { numRuns: 300 });
  });

  it("never throws, whatever the bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(decodeFrame(new TextBytes(new Uint8Array([0x34, ...bytes]))).kind).toBeDefined();
    }));
  });

  it("decodes base64 with escaped slashes, blanks and pieces of any end", () => {
    const bytes = new Uint8Array(150_001).fill(0xff);
    const plain = bytes.toBase64();
    for (
      const text of [
        plain.replaceAll("/", "\\/"),
        plain.replace(/.{77}/g, "$& "),
        ` ${plain}`,
        plain.replace(/=+$/, ""),
      ]
    ) {
      expect(argumentOf(`{"$binary":"${text}"}`)).toEqual(bytes);
    }
  });

  it.each([
    ["padding inside", `AA==${long(70_000, "A")}`],
    ["a letter of another alphabet", `${long(70_000, "A")}_`],
    ["one letter too many", `${long(70_000, "A")}A`],
    ["an escape", `${long(70_000, "A")}\\u0041\\u0041`],
  ])("refuses base64 with %s", (_name, text) => {
    expect(argumentOf(`{"$binary":"${text}"}`)).toMatchObject({ kind: "malformed" });
  });

  it("makes no string of more than brokerTextBytes, and reads the rest", () => {
    const text = long(LIMITS.brokerTextBytes + 1);
    expect(argumentOf(`{"url":"${text}","streamingID":"s"}`)).toEqual({ url: new OversizedText(), streamingID: "s" });
    expect(argumentOf(`{"url":"${text.slice(1)}"}`)).toEqual({ url: text.slice(1) });
  });

  it.each([
    [
      "more short text than brokerTextBytes",
      new TextEncoder().encode(event(`["${`${long(4_000)}","`.repeat(1_100)}"]`)),
    ],
    ["text that is not UTF-8", new Uint8Array([0x34, 0x22, 0xff, 0x22])],
    ["a packet of another type", new Uint8Array(70_000).fill(0x32)],
    ["nothing", new Uint8Array(0)],
    ["more than brokerFrameBytes", new Uint8Array(LIMITS.brokerFrameBytes + 1).fill(0x34)],
  ])("refuses %s", (_name, bytes) => {
    expect(decodeFrame(new TextBytes(bytes))).toMatchObject({ kind: "malformed" });
  });
});
