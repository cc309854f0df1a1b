import { describe, expect, it } from "vitest";
import { bdbDatabase } from "../../tests/fakes/rpm_databases.ts";
import { assembleLayers, facts, layer } from "../../tests/fakes/layer_facts.ts";
import type { LayerFacts } from "../core/types.ts";
import { LIMITS } from "../core/limits.ts";
import { rpmDatabase, rpmHeader, rpmTags } from "./analyzer_suite.ts";
import { analyzeOs, attributeOsLayers } from "./mod.ts";

const STATUS = "var/lib/dpkg/status";

/** `name version, …` as a dpkg status file. */
function status(...packages: readonly string[]): string {
  const text = packages.map((entry) => {
    const [name, version, source] = entry.split(" ");
    return `Package: ${name}\nVersion: ${version}\n${source === undefined ? "" : `Source: ${source}\n`}\n`;
  });
  return `${STATUS}=${text.join("")}`;
}

/** `name version: layer`, and the warnings. */
function attributed(layers: readonly LayerFacts[]): string[] {
  const os = analyzeOs(assembleLayers(layers));
  const found = attributeOsLayers(os, layers, assembleLayers);
  return [
    ...os.packages.packages.map(({ name, version }, at) => `${name} ${version}: ${found.os[at]}`),
    ...found.warnings,
  ];
}

describe("attributeOsLayers()", () => {
  it.each<[string, LayerFacts[], string[]]>([
    ["packages as they come", [layer(status("a 1")), layer("x=y"), layer(status("a 1", "b 1"))], ["a 1: 0", "b 1: 2"]],
    ["an upgrade", [layer(status("a 1", "b 1")), layer(status("a 2", "b 1"))], ["a 2: 1", "b 1: 0"]],
    [
      "another source of the same package",
      [layer(status("a 1 s")), layer(status("a 1 t"))],
      ["a 1: 1"],
    ],
    [
      "a removal and a new installation",
      [layer(status("a 1", "b 1")), layer(status("b 1")), layer(status("b 1", "a 1"))],
      ["b 1: 0", "a 1: 2"],
    ],
    [
      "a database that was deleted in between",
      [layer(status("a 1")), layer(`-${STATUS}`), layer(status("a 1"))],
      ["a 1: 2"],
    ],
    [
      "a directory that was made opaque",
      [layer(status("a 1")), layer("var/lib/dpkg/**"), layer(status("a 1"))],
      ["a 1: 2"],
    ],
    [
      "a database behind a link",
      [
        layer("var/lib/dpkg -> ../../srv/dpkg", "srv/dpkg/status=Package: a\nVersion: 1\n"),
        layer("srv/dpkg/status=Package: a\nVersion: 1\n\nPackage: b\nVersion: 1\n"),
      ],
      ["a 1: 0", "b 1: 1"],
    ],
    [
      "the files of distroless images",
      [layer(`${STATUS}.d/a=Package: a\nVersion: 1\n`), layer(`${STATUS}.d/b=Package: b\nVersion: 1\n`)],
      ["b 1: 1", "a 1: 0"],
    ],
    ["a layer that rewrites the same", [layer(status("a 1")), layer(status("a 1"))], ["a 1: 0"]],
    ["apk", [layer("lib/apk/db/installed=P:a\nV:1\n"), layer("lib/apk/db/installed=P:a\nV:1\n\nP:b\nV:2\n")], [
      "a 1: 0",
      "b 2: 1",
    ]],
    ["nothing", [layer("x=y")], []],
  ])("tells %s", (_name, layers, expected) => {
    expect(attributed(layers)).toEqual(expected);
  });

  it("tells rpm packages, when the database changes its form too", () => {
    const content = (path: string, bytes: Uint8Array): LayerFacts =>
      facts([{ kind: "file", path, size: bytes.length, mode: 0o644, content: bytes }]);
    const a = rpmHeader(rpmTags("a"));
    const b = rpmHeader(rpmTags("b"));
    expect(attributed([
      content("var/lib/rpm/rpmdb.sqlite", rpmDatabase([a])),
      content("var/lib/rpm/rpmdb.sqlite", rpmDatabase([a, b])),
    ])).toEqual(["a 1.0-1.el9: 0", "b 1.0-1.el9: 1"]);
    expect(attributed([
      content("var/lib/rpm/Packages", bdbDatabase([a])),
      content("var/lib/rpm/Packages", bdbDatabase([a, b])),
    ])).toEqual(["a 1.0-1.el9: 0", "b 1.0-1.el9: 1"]);
  });

  it("warns, and blames nothing on anybody, when a layer's database cannot be read", () => {
    expect(attributed([layer(status("a 1")), layer(`${STATUS}=Version: 1\n`), layer(status("a 1", "b 1"))])).toEqual([
      "a 1: undefined",
      "b 1: undefined",
      `Layer attribution: failed to attribute Apt packages: Failed to detect installed OS packages: ${STATUS} has a ` +
      "field before its first Package.",
    ]);
  });

  it("has a bound on the databases that it reads", () => {
    const layers = Array.from({ length: LIMITS.attributedLayers + 1 }, (_, at) => layer(status(`a ${at}`)));
    expect(attributed(layers)).toEqual([
      `a ${LIMITS.attributedLayers}: undefined`,
      expect.stringContaining("201 layers change the package database, more than 200"),
    ]);
    expect(attributed(layers.slice(1))).toEqual([`a ${LIMITS.attributedLayers}: ${LIMITS.attributedLayers - 1}`]);
  });
});
