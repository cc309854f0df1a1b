import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { Redactor } from "./redact.ts";
import { Secret } from "./secret.ts";

describe("Redactor", () => {
  const secret = 'pä"ss/+ word%';

  it("masks a secret in every form in which it travels", () => {
    const redactor = new Redactor();
    redactor.add(secret);
    const text = [
      secret,
      JSON.stringify({ a: secret }),
      encodeURIComponent(secret),
      new TextEncoder().encode(secret).toBase64(),
      new URLSearchParams({ q: secret }).toString(),
    ].join("\n");
    const masked = redactor.text(text);
    for (const part of ["pä", "ss/", "word", encodeURIComponent("ä"), "%C3", "w6Q"]) expect(masked).not.toContain(part);
    expect(masked.match(/\*\*\*/g)).toHaveLength(5);
  });

  it("masks a secret inside a larger base64 text", () => {
    const redactor = new Redactor();
    redactor.add("correct-horse-battery");
    for (const user of ["a", "ab", "abc"]) {
      const header = new TextEncoder().encode(`${user}:correct-horse-battery`).toBase64();
      const masked = redactor.text(header);
      expect(masked).toContain("***");
      expect(masked.length).toBeLessThan(16);
    }
  });

  it("masks the values of telling keys and keeps the others", () => {
    const json = new Redactor().json({
      user: "u",
      password: "x",
      nested: { Authorization: "Basic abc" },
      tokenCount: 3,
    });
    expect(JSON.parse(json)).toEqual({ user: "u", password: "***", nested: { Authorization: "***" }, tokenCount: 3 });
  });

  it("prints errors with their causes and still masks", () => {
    const redactor = new Redactor();
    redactor.add("hunter22");
    const error = new OutpostError("INTERNAL", "Cannot do it", { cause: new TypeError("got hunter22") });
    const printed = redactor.json({ error });
    expect(printed).toContain("got ***");
    expect(printed).toContain("Cannot do it");
  });

  it("forgets the oldest transient secrets only", () => {
    const redactor = new Redactor();
    redactor.add("fixed-secret");
    for (let i = 0; i < 600; i++) redactor.addTransient(`transient-${i}-x`);
    expect(redactor.text("fixed-secret transient-599-x transient-0-x")).toBe("*** *** transient-0-x");
  });

  it("leaves text alone when there is nothing to hide", () => {
    const redactor = new Redactor();
    redactor.add("abc");
    expect(redactor.text("abc def")).toBe("abc def");
  });
});

describe("Secret", () => {
  it("prints as *** in every implicit way", () => {
    const secret = new Secret("hunter22");
    expect(`${secret} ${JSON.stringify({ secret })} ${Deno.inspect({ secret })}`).not.toContain("hunter22");
    expect(secret.reveal()).toBe("hunter22");
  });
});
