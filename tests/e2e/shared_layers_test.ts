/**
 * Scans at once of images that share layers: each distinct layer is fetched once, whoever reads it first and whether in
 * its turn or ahead of it.
 */
import { describe, expect, it } from "vitest";
import { buildImage, type BuiltImage, type LayerSpec } from "../../src/lib/oci_builder.ts";
import { dpkgStatus, osRelease, SAMPLE_DEBS } from "../../src/lib/sample_images.ts";
import { LOGIN, startLoopbackRegistry } from "../fakes/loopback.ts";
import { startCallbackReceiver } from "./callbacks.ts";
import { startDaemonProcess } from "./daemon.ts";

const IMAGES = 12;

/** A layer of its own for each name. */
function layer(name: string): LayerSpec {
  return { members: [{ path: `opt/${name}`, content: name.repeat(2000) }] };
}

const BASE: readonly LayerSpec[] = [
  {
    members: [
      { path: "etc/os-release", content: osRelease("debian", "12", "Debian GNU/Linux 12") },
      { path: "var/lib/dpkg/status", content: dpkgStatus(SAMPLE_DEBS) },
    ],
  },
  ...["python", "node", "certificates"].map(layer),
];

/** Images of one base, pairs of them with a further layer in common. */
function image(at: number): BuiltImage {
  return buildImage({ layers: [...BASE, layer(`pair${at >> 1}`), ...[1, 2].map((own) => layer(`own${at}.${own}`))] });
}

describe("a daemon with four scans at once", () => {
  it("fetches each layer once", async () => {
    const images = Array.from({ length: IMAGES }, (_, at) => image(at));
    await using registry = startLoopbackRegistry({
      "team/app": Object.fromEntries(images.map((built, at) => [String(at), built])),
    });
    await using receiver = startCallbackReceiver();
    const directory = await Deno.makeTempDir();
    try {
      await using daemon = await startDaemonProcess({
        OUTPOST_ROLE: "agent",
        BROKER_CLIENT_URL: receiver.url,
        CR_TYPE: "oci",
        CR_BASE: registry.url,
        CR_USERNAME: LOGIN.username,
        CR_PASSWORD: LOGIN.password,
        MAX_ACTIVE_OPERATIONS: "4",
        OUTPOST_DATA_DIR: `${directory}/data`,
      }, [`--allow-write=${directory}/data`]);
      const scans = images.map((_, at) => receiver.scan(daemon.url, { images: [{ name: `team/app:${at}` }] }));
      const results = (await Promise.all(scans)).flat();
      expect(results.map(({ status }) => status)).toEqual(images.map(() => "success"));
      const layers = new Set(images.flatMap((built) => built.layers.map(({ descriptor }) => descriptor.digest)));
      const fetched = registry.requests.filter((line) => line.startsWith("GET") && line.includes("/blobs/"))
        .map((line) => line.slice(-71)).filter((digest) => layers.has(digest as `sha256:${string}`));
      expect(new Set(fetched).size).toBe(layers.size);
      expect(fetched).toHaveLength(layers.size);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
});
