import { zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { analyzerSuite, analyzeWith, viewOf } from "./analyzer_suite.ts";
import { CHISEL, CHISEL_MANIFEST } from "./chisel.ts";

const LIBC = '{"kind":"package","name":"libc6","version":"2.39-0ubuntu8.3","sha256":"cd","arch":"amd64"}';
const SSL = '{"sha256":"ef","kind":"package","version":"3.0.13-0ubuntu3.4","arch":"amd64","name":"libssl3t64"}';
const MANIFEST = [
  '{"jsonwall":"1.0","schema":"1.0","count":7}',
  '{"kind":"content","slice":"libc6_libs","path":"/usr/share/package"}',
  LIBC,
  SSL,
  '{"kind":"package","name":"no-version","sha256":"ab","arch":"amd64"}',
  '{"kind":"package","name":"no-digest","version":"1"}',
  "not JSON",
  '{"kind":"slice","name":"package"}',
  "",
].join("\n");
const PACKAGES = [
  { name: "libc6", version: "2.39-0ubuntu8.3", provides: [], depends: [] },
  { name: "libssl3t64", version: "3.0.13-0ubuntu3.4" },
];

const zstd = (text: string): Uint8Array => zstdCompressSync(new TextEncoder().encode(text));
const analyze = (content: string | Uint8Array) => analyzeWith(CHISEL, viewOf({ [CHISEL_MANIFEST]: content }));

describe("chisel", () => {
  analyzerSuite(CHISEL, "deb", [
    { name: "a manifest", files: { [CHISEL_MANIFEST]: zstd(MANIFEST) }, database: CHISEL_MANIFEST, packages: PACKAGES },
    {
      name: "one without compression",
      files: { [CHISEL_MANIFEST]: MANIFEST },
      database: CHISEL_MANIFEST,
      packages: PACKAGES,
    },
  ]);

  it("finds nothing where there is no manifest, no package, or nothing in it", () => {
    const nothing = { result: undefined, problems: [] };
    expect(analyzeWith(CHISEL, viewOf({}))).toEqual(nothing);
    expect(analyze("")).toEqual(nothing);
    expect(analyze(zstd('{"jsonwall":"1.0"}\n'))).toEqual(nothing);
  });

  it("reports a manifest that cannot be decoded, and one that expands too far", () => {
    const cut = zstd(MANIFEST).subarray(0, 50);
    expect(analyze(cut)).toEqual({
      result: undefined,
      problems: [{
        code: "ANALYSIS_FAILED",
        subject: CHISEL_MANIFEST,
        message: `Cannot read ${CHISEL_MANIFEST}: Cannot decode the Zstandard data: it is cut off`,
      }],
    });
    const bomb = zstdCompressSync(new Uint8Array(LIMITS.chiselManifestBytes + 1));
    expect(analyze(bomb).problems).toMatchObject([{ code: "LIMIT_EXCEEDED", subject: CHISEL_MANIFEST }]);
  });

  it.each(["RpmP", "null\n[]\n", "\n"])("reports %j, which is no manifest", (text) => {
    expect(analyze(text).problems).toMatchObject([{ code: "ANALYSIS_FAILED", subject: CHISEL_MANIFEST }]);
    expect(analyze(zstd(text)).problems).toHaveLength(1);
  });

  it.each([['{"kind":"package","name":"x"', 2], ['{"kind":"package" "name"}', 2]])(
    "reports the broken object %s and keeps the others",
    (line, number) => {
      const { result, problems } = analyze(zstd([LIBC, line, SSL].join("\n")));
      expect(result?.packages.map((found) => found.name)).toEqual(["libc6", "libssl3t64"]);
      expect(problems).toMatchObject([{
        code: "ANALYSIS_FAILED",
        message: expect.stringContaining(`line ${number} is`),
      }]);
    },
  );

  it("stops at the limits, and says so", () => {
    const many = Array.from({ length: LIMITS.osPackages + 1 }, (_, at) => LIBC.replace("libc6", `p${at}`)).join("\n");
    const { result, problems } = analyze(zstd(many));
    expect(result?.packages).toHaveLength(LIMITS.osPackages);
    expect(problems).toMatchObject([{ code: "LIMIT_EXCEEDED" }]);
    const long = analyze(zstd(`{"kind":"package","name":"${"x".repeat(LIMITS.packageFieldBytes)}"}\n${LIBC}`));
    expect(long.result?.packages).toHaveLength(1);
    expect(long.problems).toMatchObject([{ code: "ANALYSIS_FAILED" }]);
  });
});
