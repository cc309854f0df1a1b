import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { buildImage, buildIndex, sha256Digest } from "../lib/oci_builder.ts";
import { assertImage, digestOf, MANIFEST_TYPES, parseManifest, verifyContent } from "./manifest.ts";

const [OCI_INDEX, DOCKER_LIST, OCI_IMAGE, DOCKER_IMAGE] = MANIFEST_TYPES;
const image = buildImage({ layers: [{ members: [{ path: "a", content: "a" }] }] });
const { manifest } = image;

function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "no error";
  } catch (error) {
    return error instanceof OutpostError ? error.code : String(error);
  }
}

describe("parseManifest()", () => {
  const { mediaType: _own, ...untyped } = manifest;
  const { mediaType: _list, ...untypedIndex } = buildIndex([image]).index;

  it.each<readonly [string, unknown, string | null, "image" | "index", string]>([
    ["OCI image", manifest, null, "image", OCI_IMAGE],
    ["Docker image", { ...manifest, mediaType: DOCKER_IMAGE }, null, "image", DOCKER_IMAGE],
    ["Docker list", { ...untypedIndex, mediaType: DOCKER_LIST }, null, "index", DOCKER_LIST],
    ["body before header", manifest, DOCKER_LIST, "image", OCI_IMAGE],
    ["header with parameters", untyped, `${OCI_IMAGE.toUpperCase()}; charset=utf-8`, "image", OCI_IMAGE],
    ["image without any type", untyped, null, "image", OCI_IMAGE],
    ["image as plain JSON", untyped, "application/json", "image", OCI_IMAGE],
    ["index without any type", untypedIndex, "text/plain", "index", OCI_INDEX],
    ["index by header", untypedIndex, OCI_INDEX, "index", OCI_INDEX],
  ])("reads an %s", (_, value, header, kind, mediaType) => {
    expect(parseManifest(encode(value), header, "a:1")).toMatchObject({ kind, mediaType });
  });

  it("keeps what descriptors say, and drops what is no text", () => {
    const descriptor = {
      ...manifest.config,
      platform: { os: "linux", architecture: "arm", variant: "v7", "os.version": "1" },
      annotations: { a: "b", c: 5 },
      urls: ["https://u.example/x", 7],
    };
    const parsed = parseManifest(encode({ ...manifest, layers: [descriptor], annotations: null }), null, "a:1");
    expect(parsed.kind === "image" ? parsed.manifest.layers : []).toEqual([{
      mediaType: manifest.config.mediaType,
      digest: manifest.config.digest,
      size: manifest.config.size,
      platform: { os: "linux", architecture: "arm", variant: "v7" },
      annotations: { a: "b" },
      urls: ["https://u.example/x"],
    }]);
  });

  it("takes null and no layers", () => {
    expect(parseManifest(encode({ ...manifest, layers: null }), null, "a:1")).toMatchObject({
      manifest: { layers: [] },
    });
    expect(parseManifest(encode({ ...manifest, layers: [] }), null, "a:1")).toMatchObject({ manifest: { layers: [] } });
  });

  it("takes sha512 digests", () => {
    const digest = `sha512:${"a".repeat(128)}`;
    expect(parseManifest(encode({ ...manifest, layers: [{ ...manifest.config, digest }] }), null, "a:1")).toMatchObject(
      {
        manifest: { layers: [{ digest }] },
      },
    );
  });

  it.each<readonly [string, unknown, string | null, string]>([
    [
      "schema 1",
      { schemaVersion: 1, fsLayers: [] },
      "application/vnd.docker.distribution.manifest.v1+prettyjws",
      "UNSUPPORTED_IMAGE",
    ],
    ["schema 1 under another type", { schemaVersion: 1, fsLayers: [] }, "application/json", "UNSUPPORTED_IMAGE"],
    ["an unknown type", { mediaType: "application/vnd.example+json", layers: [] }, null, "UNSUPPORTED_IMAGE"],
    ["no JSON", "<html>", null, "REGISTRY_PROTOCOL"],
    ["an array", [], null, "REGISTRY_PROTOCOL"],
    [
      "a digest that cannot be checked",
      { ...manifest, config: { ...manifest.config, digest: "md5:abc" } },
      null,
      "REGISTRY_PROTOCOL",
    ],
    [
      "a digest with a path",
      { ...manifest, layers: [{ ...manifest.config, digest: "sha256:../../x" }] },
      null,
      "REGISTRY_PROTOCOL",
    ],
    ["a negative size", { ...manifest, config: { ...manifest.config, size: -1 } }, null, "REGISTRY_PROTOCOL"],
    ["a size as text", { ...manifest, config: { ...manifest.config, size: "1" } }, null, "REGISTRY_PROTOCOL"],
    ["no configuration", { mediaType: OCI_IMAGE, layers: [] }, null, "REGISTRY_PROTOCOL"],
    ["layers that are none", { ...manifest, layers: { a: 1 } }, null, "REGISTRY_PROTOCOL"],
    ["nesting", `${"[".repeat(100)}${"]".repeat(100)}`, null, "REGISTRY_PROTOCOL"],
  ])("R10: refuses %s", (_, value, header, code) => {
    expect(codeOf(() => parseManifest(encode(value), header, "a:1"))).toBe(code);
  });

  it("R10: bounds the number of layers", () => {
    const many = (length: number): unknown => ({ ...manifest, layers: Array.from({ length }, () => manifest.config) });
    expect(codeOf(() => parseManifest(encode(many(LIMITS.layersPerImage)), null, "a:1"))).toBe("no error");
    expect(codeOf(() => parseManifest(encode(many(LIMITS.layersPerImage + 1)), null, "a:1"))).toBe("LIMIT_EXCEEDED");
  });
});

describe("assertImage()", () => {
  it("refuses what is kept under the same types but is no image", () => {
    const chart = {
      ...manifest,
      config: { ...manifest.config, mediaType: "application/vnd.cncf.helm.config.v1+json" },
    };
    expect(codeOf(() => assertImage(chart, "a:1"))).toBe("UNSUPPORTED_IMAGE");
    expect(codeOf(() => assertImage(manifest, "a:1"))).toBe("no error");
  });
});

describe("verifyContent()", () => {
  const bytes = encode("content");
  const digest = sha256Digest(bytes);

  it("takes what fits, and refuses a flipped bit and another size", () => {
    expect(codeOf(() => verifyContent(bytes, { digest, size: bytes.length }, "x"))).toBe("no error");
    expect(codeOf(() => verifyContent(bytes, { digest, size: bytes.length + 1 }, "x"))).toBe("INTEGRITY");
    const flipped = bytes.slice();
    flipped[3] = (flipped[3] ?? 0) ^ 1;
    expect(codeOf(() => verifyContent(flipped, { digest }, "x"))).toBe("INTEGRITY");
  });

  it("checks with the digest's own algorithm", () => {
    const long = digestOf(bytes, "sha512:");
    expect(long).toMatch(/^sha512:[0-9a-f]{128}$/);
    expect(codeOf(() => verifyContent(bytes, { digest: long }, "x"))).toBe("no error");
  });
});
