import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { rpmHeader, rpmTags } from "./analyzer_suite.ts";
import { parseRpmHeader, rpmVersion } from "./rpm_header.ts";

describe("parseRpmHeader()", () => {
  it("reads name, version, release, epoch, module and source package", () => {
    const tags = [...rpmTags("nodejs", "18.1", "2.el9"), [1003, 4, 1], [5096, 6, "nodejs:18:9:ctx"]] as const;
    const header = parseRpmHeader(rpmHeader(tags));
    expect(header).toEqual({
      name: "nodejs",
      version: "18.1",
      release: "2.el9",
      epoch: 1,
      module: "nodejs:18:9:ctx",
      sourceRpm: "nodejs-18.1-2.el9.src.rpm",
    });
    expect(rpmVersion(header)).toBe("1:18.1-2.el9");
  });

  it("reads the last entry of the index too", () => {
    expect(parseRpmHeader(rpmHeader([...rpmTags("a").slice(0, 3), [5096, 6, "m:s:v:c"]])).module).toBe("m:s:v:c");
  });

  it("needs no SIZE: packages above 4 GiB have LONGSIZE instead", () => {
    expect(rpmVersion(parseRpmHeader(rpmHeader(rpmTags("a").slice(0, 3))))).toBe("1.0-1.el9");
  });

  it("does not write an epoch of 0, but knows it", () => {
    const header = parseRpmHeader(rpmHeader([...rpmTags("a"), [1003, 4, 0]]));
    expect([header.epoch, rpmVersion(header)]).toEqual([0, "1.0-1.el9"]);
  });

  const good = rpmHeader(rpmTags("a"));
  const patched = (at: number, value: number): Uint8Array => {
    const bytes = good.slice();
    new DataView(bytes.buffer).setInt32(at, value);
    return bytes;
  };
  const bad: readonly [string, Uint8Array, string][] = [
    ["nothing", new Uint8Array(0), "it is too short"],
    ["no entries", patched(0, 0), "it claims 0 index entries"],
    ["a negative count", patched(0, -1), "it claims -1 index entries"],
    ["too many entries", patched(0, 50_001), "it claims 50001 index entries"],
    ["an index that is cut off", good.subarray(0, 40), "its index is cut off"],
    ["an offset outside", patched(16, 1_000_000), "the value of tag 1000 lies outside"],
    ["a negative offset", patched(16, -1), "the value of tag 1000 lies outside"],
    ["a name of another type", patched(12, 8), "name has type 8"],
    ["no name", patched(8, 999), "name, version or release is missing"],
    ["a text without end", rpmHeader(rpmTags("a").slice(0, 3)).slice(0, -1), "release has no end"],
    ["an epoch of another type", rpmHeader([...rpmTags("a"), [1003, 6, "1"]]), "epoch has type 6"],
  ];
  it.each(bad)("refuses %s", (_name, blob, why) => {
    expect(() => parseRpmHeader(blob)).toThrow(`Cannot read the rpm header: ${why}`);
  });

  it("refuses or reads mutated headers, and nothing else", () => {
    const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), fc.nat(good.length), (changes, cut) => {
        const blob = good.slice(0, cut % 3 === 0 ? cut : good.length);
        for (const [at, byte] of changes) if (at < blob.length) blob[at] = byte;
        try {
          return parseRpmHeader(blob).name !== "";
        } catch (error) {
          return error instanceof OutpostError;
        }
      }),
      { numRuns: 5000 },
    );
  });
});
