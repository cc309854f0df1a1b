import { deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { inflaterSuite } from "./inflater_suite.ts";
import { firstOf, INFLATERS, loadInflater } from "./inflaters.ts";

for (const [name, load] of Object.entries(INFLATERS)) inflaterSuite(name, load);

describe("loadInflater()", () => {
  it.each(["auto", "wasm", "fflate", "native"] as const)("loads a decoder by the name %s", async (name) => {
    const parts: string[] = [];
    const inflater = (await loadInflater(name))((bytes) => void parts.push(new TextDecoder().decode(bytes)));
    await inflater.push(deflateRawSync("content"));
    inflater.close();
    expect(parts.join("")).toBe("content");
  });
});

describe("firstOf()", () => {
  const fails = (message: string) => (): Promise<never> => Promise.reject(new Error(message));

  it("takes the first that loads, and asks no further", async () => {
    const asked: string[] = [];
    const gives = (name: string) => (): Promise<string> => {
      asked.push(name);
      return Promise.resolve(name);
    };
    expect(await firstOf([fails("no WebAssembly"), gives("second"), gives("third")])).toBe("second");
    expect(asked).toEqual(["second"]);
  });

  it("fails as the last one when none loads", async () => {
    await expect(firstOf([fails("one"), fails("two")])).rejects.toThrow("two");
    await expect(firstOf([])).rejects.toThrow("no decoder");
  });
});
