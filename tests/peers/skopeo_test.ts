import { describe, expect, it } from "vitest";
import { dockerArchive } from "../../src/lib/oci_builder.ts";
import { alpineSample, debianSample, distrolessSample, multiPlatformSample } from "../../src/lib/sample_images.ts";
import { type DockerRegistryOptions, startDockerRegistry } from "./docker_registry.ts";
import { authorize, blobFile, tagImage, uploadImage, writeOciArchive, writeOciLayout } from "./images.ts";
import { peersAvailable } from "./mod.ts";
import { listTags, pullImage, pushImage } from "./skopeo.ts";

const MODES: readonly DockerRegistryOptions[] = [{ mode: "open" }, { mode: "htpasswd" }, { mode: "token" }, {
  mode: "tls",
}];

async function inTempDir(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await test(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

describe.skipIf(!peersAvailable("docker-registry", "skopeo"))("pushImage()", () => {
  it.each(MODES)("fills a registry that runs as %j", (options) =>
    inTempDir(async (dir) => {
      await using registry = await startDockerRegistry(options);
      const image = debianSample();
      await writeOciLayout(`${dir}/layout`, image);
      await pushImage(registry, `oci:${dir}/layout:latest`, "team/debian", "12");
      await tagImage(registry, "team/debian", ["12.11", "bookworm"], image);
      expect([...await listTags(registry, "team/debian")].sort()).toEqual(["12", "12.11", "bookworm"]);
      await pullImage(registry, "team/debian", image.descriptor.digest, `oci:${dir}/back:x`);
      const layer = image.layers[0];
      expect(await Deno.readFile(`${dir}/back/blobs/sha256/${layer?.descriptor.digest.slice(7)}`)).toEqual(
        layer?.bytes,
      );
    }));

  it("pushes an index with all its manifests, and every layer compression, byte for byte", () =>
    inTempDir(async (dir) => {
      await using registry = await startDockerRegistry();
      const index = multiPlatformSample();
      await writeOciArchive(`${dir}/index.tar`, index);
      await pushImage(registry, `oci-archive:${dir}/index.tar:latest`, "multi", "1");
      await writeOciLayout(`${dir}/distroless`, distrolessSample());
      await pushImage(registry, `oci:${dir}/distroless:latest`, "distroless", "1");
      for (
        const [name, digest, accept] of [
          ["multi", index.descriptor.digest, index.descriptor.mediaType],
          ["distroless", distrolessSample().descriptor.digest, distrolessSample().descriptor.mediaType],
        ] as const
      ) {
        const response = await fetch(`${registry.url}/v2/${name}/manifests/1`, { headers: { accept } });
        await response.body?.cancel();
        expect(response.headers.get("docker-content-digest")).toBe(digest);
      }
    }));

  it("accepts a docker archive, and converts to Docker's media types", () =>
    inTempDir(async (dir) => {
      await using registry = await startDockerRegistry();
      await Deno.writeFile(`${dir}/saved.tar`, dockerArchive([{ content: alpineSample(), names: ["alpine:3.21"] }]));
      await pushImage(registry, `docker-archive:${dir}/saved.tar`, "alpine", "3.21", { format: "v2s2" });
      const accept = "application/vnd.docker.distribution.manifest.v2+json";
      const response = await fetch(`${registry.url}/v2/alpine/manifests/3.21`, { headers: { accept } });
      expect((await response.json() as { mediaType: string }).mediaType).toBe(accept);
    }));
});

describe.skipIf(!peersAvailable("docker-registry"))("uploadImage()", () => {
  it.each(MODES)("uploads byte for byte to a registry that runs as %j", async (options) => {
    await using registry = await startDockerRegistry(options);
    const index = multiPlatformSample();
    await uploadImage(registry, "a/b", ["1", "2"], index);
    await tagImage(registry, "a/b", Array.from({ length: 120 }, (_, at) => `build-${at}`), index);
    const authorization = await authorize(registry, "repository:a/b:pull") ?? "";
    using client = Deno.createHttpClient({ caCerts: registry.caPem === undefined ? [] : [registry.caPem] });
    const response = await fetch(`${registry.url}/v2/a/b/tags/list`, { headers: { authorization }, client });
    expect((await response.json() as { tags: string[] }).tags).toHaveLength(122);
    const blob = alpineSample().layers[0]?.descriptor;
    expect(blob && (await Deno.stat(blobFile(registry, blob.digest))).size).toBe(blob?.size);
  });
});
