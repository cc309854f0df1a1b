import { describe, expect, it } from "vitest";

const root = new URL("../", import.meta.url);

describe("wasm/build.ts", () => {
  it("gives the committed module, its checksum and the embedded copy, byte for byte", async () => {
    const command = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", "wasm/build.ts", "--check"],
      cwd: root,
      stdout: "null",
      stderr: "piped",
    });
    const { code, stderr } = await command.output();
    const problems = new TextDecoder().decode(stderr).split("\n").filter((line) => line.includes("is not what"));
    expect({ code, problems }).toEqual({ code: 0, problems: [] });
  });
});
