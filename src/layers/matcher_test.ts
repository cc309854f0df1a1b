import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type { FilePattern } from "../core/ports.ts";
import { compileWants } from "./matcher.ts";
import { NOTHING } from "./want.ts";

describe("compileWants()", () => {
  const match = compileWants([
    { paths: ["etc/os-release", "top"], maxBytes: 10 },
    { directories: ["var/lib/dpkg/status.d/", "usr/share/doc/"], maxBytes: 20 },
    { names: ["package.json"], maxBytes: 30 },
    { paths: ["var/lib/dpkg/status.d/base"], maxBytes: 40 },
  ]);

  it.each(
    [
      ["etc/os-release", 10],
      ["top", 10],
      ["etc/os-release/x", 0],
      ["etc/os-releas", 0],
      ["x/etc/os-release", 0],
      ["etc/top", 0],
      ["var/lib/dpkg/status.d/libc6", 20],
      ["var/lib/dpkg/status.d/deep/er", 20],
      ["var/lib/dpkg/status.d", 0],
      ["var/lib/dpkg/status", 0],
      ["var/lib/dpkg/status.dx/y", 0],
      ["var", 0],
      ["package.json", 30],
      ["app/node_modules/a/package.json", 30],
      ["app/package.json/x", 0],
      ["app/xpackage.json", 0],
      ["usr/share/doc/package.json", 30],
      ["var/lib/dpkg/status.d/base", 40],
      ["", 0],
    ] as const,
  )("answers %j with %d", (path, limit) => {
    expect(match(path).limit).toBe(limit);
  });

  it("wants nothing without patterns", () => {
    expect(compileWants([])("etc/passwd")).toBe(NOTHING);
  });

  it("agrees with a plain search of the patterns", () => {
    const part = fc.constantFrom("a", "b", "c");
    const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
    const pattern: fc.Arbitrary<FilePattern> = fc.record({
      paths: fc.array(path, { maxLength: 3 }),
      directories: fc.array(path.map((text) => `${text}/`), { maxLength: 3 }),
      names: fc.array(part, { maxLength: 2 }),
      maxBytes: fc.integer({ min: 1, max: 9 }),
    });
    fc.assert(fc.property(fc.array(pattern, { maxLength: 4 }), path, (patterns, wanted) => {
      const limits = patterns.filter(({ paths = [], directories = [], names = [] }) =>
        paths.includes(wanted) || directories.some((directory) => wanted.startsWith(directory)) ||
        names.includes(wanted.split("/").at(-1) ?? "")
      ).map((each) => each.maxBytes);
      expect(compileWants(patterns)(wanted).limit).toBe(Math.max(0, ...limits));
    }));
  });
});

describe("compileWants() with ends of names and exceptions", () => {
  const rows: readonly (readonly [Omit<FilePattern, "maxBytes">, readonly string[], readonly string[]])[] = [
    [{ extensions: [".jar"] }, ["a.jar", "d/a.b.jar"], ["jar", "d.jar/a", ".jar", "a.JAR"]],
    [{ extensions: [""] }, ["a", "d.x/.bashrc"], ["a.b", "a."]],
    [{ suffixes: ["node"] }, ["bin/node", "a.node", "node"], ["node/a", "nodes"]],
    [{ globs: ["**/*.lock", "/top"], notGlobs: ["**/node_modules/**"] }, ["a.lock", "x/y/b.lock", "top"], [
      "x/top",
      "node_modules/c.lock",
      "x/.hidden/d.lock",
    ]],
    [{ names: ["n"], notWithin: ["/usr/lib"] }, ["n", "usr/share/n"], [
      "usr/lib/n",
      "usr/libexec/n",
      "srv/usr/lib/x/n",
    ]],
    [{ extensions: [""], notFrom: ["/etc", "/root"] }, ["a", "srv/etc/a"], ["etc/a", "etcd/a", "rootfs/b/a"]],
    [{ paths: ["a/b"], directories: ["c/"], notWithin: ["x"] }, ["a/b", "c/d/e"], ["c/x/e", "b"]],
  ];

  it.each(rows)("%j", (pattern, wanted, others) => {
    const extractor = { name: "e", version: "1", pattern: { ...pattern, maxBytes: 9 }, open: vi.fn() };
    const match = compileWants([{ ...pattern, maxBytes: 7 }, { names: ["other"], maxBytes: 1 }], [extractor]);
    for (const path of wanted) expect([path, match(path)]).toEqual([path, { limit: 7, extractors: [extractor] }]);
    for (const path of others) expect([path, match(path)]).toEqual([path, { limit: 0, extractors: [] }]);
    const alone = compileWants([{ names: ["other"], maxBytes: 1 }], [extractor]);
    for (const path of wanted) expect([path, alone(path)]).toEqual([path, { limit: 0, extractors: [extractor] }]);
    expect(alone("any/other").limit).toBe(1);
  });
});
