import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fakeLayer } from "../../tests/fakes/layer.ts";
import { tar, type TarMember } from "../../tests/fakes/tar_builder.ts";
import type { LayerFacts } from "../core/types.ts";
import { hasPath } from "../lib/path_hash.ts";
import { extractLayer } from "./extract.ts";
import { compileWants } from "./matcher.ts";

/** A file system as an unpacker would make it of one layer alone. */
type Node =
  | { readonly kind: "file"; readonly text: string }
  | { readonly kind: "symlink"; readonly target: string }
  | { readonly kind: "hardlink"; readonly target: string }
  | { readonly kind: "directory" | "device" };

const WANTED = "w";

function isWanted(path: string): boolean {
  return path.split("/").at(-1) === WANTED;
}

/** Applies members the slow, obvious way. */
function unpack(members: readonly TarMember[]): { readonly tree: Map<string, Node>; readonly gone: Set<string> } {
  const tree = new Map<string, Node>();
  const gone = new Set<string>();
  const remove = (path: string, below: boolean): void => {
    for (const [other, node] of [...tree]) {
      if (other !== path && !(below && other.startsWith(`${path}/`))) continue;
      tree.delete(other);
      if (node.kind !== "directory") gone.add(other);
    }
  };
  for (const { name, type, body = "", linkName = "" } of members) {
    const path = String(name);
    const linked = tree.get(linkName);
    if (type === "1" && path === linkName) continue;
    if (type !== "5") remove(path, true);
    else if (tree.get(path)?.kind !== "directory") remove(path, false);
    if (type === "5") tree.set(path, { kind: "directory" });
    else if (type === "3") tree.set(path, { kind: "device" });
    else if (type === "2") tree.set(path, { kind: "symlink", target: linkName });
    else if (type === "1" && (linked?.kind === "file" || linked?.kind === "symlink")) tree.set(path, linked);
    else if (type === "1") tree.set(path, { kind: "hardlink", target: linkName });
    else tree.set(path, { kind: "file", text: String(body) });
  }
  return { tree, gone };
}

function summary(facts: LayerFacts): Record<string, unknown> {
  const decoder = new TextDecoder();
  return Object.fromEntries(facts.entries.map((entry) => {
    if (entry.kind === "file") return [entry.path, { kind: "file", text: decoder.decode(entry.content) }];
    if (entry.kind !== "symlink" && entry.kind !== "hardlink") throw new Error(`Unexpected ${entry.kind}`);
    return [entry.path, { kind: entry.kind, target: entry.target }];
  }));
}

describe("FactsCollector against a plain unpacker", () => {
  const path = fc.array(fc.constantFrom("a", "b", WANTED), { minLength: 1, maxLength: 3 }).map((parts) =>
    parts.join("/")
  );
  const member: fc.Arbitrary<TarMember> = fc.record({
    name: path,
    type: fc.constantFrom("0", "0", "0", "1", "1", "2", "3", "5"),
    linkName: path,
    text: fc.integer({ min: 0, max: 999 }),
  }).map(({ name, type, linkName, text }) =>
    type === "0"
      ? { name, type, body: String(text) }
      : type === "1" || type === "2"
      ? { name, type, linkName }
      : { name, type }
  );

  it("keeps exactly the wanted files and the links of the layer, with the content they have in the end", async () => {
    const property = fc.asyncProperty(fc.array(member, { maxLength: 14 }), async (members) => {
      const { handle } = fakeLayer(tar(...members));
      const wants = compileWants([{ names: [WANTED], maxBytes: 100 }]);
      const facts = await extractLayer(handle, { version: "1", wants }, { signal: new AbortController().signal });
      const { tree, gone } = unpack(members);
      const expected = [...tree].filter(([path, node]) =>
        node.kind === "symlink" || (isWanted(path) && (node.kind === "file" || node.kind === "hardlink"))
      );
      expect(summary(facts)).toEqual(Object.fromEntries(expected));
      // Whatever is or was there and is no directory hides the lower layers' files at its path.
      for (const [path, node] of tree) {
        if (node.kind !== "directory" && !facts.entries.some((entry) => entry.path === path)) gone.add(path);
        if (node.kind === "directory") expect(hasPath(facts.directories, path), path).toBe(true);
      }
      for (const path of gone) expect(hasPath(facts.replacedPaths, path), path).toBe(true);
    });
    // A name that a link led to and that is a link itself later, to nothing.
    const relinked: [TarMember[]] = [[
      { name: "w", type: "0", body: "0" },
      { name: "a", type: "1", linkName: "w" },
      { name: "w", type: "1", linkName: "b" },
      { name: "w", type: "1", linkName: "a" },
    ]];
    await fc.assert(property, { numRuns: 3000, examples: [relinked] });
  });
});
