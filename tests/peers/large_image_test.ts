import { describe, expect, it } from "vitest";
import { startDockerRegistry } from "./docker_registry.ts";
import { blobFile } from "./images.ts";
import { uploadLargeImage } from "./large_image.ts";
import { peersAvailable } from "./mod.ts";
import { skopeo } from "./skopeo.ts";

describe.skipIf(!peersAvailable("docker-registry", "skopeo"))("uploadLargeImage()", () => {
  it("streams a layer of about the wanted size and ratio, which skopeo accepts", async () => {
    await using registry = await startDockerRegistry();
    const image = await uploadLargeImage(registry, "large", "1", 20 << 20);
    expect(image.tarBytes).toBeGreaterThan(20 << 20);
    expect(image.layer.size / image.tarBytes).toBeCloseTo(0.47, 1);
    expect((await Deno.stat(blobFile(registry, image.layer.digest))).size).toBe(image.layer.size);
    const dir = await Deno.makeTempDir();
    try {
      await skopeo(["copy", "--src-tls-verify=false", `docker://${registry.host}/large:1`, `dir:${dir}/copy`]);
      const inspected: unknown = JSON.parse(await skopeo(["inspect", `dir:${dir}/copy`]));
      expect(inspected).toMatchObject({ Digest: image.digest, Layers: [image.layer.digest] });
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
});
