/**
 * What every registry type must do, whatever server is behind it. A test file names the server and runs this suite.
 *
 * @module
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import type { LayerHandle, Registry, RegistryCredentials } from "../core/ports.ts";
import type { TagInfo } from "../core/types.ts";
import { readSource } from "../lib/byte_sources.ts";
import { buildAttestation, buildImage, buildIndex, type BuiltContent, sha256Digest } from "../lib/oci_builder.ts";

/** A registry server and the ways to fill and open it. */
export interface RegistrySubject {
  /** Puts content into a repository, under the tags. */
  upload(repository: string, tags: readonly string[], content: BuiltContent): Promise<void>;
  /** Gives an uploaded image further tags. */
  tag(repository: string, tags: readonly string[], content: BuiltContent): Promise<void>;
  /** Opens it, by default with the right credentials; `overrides` replaces some of them. */
  open(overrides?: Partial<RegistryCredentials>): Registry;
  /** Whether it asks for a login. */
  readonly needsLogin: boolean;
  stop(): Promise<void>;
}

const member = (path: string, content: string): { path: string; content: string } => ({ path, content });

const docker = buildImage({ layers: [{ members: [member("etc/a", "1")] }], mediaTypes: "docker" });
const amd64 = buildImage({
  layers: [
    { members: [member("etc/os-release", "ID=test\n")] },
    { members: [member("big", "x".repeat(300_000) + "y")], compression: "none" },
    { members: [member("etc/b", "2")], compression: "zstd" },
  ],
});
const arm64 = buildImage({
  layers: [{ members: [member("etc/c", "3")] }],
  platform: { os: "linux", architecture: "arm64", variant: "v8" },
});
const attestation = buildAttestation(amd64, [
  { predicateType: "https://spdx.dev/Document" },
  { predicateType: "https://slsa.dev/provenance/v1" },
]);
const index = buildIndex([amd64, arm64, attestation]);
const nested = buildIndex([buildIndex([arm64]), amd64]);
const TAGS = Array.from({ length: 120 }, (_, at) => `v${at}`);
const REPOSITORIES = ["suite/app", "suite/many", "suite/nested", "suite/deep/er/name"];

/** Collects what pages bring. */
export async function collect<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const page of pages) all.push(...page);
  return all;
}

