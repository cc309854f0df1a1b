import { describe, expect, it } from "vitest";
import { debPurl, rpmPurl } from "./purl.ts";

const release = (name: string, version: string): { name: string; version: string; prettyName: string } => ({
  name,
  version,
  prettyName: "",
});

describe("debPurl()", () => {
  const parts = { name: "libc++", version: "1:4.13+dfsg~1", source: "", sourceVersion: "" };
  it("encodes as packageurl-js 1.2.0 does", () => {
    expect(debPurl(parts, release("debian", "trixie/sid"))).toBe(
      "pkg:deb/debian/libc%2B%2B@1:4.13%2Bdfsg~1?distro=debian-trixie/sid",
    );
  });
  it("applies Debian's code names to every distribution", () => {
    expect(debPurl(parts, release("oracle", "9"))).toContain("?distro=oracle-stretch");
    expect(debPurl(parts, release("debian", "unstable"))).toContain("?distro=debian-sid");
    expect(debPurl(parts, release("debian", "constructor"))).toContain("?distro=debian-constructor");
  });
  it("is undefined without a name or a version", () => {
    expect(debPurl({ ...parts, name: "" }, release("debian", "12"))).toBeUndefined();
    expect(debPurl({ ...parts, version: "" }, release("debian", "12"))).toBeUndefined();
  });
});

describe("rpmPurl()", () => {
  const parts = {
    name: "nodejs",
    version: "1:18-2.el9",
    epoch: 1,
    module: "nodejs:18:9030:rhel9",
    sourceRpm: "n-18-2.src.rpm",
  };
  it("sorts all qualifiers", () => {
    expect(rpmPurl(parts, "a,b", release("rhel", "9.3"))).toBe(
      "pkg:rpm/rhel/nodejs@1:18-2.el9?distro=rhel-9.3&epoch=1&module=nodejs%3A18&repositories=a%2Cb&upstream=n%4018-2",
    );
  });
  it("keeps an epoch of 0 and leaves out what is not known", () => {
    const bare = { name: "a", version: "1-1", epoch: 0, module: "label-without-stream", sourceRpm: "" };
    expect(rpmPurl(bare, "", release("x", "1"))).toBe("pkg:rpm/x/a@1-1?distro=x-1&epoch=0");
  });
  it.each(["a-1-1.rpm", "a.src.rpm", "-1-1.src.rpm", "a--1.src.rpm", "a-1-.src.rpm", "(none)"])(
    "has no upstream for %s",
    (sourceRpm) => {
      expect(rpmPurl({ ...parts, sourceRpm }, "", release("x", "1"))).not.toContain("upstream");
    },
  );
});
