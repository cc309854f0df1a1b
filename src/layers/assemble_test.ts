import { describe, expect, it, vi } from "vitest";
import { facts, layer, listed, text } from "../../tests/fakes/layer_facts.ts";
import { LIMITS } from "../core/limits.ts";
import { assembleLayers } from "./assemble.ts";

type Rule = readonly [rule: string, layers: readonly (readonly string[])[], expected: readonly string[]];

const RULES: readonly Rule[] = [
  ["files of several layers add up", [["a/x=1"], ["a/y=2"]], ["a/x=1@0", "a/y=2@1"]],
  ["the upper file wins", [["a=1", "b=1"], ["a=2"]], ["a=2@1", "b=1@0"]],
  ["an empty upper file is a file", [["a=1"], ["a="]], ["a=@1"]],
  ["the last of two entries of one layer wins", [["a=1", "a=2"]], ["a=2@0"]],
  ["a whiteout hides a file", [["a=1", "b=1"], ["-a"]], ["b=1@0"]],
  ["a whiteout hides all below a directory", [["d/a=1", "d/e/b=1", "da=1"], ["-d"]], ["da=1@0"]],
  ["a whiteout does not hide its own layer, before it", [["d/a=1"], ["d/b=2", "-d"]], ["d/b=2@1"]],
  ["a whiteout does not hide its own layer, after it", [["d/a=1"], ["-d", "d/b=2"]], ["d/b=2@1"]],
  ["a whiteout of a path and the path itself", [["a=1"], ["a=2", "-a"]], ["a=2@1"]],
  ["a whiteout of nothing is nothing", [["a=1"], ["-b", "-a/c"]], ["a=1@0"]],
  ["a whiteout does not hide a layer above", [["a=1"], ["-a"], ["a=3"]], ["a=3@2"]],
  ["a whiteout hides a link, not its target", [["t/x=1", "l -> t"], ["-l"]], ["t/x=1@0"]],
  ["names that only look like whiteouts are names", [["awhb=1", "a.wh.b=1"]], ["a.wh.b=1@0", "awhb=1@0"]],
  ["an opaque directory hides lower layers below it", [["d/a=1", "d/e/b=1", "o=1"], ["d/**", "d/c=2"]], [
    "d/c=2@1",
    "o=1@0",
  ]],
  ["an opaque directory does not hide its own layer, before it", [["d/a=1"], ["d/c=2", "d/**"]], ["d/c=2@1"]],
  ["an opaque root hides everything", [["a=1", "d/b=1"], ["/**", "c=2"]], ["c=2@1"]],
  ["an opaque directory takes the place of a link", [["t/x=1", "d -> t"], ["d/**", "d/y=2"]], ["d/y=2@1", "t/x=1@0"]],
  ["a file replaces a directory", [["d/a=1", "d/e/b=1"], ["d=2"]], ["d=2@1"]],
  ["a path known by hash replaces a file", [["a=1", "b=1"], ["!a"]], ["b=1@0"]],
  ["a path known by hash replaces a directory", [["d/a=1", "d/e/b=1", "dd=1"], ["!d"]], ["dd=1@0"]],
  ["a path known by hash does not hide its own layer", [["a=1"], ["a=2", "!a"]], ["a=2@1"]],
  ["a link replaces a file", [["a=1"], ["a -> b", "b=2"]], ["b=2@1"]],
  ["a link replaces a directory", [["d/a=1"], ["d -> e", "e/b=2"]], ["e/b=2@1"]],
  ["a file replaces a link, not its target", [["a -> b", "b=1"], ["a=2"]], ["a=2@1", "b=1@0"]],
  ["a directory alone replaces a file", [["d=1", "e=1"], ["d/"]], ["e=1@0"]],
  ["a directory replaces a link, not its target", [["t/x=1", "l -> t"], ["l/", "l/y=2"]], ["l/y=2@1", "t/x=1@0"]],
  ["a directory keeps what is below a directory", [["d/a=1"], ["d/"]], ["d/a=1@0"]],
  ["a file in a new directory replaces a file", [["d=1"], ["d/a=2"]], ["d/a=2@1"]],
  ["a file over its limit replaces too", [["a=1"], ["a>5"]], []],
  ["a hard link within a layer", [["a=1", "b => a"]], ["a=1@0", "b=1@0"]],
  ["a hard link to a lower layer", [["a=1"], ["b => a"]], ["a=1@0", "b=1@1"]],
  ["a hard link keeps what its target had", [["a=1"], ["b => a"], ["a=3"]], ["a=3@2", "b=1@1"]],
  ["a hard link outlives its target", [["a=1"], ["b => a", "-a"]], ["b=1@1"]],
  ["a hard link takes its own layer's target", [["a=1"], ["a=2", "b => a"]], ["a=2@1", "b=2@1"]],
  ["a path through a link goes where the link leads", [["t/x=1", "l -> t"], ["l/y=2"]], ["t/x=1@0", "t/y=2@1"]],
  ["so does it within one layer", [["l -> /t/u", "l/y=2"]], ["t/u/y=2@0"]],
  ["a whiteout through a link goes there too", [["t/x=1", "l -> t"], ["-l/x"]], []],
  ["a link that leads nowhere gives way", [["l -> l", "m -> f", "f=1"], ["l/a=2", "m/b=2"]], [
    "f=1@0",
    "l/a=2@1",
    "m/b=2@1",
  ]],
  ["no path leaves the root", [["l -> ../../../..", "l/a=1", "../../b=1"]], ["a=1@0", "b=1@0"]],
];

