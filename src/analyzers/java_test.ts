import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { wasmInflaters } from "../../tests/fakes/file_reading.ts";
import { pom, zip, type ZipMember } from "../../tests/fakes/zip_builder.ts";
import { LIMITS } from "../core/limits.ts";
import type { AnalysisOptions, JsonValue, Problem } from "../core/types.ts";
import { findApplications, type TestFiles } from "./analyzer_suite.ts";
import { type JarFingerprints, JAVA } from "./java.ts";
import { type JarLimits, JarReader } from "./jar_reader.ts";

const sha1 = (bytes: Uint8Array): string => createHash("sha1").update(bytes).digest("hex");
const coordinates = (artifactId: string, version = "1"): Record<string, string> => ({
  groupId: "g",
  artifactId,
  version,
});
const jar = (...members: readonly ZipMember[]): Uint8Array<ArrayBuffer> => zip(members);

interface Outcome {
  readonly results: readonly JarFingerprints[];
  readonly problems: readonly Problem[];
}

/** What the analyzer makes of an image with these files. */
async function analyze(files: TestFiles, options: AnalysisOptions = {}): Promise<Outcome> {
  const { results, problems } = await findApplications(JAVA, files, options);
  return { results: results.map(({ facts }) => facts[0]?.data as JarFingerprints), problems };
}

/** A jar in a jar in a jar …; the innermost is `bottom`. */
function nest(levels: number, bottom: Uint8Array): Uint8Array {
  let bytes = bottom;
  for (let level = levels; level > 0; level--) bytes = jar({ name: `l${level}.jar`, body: bytes, sizes: "descriptor" });
  return bytes;
}

