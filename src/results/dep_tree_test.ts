import { describe, expect, it } from "vitest";
import type { OsPackage } from "../core/types.ts";
import { buildDepTree, type TreeNodes } from "./dep_tree.ts";

function pkg(name: string, depends: string[] = [], more: Partial<OsPackage> = {}): OsPackage {
  return { name, version: "1", provides: [], depends, ...more };
}

/** `a(b c(d))`: names with what is below them. */
function shape(nodes: TreeNodes): string {
  return Object.values(nodes).map(({ name, dependencies }) => {
    const below = shape(dependencies);
    return below === "" ? name : `${name}(${below})`;
  }).join(" ");
}

const auto = { autoInstalled: true };

describe("buildDepTree()", () => {
  it.each<readonly [string, OsPackage[], string]>([
    ["no packages", [], ""],
    [
      "the source in the name, even when it is the same",
      [pkg("a", [], { source: "s" }), pkg("b", [], { source: "b" })],
      "s/a b/b",
    ],
    [
      "a package only where it is met first",
      [pkg("a", ["c"]), pkg("b", ["c"]), pkg("c", ["d"]), pkg("d")],
      "a(c(d)) b(c) c d",
    ],
    ["dependencies in the database's order", [pkg("a", ["c", "b"]), pkg("b", [], auto), pkg("c", [], auto)], "a(c b)"],
    ["unknown names nowhere", [pkg("a", ["nothing", "libc:any"])], "a"],
    ["a virtual name as its last provider", [
      pkg("a", ["v"]),
      pkg("b", [], { provides: ["v"], ...auto }),
      pkg("c", [], { provides: ["v"], ...auto }),
    ], "a(c) b"],
    [
      "a real name before a virtual one",
      [pkg("a", ["b"]), pkg("b", [], auto), pkg("c", [], { provides: ["b"] })],
      "a(b) c",
    ],
    ["a package once under its parent, by whichever name", [
      pkg("a", ["b", "v"]),
      pkg("b", ["c"], { provides: ["v"], ...auto }),
      pkg("c", [], auto),
    ], "a(b(c))"],
    ["a cycle cut at the ancestor", [pkg("a", ["b"]), pkg("b", ["a"], auto)], "a(b)"],
    [
      "orphans after the rest, a cycle of them twice",
      [pkg("a", ["b"], auto), pkg("b", ["a"], auto), pkg("c")],
      "c a(b) b",
    ],
    ["the last of two entries of one name", [
      pkg("a", [], { version: "1" }),
      pkg("a", ["b"], { version: "2" }),
      pkg("b", [], auto),
    ], "a"],
    ["an overshadowed entry through what it alone provides", [
      pkg("a", [], { provides: ["v"], source: "old" }),
      pkg("a", []),
      pkg("b", ["v"]),
    ], "a b(old/a)"],
  ])("shows %s", (_name, packages, expected) => {
    expect(shape(buildDepTree(packages))).toBe(expected);
  });

  it("lifts a too frequent package to the root, without purl and without children", () => {
    const users = Array.from({ length: 101 }, (_, i) => pkg(`u${i}`, ["libc"]));
    const libc = pkg("libc", ["base"], { purl: "pkg:deb/debian/libc@1", source: "glibc", ...auto });
    const dependencies = buildDepTree([
      ...users,
      libc,
      pkg("base", [], { purl: "pkg:deb/debian/base@1", ...auto }),
    ]);
    expect(dependencies["glibc/libc"]).toEqual({ name: "glibc/libc", version: "1", dependencies: {} });
    // What it depends on has as many paths plus its own.
    expect(dependencies["base"]).toEqual({ name: "base", version: "1", dependencies: {} });
    expect(shape({ u0: dependencies["u0"] ?? { name: "?", version: "", dependencies: {} } })).toBe("u0");
  });

  it("takes names that objects have by themselves for names", () => {
    const dependencies = buildDepTree([pkg("constructor", ["toString", "valueOf"]), pkg("valueOf", [], auto)]);
    expect(shape(dependencies)).toBe("constructor(valueOf)");
  });

  it("keeps purl and version of the entry", () => {
    const dependencies = buildDepTree([pkg("a", [], { version: "", purl: "pkg:x/a" })]);
    expect(dependencies["a"]).toEqual({ name: "a", version: "", purl: "pkg:x/a", dependencies: {} });
  });

  it("does not run out of stack on a long chain", () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => pkg(`p${i}`, i < 19_999 ? [`p${i + 1}`] : []));
    expect(Object.keys(buildDepTree(chain)).length).toBe(20_000);
  });
});
