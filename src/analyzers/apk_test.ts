import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { analyzerSuite, analyzeWith, viewOf } from "./analyzer_suite.ts";
import { APK } from "./apk.ts";

const DATABASE = "lib/apk/db/installed";
const MUSL = "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\no:musl\np:so:libc.musl-x86_64.so.1=1\nF:lib\nR:ld-musl.so.1\n";

describe("apk", () => {
  analyzerSuite(APK, "apk", [
    {
      name: "name, version, origin, provides and dependencies",
      files: {
        [DATABASE]: `${MUSL}\nP:busybox\nV:1.36-r1\no:bb\nD:so:libc.musl-x86_64.so.1 !old musl>=1.2 zlib~1\nr:bb-x\n`,
      },
      database: DATABASE,
      packages: [
        { name: "musl", version: "1.2.5-r0", source: "musl", provides: ["so:libc.musl-x86_64.so.1"], depends: [] },
        {
          name: "busybox",
          version: "1.36-r1",
          source: "bb",
          provides: [],
          depends: ["so:libc.musl-x86_64.so.1", "musl>", "zlib~1", "bb-x"],
        },
      ],
    },
    {
      name: "carriage returns, short lines, a byte-order mark and a missing last line end",
      files: { [DATABASE]: "\ufeffP:a\r\nV:1\r\nX\n\n\r\nP:b\r\nV:2\r\np:\r\nD:a" },
      database: DATABASE,
      packages: [{ name: "a", version: "1" }, { name: "b", version: "2", provides: [""], depends: ["a"] }],
    },
    {
      name: "fields before the first package, which belong to none",
      files: { [DATABASE]: "V:9\nD:x\nP:a\n" },
      database: DATABASE,
      packages: [{ name: "a", version: "", depends: [] }],
    },
    {
      name: "the database of the upper layer when there are two",
      files: {
        "usr/lib/apk/db/installed": { content: "P:lower\n", layer: 0 },
        [DATABASE]: { content: "P:upper\n", layer: 1 },
      },
      database: DATABASE,
      packages: [{ name: "upper" }],
    },
    {
      name: "the database that comes first in the tar when both are of one layer",
      files: {
        "usr/lib/apk/db/installed": { content: "P:second\n", position: 2 },
        [DATABASE]: { content: "P:first\n", position: 1 },
      },
      database: DATABASE,
      packages: [{ name: "first" }],
    },
    {
      name: "text that is not ASCII",
      files: { [DATABASE]: "P:größe\nV:1é\n" },
      database: DATABASE,
      packages: [{ name: "größe", version: "1é" }],
    },
  ]);

  it("gives no purl, as the plugin does", () => {
    expect(analyzeWith(APK, viewOf({ [DATABASE]: MUSL })).result?.packages[0]).toEqual({
      name: "musl",
      version: "1.2.5-r0",
      source: "musl",
      provides: ["so:libc.musl-x86_64.so.1"],
      depends: [],
    });
  });

  it("finds nothing when there is no database, an empty one, or one without packages", () => {
    expect(analyzeWith(APK, viewOf({})).result).toBeUndefined();
    expect(analyzeWith(APK, viewOf({ [DATABASE]: "" })).result).toBeUndefined();
    expect(analyzeWith(APK, viewOf({ [DATABASE]: "V:1\nP:\nV:2\n" })).result).toBeUndefined();
  });

  it("reports a field over the limit, and reads the rest", () => {
    const long = "x ".repeat(LIMITS.packageFieldBytes / 2);
    const { result, problems } = analyzeWith(
      APK,
      viewOf({ [DATABASE]: `P:a\nD:${long}\nV:1\nP:${long}\nV:2\nP:b\nV:3\n` }),
    );
    expect(result?.packages).toMatchObject([{ name: "a", version: "1", depends: [] }, { name: "b", version: "3" }]);
    expect(problems).toEqual([{
      code: "LIMIT_EXCEEDED",
      subject: DATABASE,
      message: `Cannot read all of ${DATABASE}: it has a line of more than 1048576 bytes (packageFieldBytes)`,
    }]);
  });

  it("stops at the limits on packages and relations, and says so", () => {
    const many = "P:a\n".repeat(LIMITS.osPackages + 5);
    const packages = analyzeWith(APK, viewOf({ [DATABASE]: many }));
    expect(packages.result?.packages).toHaveLength(LIMITS.osPackages);
    expect(packages.problems).toMatchObject([{ code: "LIMIT_EXCEEDED" }]);
    const provides = `P:a\n${`p:${"x ".repeat(500_000)}\n`.repeat(3)}P:b\n`;
    const relations = analyzeWith(APK, viewOf({ [DATABASE]: provides }));
    expect(relations.result?.packages.map((found) => found.provides.length)).toEqual([LIMITS.osRelations, 0]);
    expect(relations.problems).toHaveLength(1);
    expect(relations.problems[0]?.message).toContain("osRelations");
  });
});
