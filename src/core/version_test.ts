import { describe, expect, it } from "vitest";
import { VERSION } from "./version.ts";

describe("VERSION", () => {
  it("is the version of deno.json", async () => {
    const manifest = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
    expect(VERSION).toBe(manifest.version);
  });
});