describe("assembleLayers()", () => {
  it.each<Rule>(RULES)("%s", (_rule, layers, expected) => {
    expect(listed(layers.map((lines) => layer(...lines)))).toEqual(expected);
  });

  it("reports what is known but cannot be read, where it is still visible", () => {
    const view = assembleLayers([layer("big>5", "hidden>5"), layer("-hidden", "hard => nowhere")]);
    expect(view.file("big")).toBeUndefined();
    expect(view.file("hard")).toBeUndefined();
    expect(view.problems.map(({ code, subject }) => [code, subject])).toEqual([
      ["LIMIT_EXCEEDED", "big"],
      ["ANALYSIS_FAILED", "hard"],
    ]);
    expect(view.problems[1]?.message).toContain("hard link to nowhere");
  });

  it("knows where a path leads, whether anything is there or not", () => {
    const links = layer("bin -> usr/bin", "usr/bin/sh -> busybox", "usr/bin/tool -> /opt/tool", "loop -> loop", "f=x");
    const view = assembleLayers([links]);
    const places = ["bin/sh", "bin/tool/../x", "bin/unknown", "opt/./a//b", "f", "f/inside", "loop/a"];
    expect(places.map((path) => view.realPath(path))).toEqual([
      "usr/bin/busybox",
      "opt/x",
      "usr/bin/unknown",
      "opt/a/b",
      "f",
      "f/inside",
      "loop/a",
    ]);
    expect(view.linkedPaths()).toBeUndefined();
  });

  it("refuses an image with more paths than it may keep", () => {
    const wide = facts(
      Array.from({ length: LIMITS.viewPaths + 1 }, (_, i) => ({ kind: "symlink", path: String(i), target: "t" })),
    );
    expect(() => assembleLayers([wide])).toThrow("more than 500000 paths that matter");
    const deep = Array.from({ length: 100 }, (_, i) => `${i}/${"x/".repeat(1000)}f=`);
    expect(() => assembleLayers([layer(...deep)])).toThrow("more than 40000000 characters");
    const chained = Array.from(
      { length: 3 },
      (_, i) => [`l${i}/${"d/".repeat(1000)}x=`, `l${i + 1} -> l${i}/${"d/".repeat(1000)}.`],
    );
    expect(() => assembleLayers([layer(...chained.flat())])).toThrow("a path is longer than 4096 characters");
  });

  it("does work in proportion to its input, not to whiteouts × files", () => {
    const cost = (n: number): number => {
      const numbers = Array.from({ length: n }, (_, i) => i);
      const layers = [
        facts(numbers.flatMap((i) => layer(`d${i % 100}/f${i}=`).entries)),
        facts(
          numbers.map((i) => ({ kind: "whiteout", path: `d${i % 100}/absent${i}` })),
          numbers.map((i) => `no/${i}`),
        ),
        facts(numbers.filter((i) => i % 2 === 0).map((i) => ({ kind: "whiteout", path: `d${i % 100}/f${i}` }))),
      ];
      const spies = [vi.spyOn(Map.prototype, "get"), vi.spyOn(Map.prototype, "delete"), vi.spyOn(Map.prototype, "set")];
      try {
        const view = assembleLayers(layers);
        expect([...view.files()].length).toBe(n / 2);
        return spies.reduce((total, spy) => total + spy.mock.calls.length, 0);
      } finally {
        for (const spy of spies) spy.mockRestore();
      }
    };
    const small = cost(1_000);
    const large = cost(8_000);
    expect(large / small).toBeLessThan(8.5);
    expect(large / 8_000).toBeLessThan(30);
  });
});

