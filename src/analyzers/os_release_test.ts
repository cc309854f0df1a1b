import { describe, expect, it } from "vitest";
import { viewOf } from "./analyzer_suite.ts";
import { detectOsRelease } from "./os_release.ts";

const CHISEL = "var/lib/chisel/manifest.wall";

function detect(files: Record<string, string>, links: Record<string, string> = {}): string {
  const { name, version, prettyName } = detectOsRelease(viewOf(files, links), { chiselManifest: CHISEL });
  return [name, version, prettyName].join("|");
}

describe("detectOsRelease()", () => {
  it("names scratch by the Dockerfile, when nothing in the image says anything", () => {
    const name = (files: Record<string, string>, baseImage: string): string =>
      detectOsRelease(viewOf(files), { chiselManifest: CHISEL, baseImage }).name;
    expect(name({}, "scratch")).toBe("scratch");
    expect(name({}, "debian:12")).toBe("unknown");
    expect(name({ [CHISEL]: "x" }, "scratch")).toBe("chisel");
    expect(name({ "etc/os-release": "ID=debian\n" }, "scratch")).toBe("debian");
  });

  const rows: readonly [string, string, string][] = [
    ["etc/os-release", 'PRETTY_NAME="Debian 12"\nID=debian\nVERSION_ID="12"\n', "debian|12|Debian 12"],
    ["etc/os-release", "NAME=x\r\nID=alpine\r\nVERSION_ID=3.20.1\r\n", "alpine|3.20.1|"],
    ["etc/os-release", "ID='arch'\n", "'arch'|unstable|"],
    ["etc/os-release", "ID=a\nID=b\nVERSION_ID=1\nVERSION_ID=2\n", "a|1|"],
    ["etc/os-release", "\ufeffID=debian\nVERSION_ID=13\n", "debian|13|"],
    ["etc/os-release", 'ID="ol"\nVERSION_ID="8.9"\n', "oracle|8|"],
    ["etc/os-release", 'ID="sles"\nVERSION_ID="15"\n', "sles|15.0|"],
    ["etc/os-release", 'ID="sles"\nVERSION_ID="15.5"\n', "sles|15.5|"],
    ["etc/os-release", 'ID="rhel"\nVERSION_ID="9.3"\n', "rhel|9.3|"],
    ["usr/lib/os-release", "ID=fedora\nVERSION_ID=41\n", "fedora|41|"],
    ["etc/lsb-release", 'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE="10.04"\n', "ubuntu|10.04|"],
    ["etc/debian_version", "7.11\n", "debian|7|"],
    ["etc/debian_version", "trixie/sid\n", "debian|trixie/sid|"],
    ["etc/alpine-release", "2.6.6\n", "alpine|2.6.6|"],
    ["etc/oracle-release", "Oracle Linux Server release 6.10\n", "oracle|6|"],
    ["etc/redhat-release", "Red Hat Enterprise Linux Server release 7.6 (Maipo)\n", "rhel|7|"],
    ["etc/redhat-release", "CentOS release 6.10 (Final)\n", "centos|6|"],
    ["etc/centos-release", "CentOS Linux release 8.3.2011\n", "centos|8|"],
  ];
  it.each(rows)("reads %s %j as %s", (path, text, expected) => {
    expect(detect({ [path]: text })).toBe(expected);
  });

  it("goes on to the next file when one cannot be parsed or is empty", () => {
    expect(detect({ "etc/os-release": "NAME=x\n", "etc/debian_version": "12.5\n" })).toBe("debian|12|");
    expect(detect({ "etc/os-release": "", "etc/lsb-release": "DISTRIB_ID=A\nDISTRIB_RELEASE=1\n" })).toBe("a|1|");
  });

  it("takes the earlier file when several can be parsed", () => {
    const files = { "etc/alpine-release": "3.1.0", "etc/debian_version": "9.1", "etc/redhat-release": "A 1.2" };
    expect(detect(files)).toBe("debian|9|");
  });

  it("follows a symbolic link", () => {
    const links = { "etc/os-release": "opt/os-release" };
    expect(detect({ "opt/os-release": "ID=x\nVERSION_ID=1\n" }, links)).toBe("x|1|");
  });

  it("says chisel or unknown when there is no release file", () => {
    expect(detect({})).toBe("unknown|0.0|");
    expect(detect({ [CHISEL]: "x" })).toBe("chisel|0.0|");
  });

  it.each([
    ["etc/os-release", "NAME=x\n"],
    ["etc/debian_version", "9\n"],
    ["etc/redhat-release", "CentOS Stream release 9\n"],
  ])("fails when %s is %j and nothing else is there", (path, text) => {
    expect(() => detect({ [path]: text })).toThrow(`Failed to detect OS release: none of ${path} names`);
  });

  it("refuses a name that is too long for the purl of every package", () => {
    const files = { "etc/os-release": `ID=${"x".repeat(300)}\n`, "etc/alpine-release": "3.1.0" };
    expect(detect(files)).toBe("alpine|3.1.0|");
  });

  it("takes linear time over digits without a dot", () => {
    expect(() => detect({ "etc/redhat-release": "1".repeat(4_000_000) })).toThrow("Failed to detect OS release");
  });
});
