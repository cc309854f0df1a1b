import { describe, expect, it } from "vitest";
import { denoEnv } from "./e2e/daemon.ts";

const root = new URL("../", import.meta.url);

/** The files of the worked example, by name, with imports that lead to the sources from anywhere. */
async function exampleFiles(): Promise<Map<string, string>> {
  const guide = await Deno.readTextFile(new URL("docs/ANALYZERS.md", root));
  const blocks = guide.matchAll(/^```ts\n\/\/ src\/analyzers\/(\S+)\n(.*?)^```$/gms);
  return new Map(
    [...blocks].map(([, name = "", text = ""]) => [name, text] as const).map(([name, text], _, all) => {
      const own = new Set(all.map(([other]) => other));
      const linked = text.replaceAll(
        /from "(\.\.?\/[^"]+)"/g,
        (whole, path: string) =>
          own.has(path.slice(2)) ? whole : `from "${new URL(path, new URL("src/analyzers/", root)).href}"`,
      );
      return [name, linked];
    }),
  );
}

describe("docs/ANALYZERS.md", () => {
  it("has a worked example that compiles and passes its test", async () => {
    const files = await exampleFiles();
    expect([...files.keys()]).toEqual(["swift.ts", "swift_test.ts"]);
    const folder = await Deno.makeTempDir({ prefix: "outpost-example-" });
    try {
      for (const [name, text] of files) await Deno.writeTextFile(`${folder}/${name}`, text);
      const config = new URL("deno.json", root).pathname;
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["test", "-q", "-A", "--config", config, `${folder}/swift_test.ts`],
        env: denoEnv(),
        clearEnv: true,
      }).output();
      const text = new TextDecoder();
      expect(code, text.decode(stderr)).toBe(0);
      expect(text.decode(stdout)).toContain("1 passed");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});
