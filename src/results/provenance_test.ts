import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AttestationStatement } from "../core/types.ts";
import { provenanceMetadata } from "./provenance.ts";

const V02 = "https://slsa.dev/provenance/v0.2";
const V1 = "https://slsa.dev/provenance/v1";

function attestation(statement: unknown, more: Partial<AttestationStatement> = {}): AttestationStatement {
  return {
    attestedDigest: "sha256:image",
    manifestDigest: "sha256:manifest",
    layerDigest: "sha256:layer",
    predicateType: "",
    statement,
    ...more,
  };
}

const V02_REMOTE = {
  predicateType: V02,
  predicate: {
    builder: { id: "https://builder" },
    buildType: "https://mobyproject.org/buildkit@v1",
    invocation: {
      configSource: {
        uri: "https://git/x.git",
        digest: { sha1: "abc", sha256: "def" },
        entryPoint: "docker/Dockerfile",
      },
    },
    metadata: {
      buildStartedOn: "2024-05-01T00:00:00Z",
      "https://mobyproject.org/buildkit@v1#metadata": {
        vcs: { source: "local-source", revision: "local-revision" },
        source: {
          infos: [{ filename: "Dockerfile", data: "AAAA" }, { filename: "docker/Dockerfile", data: "RlJPTQ==" }],
        },
      },
    },
  },
};

const V1_LOCAL = {
  predicateType: V1,
  predicate: {
    buildDefinition: { buildType: "t", externalParameters: { configSource: { path: "Dockerfile" } } },
    runDetails: {
      builder: { id: "b" },
      metadata: {
        startedOn: "now",
        buildkit_metadata: {
          vcs: { source: "git@x", revision: "r1" },
          source: { infos: [{ filename: "Dockerfile" }] },
        },
      },
    },
  },
};

describe("provenanceMetadata()", () => {
  it("reads SLSA 0.2: the remote commit before the local one", () => {
    expect(provenanceMetadata([attestation(V02_REMOTE)])).toEqual([{
      buildTimestamp: "2024-05-01T00:00:00Z",
      buildConfigDigest: "sha1:abc",
      buildConfigDigestSource: "remote",
      attestedManifestDigest: "sha256:image",
      attestationManifestDigest: "sha256:manifest",
      buildConfigSourceUri: "https://git/x.git",
      builderId: "https://builder",
      buildType: "https://mobyproject.org/buildkit@v1",
      dockerfileMetadata: { name: "docker/Dockerfile", contents: "RlJPTQ==" },
    }]);
  });

  it("reads SLSA 1: the local revision when there is no remote one", () => {
    expect(provenanceMetadata([attestation(V1_LOCAL)])).toEqual([{
      buildTimestamp: "now",
      buildConfigDigest: "r1",
      buildConfigDigestSource: "local",
      attestedManifestDigest: "sha256:image",
      attestationManifestDigest: "sha256:manifest",
      buildConfigSourceUri: "git@x",
      builderId: "b",
      buildType: "t",
      dockerfileMetadata: { name: "Dockerfile", contents: null },
    }]);
  });

  it("fills in what a statement does not say", () => {
    expect(provenanceMetadata([attestation({ predicateType: V1, predicate: {} })])).toEqual([{
      buildTimestamp: null,
      buildConfigDigest: null,
      buildConfigDigestSource: null,
      attestedManifestDigest: "sha256:image",
      attestationManifestDigest: "sha256:manifest",
      buildConfigSourceUri: null,
      builderId: "",
      buildType: "",
      dockerfileMetadata: { name: "Dockerfile", contents: null },
    }]);
  });

  it("takes the attested digest from the subject when the manifest does not name it", () => {
    const subject = [{ digest: { sha256: "ff" } }];
    const [item] = provenanceMetadata([attestation({ ...V1_LOCAL, subject }, { attestedDigest: "" })]);
    expect(item?.attestedManifestDigest).toBe("sha256:ff");
    expect(provenanceMetadata([attestation(V1_LOCAL, { attestedDigest: "" })])).toEqual([]);
  });

  it.each<readonly [string, unknown]>([
    ["an SBOM", { predicateType: "https://spdx.dev/Document", predicate: {} }],
    ["another version of SLSA", { predicateType: "https://slsa.dev/provenance/v0.1", predicate: {} }],
    ["a property of every object as predicate type", { predicateType: "constructor", predicate: {} }],
    ["a statement without predicate", { predicateType: V1 }],
    ["null", null],
    ["text", "x"],
  ])("leaves out %s", (_name, statement) => {
    expect(provenanceMetadata([attestation(statement)])).toEqual([]);
  });

  it("orders by manifest, then layer, and keeps ten", () => {
    const all = Array.from(
      { length: 12 },
      (_, i) =>
        attestation(V1_LOCAL, {
          manifestDigest: `sha256:${(i * 5) % 4}`,
          layerDigest: `sha256:${String(i).padStart(2, "0")}`,
        }),
    );
    const order = provenanceMetadata(all).map((item) => item.attestationManifestDigest);
    expect(order).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2, 3].map((n) => `sha256:${n}`));
  });

  it("orders the layers of one manifest by digest", () => {
    const of = (layerDigest: string): AttestationStatement =>
      attestation({ predicateType: V1, predicate: { buildDefinition: { buildType: layerDigest } } }, { layerDigest });
    const types = provenanceMetadata([of("sha256:2"), of("sha256:1"), of("sha256:3")]).map((item) => item.buildType);
    expect(types).toEqual(["sha256:1", "sha256:2", "sha256:3"]);
  });

  it("survives any JSON", () => {
    const key = fc.constantFrom("predicate", "subject", "metadata", "digest", "invocation", "configSource", "0", "x");
    fc.assert(
      fc.property(fc.jsonValue(), fc.dictionary(key, fc.jsonValue()), (value, predicate) => {
        for (const predicateType of [V02, V1]) {
          const made = provenanceMetadata([
            attestation({ predicateType, predicate: value, subject: value }, { attestedDigest: "" }),
            attestation({ predicateType, predicate }),
          ]);
          expect(made.length).toBeGreaterThan(0);
        }
      }),
      { seed: 5 },
    );
  });
});
