import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { findApplications, type TestFiles } from "./analyzer_suite.ts";
import { javaVersion, RUNTIMES } from "./runtimes.ts";

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

async function factsOf(files: TestFiles): Promise<Record<string, unknown>> {
  const { imageFacts, results, problems } = await findApplications(RUNTIMES, files, { excludeAppVulns: true });
  expect([results, problems]).toEqual([[], []]);
  return Object.fromEntries(imageFacts.map(({ type, data }) => [type, data]));
}

describe("RUNTIMES", () => {
  it("finds nothing in an image without runtimes", async () => {
    expect(await factsOf({ "usr/bin/nodejs": "x", "usr/lib/release": 'JAVA_VERSION="1"' })).toEqual({});
  });

  it("gives the digest of each file whose path ends in node or java, once, of empty files too", async () => {
    const files = {
      "usr/bin/node": "n",
      "opt/addon.node": "a",
      "srv/copy/node": "n",
      "opt/libjava": "",
      "bin/javac": "c",
    };
    expect(await factsOf(files)).toEqual({ keyBinariesHashes: [sha256("n"), sha256("a"), sha256("")] });
  });

  it("is wanted without applications too", () => {
    expect(RUNTIMES.enabled?.({ excludeAppVulns: true })).toBe(true);
  });

  const places = [
    "opt/java/openjdk/release",
    "usr/local/openjdk-17/release",
    "usr/local/openjdk-17/jre/release",
    "usr/lib/jvm/java-17-openjdk-amd64/release",
    "usr/java/latest/release",
  ];
  for (const path of places) {
    it(`finds Java by /${path}`, async () => {
      const files = { [path]: 'IMPLEMENTOR="x"\nJAVA_VERSION="17.0.1"\n' };
      expect(await factsOf(files)).toEqual({ baseRuntimes: [{ type: "java", version: "17.0.1" }] });
    });
  }
});

describe("javaVersion", () => {
  const rows: readonly [text: string, version: string | undefined][] = [
    ['JAVA_VERSION="1.8.0_352"', "1.8.0_352"],
    ["JAVA_VERSION='21'", "21"],
    ["  JAVA_VERSION = 11.0.2+9 # comment", "11.0.2+9"],
    ["JAVA_VERSION=17\r\nOS=x", "17"],
    ['JAVA_VERSION="17"\nJAVA_VERSION="21"', undefined],
    ['JAVA_VERSION=""', undefined],
    ['JAVA_VERSION="17..1"', undefined],
    ['JAVA_VERSION="latest"', undefined],
    ['JAVA_VERSION="17-"', undefined],
    ["", undefined],
  ];
  for (const [text, version] of rows) {
    it(`reads ${JSON.stringify(text)} as ${version}`, () => expect(javaVersion(text)).toBe(version));
  }
});