/** The code of the error that a promise rejects with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => "no error", (error) => error instanceof OutpostError ? error.code : String(error));
}

/** Runs the suite on a server that `start` gives. */
export function registrySuite(
  name: string,
  start: () => Promise<RegistrySubject>,
  options: { skip?: boolean } = {},
): void {
  describe.skipIf(options.skip === true)(`registry suite: ${name}`, () => {
    let subject: RegistrySubject;
    let registry: Registry;
    const signal = new AbortController().signal;

    beforeAll(async () => {
      subject = await start();
      await subject.upload("suite/app", ["1.0", "docker"], docker);
      await subject.upload("suite/app", ["multi"], index);
      await subject.upload("suite/nested", ["1"], nested);
      await subject.upload("suite/deep/er/name", ["only"], amd64);
      await subject.upload("suite/many", ["v0"], arm64);
      await subject.tag("suite/many", TAGS.slice(1), arm64);
      registry = subject.open();
    });
    afterAll(() => subject.stop());

    it("validates", async () => {
      const report = await registry.validate(signal);
      expect(report.steps.filter((step) => !step.ok)).toEqual([]);
      expect(report).toMatchObject({ ok: true, status: 200 });
      expect(report.steps.map(({ step }) => step)).toEqual(
        expect.arrayContaining(["dns", "tcp", "api", "login", "list"]),
      );
    });

    it("says that a password is wrong", async () => {
      if (!subject.needsLogin) return;
      const report = await subject.open({ password: "canary-wrong-password" }).validate(signal);
      expect(report).toMatchObject({ ok: false, status: 401, code: "BAD_CREDENTIALS" });
      expect(report.steps.at(-1)).toMatchObject({ step: "login", ok: false });
      expect(JSON.stringify(report)).not.toContain("canary");
      expect(report.hint).toMatch(/CR_PASSWORD/);
    });

    it("lists repositories", async () => {
      expect((await collect(registry.repositories(signal))).toSorted()).toEqual(REPOSITORIES.toSorted());
    });

    it("lists tags", async () => {
      expect((await collect(registry.tags("suite/many", signal))).toSorted()).toEqual(TAGS.toSorted());
    });

    it("lists tags with digests and never an invented date", async () => {
      const infos: TagInfo[] = await collect(registry.tagsWithMetadata("suite/app", signal));
      const digests = Object.fromEntries(infos.map(({ tag, digest }) => [tag, digest]));
      expect(digests).toEqual({
        "1.0": docker.descriptor.digest,
        "docker": docker.descriptor.digest,
        "multi": index.descriptor.digest,
      });
      for (const { lastPushed } of infos) {
        expect(lastPushed === null || !Number.isNaN(Date.parse(lastPushed))).toBe(true);
      }
    });

    it("resolves a tag, and a digest, of a Docker image", async () => {
      const byTag = await registry.resolve("suite/app", "1.0", { signal });
      expect(byTag).toMatchObject({ digests: { manifest: docker.descriptor.digest }, manifest: docker.manifest });
      expect(byTag.mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
      expect(byTag.digests.index).toBeUndefined();
      expect(await registry.resolve("suite/app", docker.descriptor.digest, { signal })).toEqual(byTag);
    });

    it("chooses linux/amd64 of several platforms, and another one on request", async () => {
      const digests = { manifest: amd64.descriptor.digest, index: index.descriptor.digest };
      expect(await registry.resolve("suite/app", "multi", { signal })).toMatchObject({
        digests,
        platform: { os: "linux", architecture: "amd64" },
      });
      const platform = { os: "linux", architecture: "arm64" };
      const other = await registry.resolve("suite/app", "multi", { signal, platform });
      expect(other.digests.manifest).toBe(arm64.descriptor.digest);
      const absent = { os: "windows", architecture: "amd64" };
      expect(await codeOf(registry.resolve("suite/app", "multi", { signal, platform: absent }))).toBe(
        "PLATFORM_NOT_FOUND",
      );
    });

    it("looks into an index inside an index", async () => {
      const platform = { os: "linux", architecture: "arm64" };
      const { digests } = await registry.resolve("suite/nested", "1", { signal, platform });
      expect(digests).toEqual({ manifest: arm64.descriptor.digest, index: nested.descriptor.digest });
    });

    it("opens an image with all its layers", async () => {
      const image = await registry.image("suite/app", "multi", { signal });
      expect(image).toMatchObject({
        source: "registry",
        config: amd64.config,
        configDigest: amd64.manifest.config.digest,
        problems: [],
      });
      expect(image.layers.map(({ digest, size, diffId, name }) => ({ digest, size, diffId, name }))).toEqual(
        amd64.layers.map(({ descriptor, diffId }) => ({
          digest: descriptor.digest,
          size: descriptor.size,
          diffId,
          name: descriptor.digest,
        })),
      );
      for (const layer of image.layers) {
        expect(sha256Digest(await readSource(await layer.open(signal)))).toBe(layer.digest);
      }
    });

    it("reads the attestations about an image, provenance first", async () => {
      const image = await registry.image("suite/app", "multi", { signal });
      const statements = await image.attestations(signal);
      expect(statements.map(({ predicateType }) => predicateType)).toEqual([
        "https://slsa.dev/provenance/v1",
        "https://spdx.dev/Document",
      ]);
      expect(statements[0]).toMatchObject({
        attestedDigest: amd64.descriptor.digest,
        manifestDigest: attestation.descriptor.digest,
        statement: { predicateType: "https://slsa.dev/provenance/v1" },
      });
      const plain = await registry.image("suite/app", "1.0", { signal });
      expect(await plain.attestations(signal)).toEqual([]);
    });

    it("gives up a layer that nobody reads on", async () => {
      const image = await registry.image("suite/app", "multi", { signal });
      const aborter = new AbortController();
      const layer = image.layers[1] as LayerHandle;
      const source = await layer.open(aborter.signal);
      await source.read();
      aborter.abort();
      expect(await codeOf(readSource(source))).toBe("CANCELLED");
      const again = await layer.open(signal);
      await again.close();
    });

    it("names what is missing", async () => {
      const absent = `sha256:${"0".repeat(64)}`;
      expect(await codeOf(collect(registry.tags("suite/absent", signal)))).toMatch(/^REPO_(?:NOT_FOUND|FORBIDDEN)$/);
      expect(await codeOf(registry.resolve("suite/app", "absent", { signal }))).toBe("TAG_NOT_FOUND");
      expect(await codeOf(registry.resolve("suite/app", absent, { signal }))).toBe("TAG_NOT_FOUND");
      const names = ["Suite/App", "suite//app", "", "../etc", "a b", "a?n=1", "a%2fb"];
      for (const bad of names) expect(await codeOf(registry.resolve(bad, "1.0", { signal }))).toBe("REFERENCE_INVALID");
      for (const bad of ["", "sha256:zz", "a/b", "a b"]) {
        expect(await codeOf(registry.resolve("suite/app", bad, { signal }))).toBe("REFERENCE_INVALID");
      }
    });

    it("serves many callers at once", async () => {
      const found = await Promise.all(
        Array.from({ length: 20 }, () => registry.resolve("suite/app", "1.0", { signal })),
      );
      expect(new Set(found.map(({ digests }) => digests.manifest))).toEqual(new Set([docker.descriptor.digest]));
    });

    it("stops when it is told to", async () => {
      const aborted = AbortSignal.abort();
      expect(await codeOf(registry.resolve("suite/app", "1.0", { signal: aborted }))).toBe("CANCELLED");
      expect(await codeOf(collect(registry.tags("suite/app", aborted)))).toBe("CANCELLED");
    });
  });
}
