import { describe, expect, it } from "vitest";
import { ANONYMOUS, BEARER, open, REALM, signal } from "../../tests/fakes/scripted_open.ts";
import { type Exchange, ScriptedRegistry } from "../../tests/fakes/scripted_registry.ts";
import { LIMITS } from "../core/limits.ts";
import { buildAttestation, buildImage, buildIndex, sha256Digest } from "../lib/oci_builder.ts";
import { codeOf } from "./registry_suite.ts";

describe("images", () => {
  const image = buildImage({ layers: [{ members: [{ path: "a", content: "a" }] }] });
  const { manifest } = image;
  const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

  function scriptFor(
    body: Uint8Array<ArrayBuffer>,
    headers: Record<string, string> = {},
    more: readonly Exchange[] = [],
  ): ScriptedRegistry {
    return new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body, headers } },
      {
        match: `GET /v2/a/blobs/${manifest.config.digest}`,
        reply: { body: image.blobs.get(manifest.config.digest) ?? new Uint8Array(0) },
      },
      ...more,
    ]);
  }

  it("R4: refuses a manifest that is not what its digest says", async () => {
    const digest = `sha256:${"1".repeat(64)}`;
    const byHeader = scriptFor(json(manifest), { "docker-content-digest": digest });
    expect(await codeOf(open(byHeader, ANONYMOUS).image("a", "1", { signal }))).toBe("INTEGRITY");
    const byReference = new ScriptedRegistry([{
      match: `GET /v2/a/manifests/${digest}`,
      reply: { body: json(manifest) },
    }]);
    expect(await codeOf(open(byReference, ANONYMOUS).image("a", digest, { signal }))).toBe("INTEGRITY");
  });

  it("R4: refuses a configuration with one flipped bit", async () => {
    const bytes = (image.blobs.get(manifest.config.digest) ?? new Uint8Array(0)).slice();
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    const script = new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body: json(manifest) } },
      { match: `GET /v2/a/blobs/${manifest.config.digest}`, reply: { body: bytes } },
    ]);
    expect(await codeOf(open(script, ANONYMOUS).image("a", "1", { signal }))).toBe("INTEGRITY");
  });

  it("R10: refuses a configuration over the limit without fetching it", async () => {
    const script = scriptFor(json({ ...manifest, config: { ...manifest.config, size: LIMITS.configBytes + 1 } }));
    expect(await codeOf(open(script, ANONYMOUS).image("a", "1", { signal }))).toBe("LIMIT_EXCEEDED");
    expect(script.lines).toEqual(["GET /v2/a/manifests/1"]);
  });

  it("R10: names foreign and encrypted layers as problems, keeps foreign ones that the registry has, and the diff IDs in step", async () => {
    const absent = {
      mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
      digest: `sha256:${"2".repeat(64)}`,
      size: 5,
      urls: ["https://mcr.example/x"],
    };
    const present = { ...absent, digest: `sha256:${"3".repeat(64)}` };
    const encrypted = {
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
      digest: `sha256:${"4".repeat(64)}`,
      size: 5,
    };
    const config = json({
      ...image.config,
      rootfs: { type: "layers", diff_ids: ["a", "b", "c", "d"].map((c) => `sha256:${c.repeat(64)}`) },
    });
    const layers = [absent, present, encrypted, ...manifest.layers];
    const built = {
      ...manifest,
      layers,
      config: { ...manifest.config, digest: sha256Digest(config), size: config.length },
    };
    const script = new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body: json(built) } },
      { match: `GET /v2/a/blobs/${sha256Digest(config)}`, reply: { body: config } },
      { match: `HEAD /v2/a/blobs/${absent.digest}`, reply: { status: 404 } },
      { match: `HEAD /v2/a/blobs/${present.digest}`, reply: {} },
    ]);
    const opened = await open(script, ANONYMOUS).image("a", "1", { signal });
    expect(opened.problems.map(({ code, subject }) => [code, subject])).toEqual([["UNSUPPORTED_IMAGE", absent.digest], [
      "UNSUPPORTED_IMAGE",
      encrypted.digest,
    ]]);
    expect(opened.layers.map(({ name, diffId }) => [name, diffId])).toEqual([
      [present.digest, `sha256:${"b".repeat(64)}`],
      [manifest.layers[0]?.digest, `sha256:${"d".repeat(64)}`],
    ]);
    script.assertDone();
  });

  it("R10: follows indexes down to LIMITS.indexDepth", async () => {
    const two = buildIndex([buildIndex([image])]);
    const three = buildIndex([two]);
    const script = new ScriptedRegistry(
      [two, three].flatMap(({ blobs, manifests }) =>
        manifests.map(({ digest }): Exchange => ({
          match: `GET /v2/a/manifests/${digest}`,
          reply: { body: blobs.get(digest) ?? new Uint8Array(0) },
        }))
      ),
    );
    const registry = open(script, ANONYMOUS);
    expect((await registry.resolve("a", two.descriptor.digest, { signal })).digests.manifest).toBe(
      image.descriptor.digest,
    );
    expect(await codeOf(registry.resolve("a", three.descriptor.digest, { signal }))).toBe("LIMIT_EXCEEDED");
  });

  it("R10: refuses an index entry that is an index under a manifest's type, and a configuration that is none", async () => {
    const inner = buildIndex([image]);
    const outer = json({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: [{ ...inner.descriptor, mediaType: manifest.mediaType }],
    });
    const script = new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body: outer } },
      {
        match: `GET /v2/a/manifests/${inner.descriptor.digest}`,
        reply: { body: inner.blobs.get(inner.descriptor.digest) ?? new Uint8Array(0) },
      },
    ]);
    expect(await codeOf(open(script, ANONYMOUS).image("a", "1", { signal }))).toBe("REGISTRY_PROTOCOL");

    const text = json("no object");
    const odd = json({ ...manifest, config: { ...manifest.config, digest: sha256Digest(text), size: text.length } });
    const broken = new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body: odd } },
      { match: `GET /v2/a/blobs/${sha256Digest(text)}`, reply: { body: text } },
    ]);
    expect(await codeOf(open(broken, ANONYMOUS).image("a", "1", { signal }))).toBe("UNSUPPORTED_IMAGE");
  });

  it("says that an attestation cannot be read, instead of leaving it out", async () => {
    const attestation = buildAttestation(image, [{ predicateType: "https://slsa.dev/provenance/v1" }]);
    const index = buildIndex([image, attestation]);
    const [statement] = attestation.manifest.layers;
    const script = new ScriptedRegistry([
      ...index.manifests.map(({ digest }): Exchange => ({
        match: `GET /v2/a/manifests/${digest}`,
        reply: { body: index.blobs.get(digest) ?? new Uint8Array(0) },
      })),
      {
        match: `GET /v2/a/blobs/${manifest.config.digest}`,
        reply: { body: image.blobs.get(manifest.config.digest) ?? new Uint8Array(0) },
      },
      { match: `GET /v2/a/blobs/${statement?.digest}`, reply: { body: new Uint8Array(statement?.size ?? 0) } },
    ]);
    const opened = await open(script, ANONYMOUS).image("a", index.descriptor.digest, { signal });
    expect(await codeOf(opened.attestations(signal))).toBe("INTEGRITY");
  });

  it("R1: repeats what failed for a moment, on every kind of call", async () => {
    const flaky = (
      match: string,
      reply: Exchange["reply"],
    ): readonly Exchange[] => [{ match, reply: { status: 503 }, once: true }, { match, reply, once: true }];
    const config = image.blobs.get(manifest.config.digest) ?? new Uint8Array(0);
    const script = new ScriptedRegistry([
      ...flaky("GET /v2/", { status: 401, headers: { "www-authenticate": BEARER } }),
      ...flaky(`GET ${REALM}`, { body: { token: "t" } }),
      ...flaky("GET /v2/a/manifests/1", { body: json(manifest) }),
      ...flaky(`GET /v2/a/blobs/${manifest.config.digest}`, { body: config }),
    ]);
    expect((await open(script).image("a", "1", { signal })).config).toEqual(image.config);
    script.assertDone();
  });
});
