import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import type { ImageDigests } from "../core/types.ts";
import { imageNames, ociDistributionMetadata, rootPackage } from "./image_names.ts";

const A = `sha256:${"a".repeat(64)}` as const;
const B = `sha256:${"b".repeat(64)}` as const;
const C = `sha512:${"c".repeat(128)}` as const;

describe("rootPackage()", () => {
  it.each<readonly [string, string, string | undefined]>([
    ["debian", "debian", "latest"],
    ["debian:12", "debian", "12"],
    ["reg.example:5000/team/app:1.2", "reg.example:5000/team/app", "1.2"],
    ["reg.example:5000/team/app", "reg.example", "5000/team/app"],
    [`team/app@${A}`, "team/app", undefined],
    [`team/app:1@${A}`, "team/app:1", undefined],
    ["image.tar", "image.tar", undefined],
    ["image.tar:1", "image.tar", undefined],
    ["app:", "app", undefined],
    ["", "", "latest"],
  ])("names %s", (text, name, version) => {
    expect(rootPackage(text)).toEqual({
      name: `docker-image|${name}`,
      ...(version === undefined ? {} : { version }),
    });
  });
});

describe("imageNames()", () => {
  it.each<readonly [string, ImageDigests, string[]]>([
    ["app", {}, ["app:latest"]],
    ["reg.example:5000/team/app:1", {}, ["reg.example:5000/team/app:1"]],
    ["app:1", { manifest: A, index: B }, ["app:1", `app@${A}`, `app@${B}`]],
    [`app@${A}`, {}, [`app@${A}`]],
    // The digest in the name is not compared with those that are known: the plugin repeats it too.
    [`app:1@${A}`, { manifest: A }, ["app:1", `app@${A}`, `app@${A}`]],
    ["Team/App", {}, ["Team/App:latest"]],
    [`app@sha384:${"d".repeat(96)}`, {}, [`app@sha384:${"d".repeat(96)}`]],
    [`${"x".repeat(255)}:1`, {}, [`${"x".repeat(255)}:1`]],
  ])("lists those of %s", (text, digests, names) => {
    expect(imageNames(text, digests)).toEqual(names);
  });

  it.each([
    ["", "it is empty"],
    ["my app", "grammar"],
    ["app:", "grammar"],
    [`app:${"t".repeat(129)}`, "grammar"],
    ["a//b", "grammar"],
    ["a___b", "grammar"],
    ["x".repeat(256), "longer than 255 characters"],
    [`app@md5:${"0".repeat(32)}`, "unknown algorithm"],
    [`app@toString:${"0".repeat(64)}`, "unknown algorithm"],
    [`app@sha256:${"0".repeat(63)}`, "63 digits instead of 64"],
    [`app@sha256:${"A".repeat(64)}`, "upper-case digits"],
  ])("refuses %s", (text, why) => {
    let thrown: unknown;
    try {
      imageNames(text, {});
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(OutpostError);
    expect(thrown).toMatchObject({ code: "REFERENCE_INVALID", message: expect.stringContaining(why) });
  });

  it("refuses a hostile name without long backtracking", () => {
    // snyk-docker-plugin's own expression does not finish on this one.
    expect(() => imageNames(`${"a".repeat(500)}/${"a-".repeat(200)}!`, {})).toThrow("grammar");
  });
});

describe("ociDistributionMetadata()", () => {
  it.each<readonly [string, string, string, string | undefined]>([
    ["debian", "docker.io", "library/debian", undefined],
    ["index.docker.io/debian:12", "docker.io", "library/debian", "12"],
    ["team/app:1", "docker.io", "team/app", "1"],
    ["localhost/app", "localhost", "app", undefined],
    ["reg.example:5000/a/b:2", "reg.example:5000", "a/b", "2"],
    [`REG.example/a@${B}`, "REG.example", "a", undefined],
  ])("takes %s apart", (text, registryHost, repository, imageTag) => {
    const base = { registryHost, repository, manifestDigest: A };
    const tag = imageTag === undefined ? {} : { imageTag };
    expect(ociDistributionMetadata(text, { manifest: A })).toEqual({ ...base, ...tag });
    expect(ociDistributionMetadata(text, { manifest: A, index: B })).toEqual({ ...base, indexDigest: B, ...tag });
  });

  it.each<readonly [string, string, ImageDigests]>([
    ["no manifest digest is known", "app:1", { index: A }],
    ["the manifest digest is not SHA-256", "app:1", { manifest: C }],
    ["the index digest is not SHA-256", "app:1", { manifest: A, index: C }],
    ["the name has upper case", "Team/App:1", { manifest: A }],
    ["the host is none", "my_host.x/app:1", { manifest: A }],
    ["the name is a digest", A, { manifest: A }],
    ["the name is an identifier", "a".repeat(64), { manifest: A }],
    ["the name is too long with its host", "x".repeat(250), { manifest: A }],
    ["the digest in the name is none", `app@md5:${"0".repeat(32)}`, { manifest: A }],
  ])("is nothing when %s", (_why, text, digests) => {
    expect(ociDistributionMetadata(text, digests)).toBeUndefined();
  });
});
