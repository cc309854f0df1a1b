import { describe, expect, it } from "vitest";

const root = new URL("../", import.meta.url);

describe("docs/DEPENDENCIES.md", () => {
  it("names exactly the packages of the import map, with their versions", async () => {
    const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", root))) as {
      imports: Record<string, string>;
    };
    const imported = Object.values(config.imports).filter((target) => target.startsWith("npm:")).map((target) => {
      // npm:[@scope/]name@version[/subpath]
      const [, name, version] = /^npm:((?:@[^/]+\/)?[^@/]+)@([^/]+)/.exec(target) ?? [];
      return `${name} ${version}`;
    });
    const page = await Deno.readTextFile(new URL("docs/DEPENDENCIES.md", root));
    const tables = page.slice(0, page.indexOf("## Peers"));
    const listed = [...tables.matchAll(/^\| ((?:@[\w-]+\/)?[\w.-]+ \d[\w.-]*) \|/gm)].map((match) => match[1]);
    expect(listed.toSorted()).toEqual(imported.toSorted());
  });

  it("names the npm peers with the versions of their package.json", async () => {
    const peers = JSON.parse(await Deno.readTextFile(new URL("tests/peers/npm/package.json", root))) as {
      dependencies: Record<string, string>;
    };
    const page = await Deno.readTextFile(new URL("docs/DEPENDENCIES.md", root));
    for (const [name, version] of Object.entries(peers.dependencies)) expect(page).toContain(`| ${name} ${version} |`);
  });
});