describe("ImageView", () => {
  const view = assembleLayers([
    layer(
      "usr/lib/os-release=o",
      "etc/os-release -> ../usr/lib/os-release",
      "lib -> usr/lib",
      "abs -> /lib/os-release",
      "up -> ../../../usr/lib/os-release",
      "one -> two",
      "two -> one",
      "broken -> srv/none",
      "usr/lib/a/x=1",
      "usr/lib/a-b=2",
      "usr/lib/a0=3",
      "through -> nowhere/../usr/./lib//os-release",
      "file-as-dir -> usr/lib/os-release/x",
    ),
  ]);

  it.each([
    ["usr/lib/os-release"],
    ["/usr/lib/os-release"],
    ["etc/os-release"],
    ["lib/os-release"],
    ["lib/../lib/os-release"],
    ["abs"],
    ["up"],
    ["through"],
  ])("file(%j) follows links inside the root", (path) => {
    expect(view.file(path)).toMatchObject({ path: "usr/lib/os-release", layer: 0, mode: 0o644 });
  });

  it.each(["one", "none", "lib", "", "usr/lib/os-release/x", "etc/../.."])("file(%j) gives nothing", (path) => {
    expect(view.file(path)).toBeUndefined();
  });

  it("follows as many links as Linux does, and no more", () => {
    const chain = (n: number): string[] => Array.from({ length: n }, (_, i) => `l${i} -> l${i + 1}`);
    expect(text(assembleLayers([layer(...chain(40), "l40=end")]).file("l0")?.content)).toBe("end");
    expect(assembleLayers([layer(...chain(41), "l41=end")]).file("l0")).toBeUndefined();
  });

  it("reports a link that cannot be read once, and only when it is asked for", () => {
    const fresh = assembleLayers([layer("broken -> srv/none", "loop -> loop", "lib -> usr/lib", "usr/lib/x=")]);
    expect(fresh.problems).toEqual([]);
    fresh.file("lib/absent");
    fresh.file("absent");
    fresh.file("lib");
    expect(fresh.problems).toEqual([]);
    fresh.file("broken");
    fresh.file("/broken");
    fresh.file("loop");
    expect(fresh.problems.map(({ subject }) => subject)).toEqual(["broken", "loop"]);
    expect(fresh.problems[0]?.message).toBe(
      "The file was not read: it is a symbolic link to srv/none, which does not exist, leads in circles, or was not kept",
    );
  });

  it("lists directories, also through links, in the order of their paths", () => {
    expect(view.filesIn("usr/lib/a/").map(({ path }) => path)).toEqual(["usr/lib/a/x"]);
    expect(view.filesIn("lib/").map(({ path }) => path)).toEqual([
      "usr/lib/a-b",
      "usr/lib/a/x",
      "usr/lib/a0",
      "usr/lib/os-release",
    ]);
    expect(view.filesIn("/").length).toBe(4);
    expect(view.filesIn("one/")).toEqual([]);
    expect(view.filesIn("usr/lib/os-release/")).toEqual([]);
    expect(view.filesIn("none/")).toEqual([]);
  });
});
