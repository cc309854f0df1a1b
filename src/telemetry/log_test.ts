import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { Redactor } from "../lib/redact.ts";
import { createLogger, type LoggerOptions } from "./log.ts";

function setUp(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const redactor = new Redactor();
  redactor.add("hunter22");
  const write = (line: string) => void lines.push(line);
  const logger = createLogger({
    level: "info",
    form: "json",
    clock: new FakeClock(0),
    redactor,
    write,
    ...options,
  });
  return { lines, logger };
}

describe("createLogger()", () => {
  it("writes one JSON object per line with time, level, component and fields", () => {
    const { lines, logger } = setUp();
    logger.child("broker").child("relay").warn("Line\ntwo", { n: 1 });
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { time: "1970-01-01T00:00:00.000Z", level: "warn", component: "broker.relay", message: "Line\ntwo", n: 1 },
    ]);
    expect(lines[0]).not.toContain("\n");
  });

  it("drops lines below the level, except of the components that DEBUG names", () => {
    const { lines, logger } = setUp({ debug: ["registry*"] });
    logger.debug("no");
    logger.child("registry").child("auth").debug("yes");
    expect(lines).toHaveLength(1);
  });

  it.each(["json", "plain"] as const)("masks secrets in message, fields and errors (%s)", (form) => {
    const { lines, logger } = setUp({ form });
    logger.error("hunter22", { url: "http://u:hunter22@h", error: new Error("hunter22"), password: "other" });
    expect(lines.join()).not.toMatch(/hunter22|other/);
    expect(lines.join()).toContain("***");
  });

  it("keeps plain lines on one line with readable fields", () => {
    const { lines, logger } = setUp({ form: "plain" });
    logger.child("net").info("Asked", { host: "h", n: 2, none: undefined });
    expect(lines).toEqual(['00:00:00 INFO  net: Asked host="h" n=2']);
  });
});
