/**
 * P3: images made to exhaust their reader. The real command, as a process of its own, finishes or names what is wrong,
 * within 256 MB and 60 s; what is missing from a result is told.
 *
 * Sizes are such that the set takes seconds; `deno task hostile` runs it at full size.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rpmDatabase, rpmHeader, rpmTags } from "../../src/analyzers/analyzer_suite.ts";
import {
  bombJar,
  entriesLayer,
  filesLayer,
  nestedJar,
  overlappingJar,
  paxLayer,
  statusLayer,
  type TarParts,
  writeHostileImage,
  zerosLayer,
} from "../fakes/hostile_images.ts";
import config from "../../deno.json" with { type: "json" };
import { bdbDatabase, ndbDatabase } from "../fakes/rpm_databases.ts";
import { runMeasured } from "./process_usage.ts";

const MB = 1_000_000;
const MiB = 1 << 20;
const FULL = Deno.env.get("HOSTILE_IMAGES") === "full";
const PEAK_RSS_BYTES = 256 * MB;
const SECONDS = 60;
/** As the task gives them to V8. */
const FLAGS = /--v8-flags=\S+/.exec(config.tasks.scan) ?? [];
const ALL_LEVELS = ["--nested-jars-depth", "16"];
const COMPLETE = 0;
const FAILED = 1;
const PARTIAL = 3;

interface Hostile {
  readonly name: string;
  readonly layer: () => TarParts;
  readonly code: number;
  /** What stderr names. */
  readonly says: RegExp;
  readonly args?: readonly string[];
}

const HEADERS = Array.from({ length: 300 }, (_, at) => rpmHeader(rpmTags(`package${at}`)));

/** The first part of a database, in whole pages. */
function truncated(path: string, database: Uint8Array): () => TarParts {
  return () => filesLayer({ [path]: database.subarray(0, 4096 * Math.floor(database.length / 4096 * 0.7)) });
}

const SET: readonly Hostile[] = [
  {
    name: "zeros that compress to a thousandth",
    layer: () => zerosLayer(FULL ? 2048 * MiB : 256 * MiB),
    code: COMPLETE,
    says: /1 package found/,
  },
  {
    name: "empty entries",
    layer: () => entriesLayer(FULL ? 1_999_999 : 200_000),
    code: COMPLETE,
    says: FULL ? /2,?000,?000 entries/ : /200,?001 entries/,
  },
  { name: "a pax header of 100 MB", layer: () => paxLayer(100 * MB), code: FAILED, says: /tar extension header/ },
  {
    name: "jars in jars that multiply",
    layer: () => filesLayer({ "app/bomb.jar": bombJar(5, 4 * MiB) }),
    code: PARTIAL,
    says: /app\/bomb\.jar: It was not read/,
    args: ALL_LEVELS,
  },
  {
    name: "the same, read as deep as by default",
    layer: () => filesLayer({ "app/bomb.jar": bombJar(5, 4 * MiB) }),
    code: COMPLETE,
    says: /1 layer/,
  },
  {
    name: "a jar in a jar of zeros",
    layer: () => filesLayer({ "app/zeros.jar": bombJar(1, FULL ? 1024 * MiB : 128 * MiB) }),
    code: COMPLETE,
    says: /1 layer/,
  },
  {
    name: "twenty jars in each other",
    layer: () => filesLayer({ "app/nested.jar": nestedJar(20) }),
    code: COMPLETE,
    says: /1 layer/,
    args: ALL_LEVELS,
  },
  {
    name: "a jar whose entries overlap",
    layer: () => filesLayer({ "app/overlap.jar": overlappingJar(50_000, 20 * MiB) }),
    code: PARTIAL,
    says: /app\/overlap\.jar: It was not read/,
    args: ALL_LEVELS,
  },
  {
    name: "a dpkg status of half the largest that is read, or all of it",
    layer: () => statusLayer(20_000, FULL ? 26_800 : 13_400),
    code: COMPLETE,
    says: /20,?000 packages found/,
  },
  {
    name: "a dpkg status above that",
    layer: () => statusLayer(20_000, 27_000),
    code: PARTIAL,
    says: /var\/lib\/dpkg\/status: The file has \d+ bytes, more than the 536870912 that are read/,
  },
  {
    name: "a dpkg status of which too much would be kept",
    layer: () => statusLayer(190_000, FULL ? 2_700 : 500),
    code: FAILED,
    says: /the lines that are read of var\/lib\/dpkg\/status have more than/,
  },
  {
    name: "more packages than are read",
    layer: () => statusLayer(25_000, 500),
    code: PARTIAL,
    says: /more than 20000 packages/,
  },
  ...([
    ["Berkeley DB", "var/lib/rpm/Packages", bdbDatabase(HEADERS)],
    ["NDB", "usr/lib/sysimage/rpm/Packages.db", ndbDatabase(HEADERS)],
    ["SQLite", "usr/lib/sysimage/rpm/rpmdb.sqlite", rpmDatabase(HEADERS)],
  ] as const).map(([kind, path, database]): Hostile => ({
    name: `a truncated rpm database, ${kind}`,
    layer: truncated(path, database),
    code: PARTIAL,
    says: new RegExp(`warning: ${path}`),
  })),
];

describe.skipIf(Deno.build.os !== "linux")("P3: a hostile image ends in time, within 256 MB, and is told", () => {
  let dir = "";

  beforeAll(async () => {
    dir = await Deno.makeTempDir({ prefix: "outpost-hostile-" });
    // Deno keeps what it makes of changed sources: that is not what is measured.
    await runMeasured(["--version"], {}, FLAGS);
  });

  afterAll(() => Deno.remove(dir, { recursive: true }));

  it.each(SET.map((hostile) => [hostile.name, hostile] as const))(
    "%s",
    async (name, { layer, code, says, args = [] }) => {
      const image = `${dir}/${name.replaceAll(/\W+/g, "-")}`;
      await writeHostileImage(image, layer());
      const began = performance.now();
      const run = await runMeasured(["scan", "--format", "json", ...args, `oci:${image}`], {}, FLAGS);
      const seconds = (performance.now() - began) / 1000;
      expect(run.stderr).toMatch(says);
      expect(run.code, run.stderr).toBe(code);
      expect(seconds).toBeLessThan(SECONDS);
      expect(run.usage.peakRssBytes).toBeGreaterThan(20 * MB);
      expect(run.usage.peakRssBytes).toBeLessThanOrEqual(PEAK_RSS_BYTES);
      if (code === FAILED) expect(run.stdout).toBe("");
      else expect(JSON.parse(run.stdout)).toMatchObject({ status: code === COMPLETE ? "success" : "partial" });
      await Deno.remove(image, { recursive: true });
    },
  );
});