describe("JAVA", () => {
  it("fingerprints jars by directory: coordinates where the path has the artifact's name, sha1 otherwise", async () => {
    const named = jar(pom("g", "shaded", "2"), { ...pom("g", "a", "1"), sizes: "descriptor" });
    const unnamed = jar(pom("g", "other", "3"));
    const { results, problems } = await analyze({ "app/a-1.jar": named, "app/x.jar": unnamed, "lib/z.jar": jar() });
    expect(problems).toEqual([]);
    expect(results).toEqual([
      {
        fingerprints: [
          { location: "/app/a-1.jar", digest: null, dependencies: [coordinates("shaded", "2")], ...coordinates("a") },
          { location: "/app/x.jar", digest: sha1(unnamed), dependencies: [coordinates("other", "3")] },
        ],
        origin: "team/app:1",
        path: "/app",
      },
      {
        fingerprints: [{ location: "/lib/z.jar", digest: sha1(jar()), dependencies: [] }],
        origin: "team/app:1",
        path: "/lib",
      },
    ]);
  });

  it.each([
    ["incomplete coordinates", { name: "pom.properties", body: "groupId=g\nartifactId=a\n" }],
    ["an empty version", { name: "x/pom.properties", body: "groupId=g\nartifactId=a\nversion=\n" }],
    ["keys with spaces", { name: "pom.properties", body: "groupId=g\nartifactId=a\nversion =1" }],
    ["a jar whose pom.properties is known to be wrong", pom("com.microsoft.sqlserver", "mssql-jdbc", "1")],
  ])("identifies by sha1 a jar with %s", async (_name, member) => {
    const bytes = jar(member);
    const { results } = await analyze({ "mssql-jdbc-a.jar": bytes });
    const [fingerprint] = results[0]?.fingerprints ?? [];
    expect(fingerprint).toEqual({ location: "/mssql-jdbc-a.jar", digest: sha1(bytes), dependencies: [] });
  });

  it("takes the last coordinates that fit, and values up to a second equals sign", async () => {
    const body = "version=0\r\nversion=1=2\r\ngroupId= g \r\nartifactId=a\r\n";
    const { results } = await analyze({ "a.jar": jar(pom("g", "a", "9"), { name: "b/pom.properties", body }) });
    expect(results[0]?.fingerprints).toEqual([{
      location: "/a.jar",
      digest: null,
      dependencies: [],
      ...coordinates("a"),
    }]);
  });

  it.each([[0, []], [1, ["l1"]], [undefined, ["l1"]], [2, ["l1", "l2"]], [9, ["l1", "l2", "l3"]]])(
    "reads jars in jars at depth %s",
    async (nestedJarsDepth, inside) => {
      const bottom = jar(pom("g", "l3", "1"));
      const { results, problems } = await analyze({ "app/x.jar": nest(3, bottom) }, { nestedJarsDepth });
      expect(problems).toEqual([]);
      const locations = results[0]?.fingerprints.map(({ location }) => location);
      const path = (depth: number): string =>
        ["/app/x.jar", ...inside.slice(0, depth).map((l) => `${l}.jar`)].join("/");
      expect(locations).toEqual([0, ...inside.keys().map((index) => index + 1)].map(path));
      const last = results[0]?.fingerprints.at(-1);
      if (inside.length === 3) expect(last).toMatchObject({ digest: null, ...coordinates("l3") });
    },
  );

  it("takes a war for a container, and names the digests of what is stored or compressed in it", async () => {
    const one = jar(pom("g", "one", "1"));
    const two = jar({ name: "class" });
    const war = jar({ name: "WEB-INF/lib/one.jar", body: one }, {
      name: "WEB-INF/lib/two.jar",
      body: two,
      method: "stored",
      sizes: "descriptor",
    });
    const { results } = await analyze({ "srv/app.war": war });
    expect(results[0]?.fingerprints).toEqual([
      { location: "/srv/app.war/WEB-INF/lib/one.jar", digest: null, dependencies: [], ...coordinates("one") },
      { location: "/srv/app.war/WEB-INF/lib/two.jar", digest: sha1(two), dependencies: [] },
    ]);
  });

  it("names what is broken, and identifies it by sha1 all the same", async () => {
    const cut = jar(pom("g", "a", "1")).slice(0, -30);
    const broken = jar({ name: "lib/in.jar", body: "no zip" }, { ...pom("g", "b", "1"), listedCrc: 1 });
    const { results, problems } = await analyze({ "a.jar": cut, "b.jar": broken });
    expect(results[0]?.fingerprints.map(({ location, digest }) => [location, digest])).toEqual([
      ["/a.jar", sha1(cut)],
      ["/b.jar", sha1(broken)],
      ["/b.jar/lib/in.jar", sha1(new TextEncoder().encode("no zip"))],
    ]);
    expect(problems.map(({ code, subject, message }) => `${code} ${subject}: ${message}`)).toEqual([
      "ANALYSIS_FAILED a.jar: It is no zip archive, or its end is missing",
      "ANALYSIS_FAILED b.jar: The entry META-INF/maven/g/b/pom.properties was not read: its checksum is wrong",
      "ANALYSIS_FAILED b.jar/lib/in.jar: It is no zip archive, or its end is missing",
    ]);
  });

  it("identifies by sha1 what has no bytes, where nothing is hidden", async () => {
    const { results, problems } = await analyze({ "a.jar": "", "b.jar": jar({ name: "lib/in.jar", body: "" }) });
    const empty = sha1(new Uint8Array(0));
    expect(results[0]?.fingerprints).toMatchObject([
      { location: "/a.jar", digest: empty },
      { location: "/b.jar" },
      { location: "/b.jar/lib/in.jar", digest: empty },
    ]);
    expect(problems).toEqual([]);
  });

  it("names an entry that the directory lists and that is not there", async () => {
    const bytes = jar({ name: "a.class", listedName: "lib/in.jar" }, { name: "b.class", listedName: "pom.properties" });
    const { results, problems } = await analyze({ "x.jar": bytes });
    expect(results[0]?.fingerprints).toEqual([{ location: "/x.jar", digest: sha1(bytes), dependencies: [] }]);
    expect(problems.map(({ message }) => message)).toEqual([
      "The entry lib/in.jar was not read: it is not where the directory says",
      "The entry pom.properties was not read: it is not where the directory says",
    ]);
  });

  it("tells ten problems of one archive, and how many more there are", async () => {
    const entries = Array.from({ length: 15 }, (_, at) => ({ name: "a.class", listedName: `${at}.jar` }));
    const { problems } = await analyze({ "x.jar": jar(...entries) });
    expect(problems).toHaveLength(11);
    expect(problems.at(-1)?.message).toBe("5 more problems were found");
  });

  it("passes over the paths that the plugin passes over", async () => {
    const bytes = jar();
    const files = {
      "usr/lib/jvm/a.jar": bytes,
      "srv/usr/lib/b.jar": bytes,
      "root/gradle/cache/c.jar": bytes,
      "d.JAR": bytes,
      "usr/share/java/e.jar": bytes,
    };
    expect((await analyze(files)).results.map(({ path }) => path)).toEqual(["/usr/share/java"]);
    const system = await analyze(files, { includeSystemJars: true });
    expect(system.results.map(({ path }) => path)).toEqual(["/usr/lib/jvm", "/srv/usr/lib", "/usr/share/java"]);
  });
});

