import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { changeAt, valuesAt } from "./json_path.ts";
import { Substituter } from "./substitute.ts";

const VALUES: Readonly<Record<string, string>> = { A: "1", B: "two", P_POOL: "x, y,z", S_POOL: "only" };
const make = (values = VALUES): Substituter =>
  new Substituter((name) => Object.hasOwn(values, name) ? values[name] : undefined);
const bytes = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));
const json = (body: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(body));

describe("Substituter.expand()", () => {
  it.each(
    [
      ["plain", "plain"],
      ["${A}", "1"],
      ["a${A}b${B}c", "a1btwoc"],
      ["${UNKNOWN}", ""],
      ["${__proto__}${constructor}", ""],
      ["${A", "${A"],
      ["$A {A}", "$A {A}"],
      ["${}x", "x"],
    ] as const,
  )("%s becomes %s", (template, expected) => {
    expect(make().expand(template)).toBe(expected);
  });

  it("gives the members of a pool in turn", () => {
    const substituter = make();
    expect([1, 2, 3, 4].map(() => substituter.expand("${P}"))).toEqual(["x", "y", "z", "x"]);
    expect(substituter.expand("${S}${S}")).toBe("onlyonly");
  });

  it("refuses a body of more than brokerTextBytes that asks for it, and passes on one that only has the words", () => {
    const substituter = new Substituter(() => "v");
    const large = "y".repeat(LIMITS.brokerTextBytes);
    const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
    expect(() => substituter.body(bytes(`{"BROKER_VAR_SUB":["a"],"a":"${large}"}`))).toThrow("larger than 4 MiB");
    for (
      const text of [`{"a":"BROKER_VAR_SUB ${large}"}`, `BROKER_VAR_SUB ${large}`, `["BROKER_VAR_SUB","${large}"]`]
    ) {
      const body = bytes(text);
      expect(substituter.body(body)).toEqual({ body, fields: [] });
    }
  });

  it("refuses to grow beyond brokerRequestBodyBytes", () => {
    const substituter = make({ BIG: "b".repeat(1024) });
    expect(() => substituter.expand("${BIG}".repeat(10_241))).toThrow("larger than 10 MiB");
    expect(substituter.expand("${BIG}".repeat(10_240))).toHaveLength(LIMITS.brokerRequestBodyBytes);
  });

  it("is linear in unclosed templates", () => {
    const text = "${".repeat(1_000_000);
    expect(make().expand(text)).toBe(text);
  });
});

describe("Substituter.headers()", () => {
  it("changes the named headers only", () => {
    const headers: Record<string, string> = {
      "x-broker-var-sub": "Authorization, x-missing,__proto__",
      "authorization": "${A}",
      "x-other": "${A}",
    };
    expect(make().headers(headers)).toEqual(["authorization"]);
    expect(headers).toMatchObject({ "authorization": "1", "x-other": "${A}" });
  });
});

describe("Substituter.body()", () => {
  it("changes the named fields and removes the list", () => {
    const { body, fields } = make().body(
      bytes({ a: "${A}", b: { c: ["${B}"] }, d: "${A}", BROKER_VAR_SUB: ["a", "b.c.0", "no.where"] }),
    );
    expect(json(body)).toEqual({ a: "1", b: { c: ["two"] }, d: "${A}" });
    expect(fields).toEqual(["a", "b.c.0", "no.where"]);
  });

  it.each(
    [
      ["not JSON BROKER_VAR_SUB"],
      ['["BROKER_VAR_SUB"]'],
      ['{"BROKER_VAR_SUB":"a","a":"${A}"}'],
      ['{"a":"${A}"}'],
    ] as const,
  )("leaves %s alone", (text) => {
    const given = new TextEncoder().encode(text);
    expect(make().body(given)).toEqual({ body: given, fields: [] });
  });

  it("does not reach prototypes", () => {
    make().body(bytes({ BROKER_VAR_SUB: ["__proto__.x", "constructor.prototype.x"], x: 1 }));
    expect(({} as Record<string, unknown>)["x"]).toBe(undefined);
  });
});

describe("valuesAt()", () => {
  it.each(
    [
      ["a.b", [1]],
      ["list.*.x", [1, 2]],
      ["list.1.x", [2]],
      ["a.b.c", []],
      ["toString", []],
    ] as const,
  )("%s", (path, expected) => {
    expect(valuesAt({ a: { b: 1 }, list: [{ x: 1 }, { x: 2 }] }, path)).toEqual(expected);
  });
});

describe("changeAt()", () => {
  it("changes what is there and adds nothing", () => {
    const root = { a: { b: 1 } };
    changeAt(root, "a.b", () => 2);
    changeAt(root, "a.c", () => 3);
    changeAt(root, "x.y", () => 4);
    expect(root).toEqual({ a: { b: 2 } });
  });
});