/** Facts of a jar that arrives in chunks, with bounds of one's own. */
function factsOf(bytes: Uint8Array, depth: number, limits: Partial<JarLimits> = {}, left = Infinity): JsonValue {
  let spent = 0;
  const context = { inflater: wasmInflaters(), spend: (more: number): boolean => (spent += more) <= left };
  const reader = new JarReader(depth, context, { ...LIMITS, ...limits });
  try {
    for (let at = 0; at < bytes.length; at += 4096) reader.data(bytes.subarray(at, at + 4096));
    return reader.end();
  } finally {
    reader.close();
  }
}

describe("JarReader", () => {
  const zeros = new Uint8Array(64 << 20);

  it.each<readonly [string, Uint8Array, number, Partial<JarLimits>, number, string]>([
    ["a bomb", jar({ name: "a.jar", body: zeros }), 1, {}, Infinity, "expand more than 100 times"],
    ["bombs in a bomb", nest(3, jar({ name: "a.jar", body: zeros })), 9, {}, Infinity, "expand more than 100 times"],
    ["too many entries", jar({ name: "a" }, { name: "b" }), 1, { zipEntries: 3 }, Infinity, "more than 3 entries"],
    ["too many jars", jar({ name: "a.jar" }, { name: "b.jar" }), 1, { zipKeptEntries: 3 }, Infinity, "too many jars"],
    ["long names", jar({ name: `${"a".repeat(99)}.jar` }), 1, { zipKeptChars: 99 }, Infinity, "too many jars"],
    ["what its layer has no room for", jar({ name: "a.jar", body: "x" }), 1, {}, 0, "files of its layer are too large"],
  ])("stops at %s, and says so beside the sha1", (_name, bytes, depth, limits, left, message) => {
    expect(factsOf(bytes, depth, limits, left)).toEqual({
      sha1: sha1(bytes),
      problems: [{ code: "LIMIT_EXCEEDED", message: expect.stringContaining(message) }],
    });
  });

  it("does not take a pom.properties that is too large", () => {
    const bytes = jar({ ...pom("g", "a", "1"), body: "#".repeat(70_000) });
    expect(factsOf(bytes, 1)).toMatchObject({
      problems: [{ message: expect.stringContaining("larger than 65536 bytes") }],
    });
  });

  it("reads twenty levels of jars no deeper than asked for, and no deeper than it may", async () => {
    const bytes = nest(20, jar(pom("g", "deep", "1")));
    const { results } = await analyze({ "x.jar": bytes }, { nestedJarsDepth: 1_000 });
    expect(results[0]?.fingerprints).toHaveLength(1 + LIMITS.archiveDepth);
  });

  it("answers facts for whatever bytes it gets, and they survive JSON", () => {
    const inner = jar(pom("g", "in", "1"), { name: "c", body: "class", sizes: "descriptor" });
    const base = jar(
      { ...pom("g", "a", "1"), sizes: "descriptor" },
      { name: "lib/in.jar", body: inner, sizes: "descriptor" },
      { name: "lib/st.jar", body: inner, method: "stored" },
      { name: "lib/z64.jar", body: inner, sizes: "zip64" },
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 8 }),
        fc.nat(base.length),
        fc.boolean(),
        (changes, end, cut) => {
          const bytes = base.slice(0, cut ? end : base.length);
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const facts = factsOf(bytes, 3);
          expect(facts).toMatchObject({ sha1: sha1(bytes) });
          expect(JSON.parse(JSON.stringify(facts))).toEqual(facts);
        },
      ),
      { numRuns: 500 },
    );
  });
});
