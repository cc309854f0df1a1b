/** The daemon answers while it scans: a layer of 626 MB from a registry that delivers faster than the scan reads. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DockerRegistry, startDockerRegistry } from "../peers/docker_registry.ts";
import { uploadLargeImage } from "../peers/large_image.ts";
import { peersAvailable } from "../peers/mod.ts";
import { startCallbackReceiver } from "./callbacks.ts";
import { startDaemonProcess } from "./daemon.ts";
import { askUntil } from "./responsiveness.ts";

const TAR_BYTES = 626_000_000;

describe.skipIf(!peersAvailable("docker-registry"))("the daemon with a layer of 626 MB", () => {
  let registry: DockerRegistry;

  beforeAll(async () => {
    registry = await startDockerRegistry({ mode: "htpasswd" });
    await uploadLargeImage(registry, "big", "1", TAR_BYTES);
  });

  afterAll(() => registry?.stop());

  it.each(["wasm", "fflate"])("answers every health check while it scans with OUTPOST_ENGINE=%s", async (engine) => {
    await using receiver = startCallbackReceiver();
    await using daemon = await startDaemonProcess({
      CR_TYPE: "docker-registry",
      CR_BASE: registry.url,
      CR_USERNAME: registry.username,
      CR_PASSWORD: registry.password,
      OUTPOST_ROLE: "agent",
      OUTPOST_ENGINE: engine,
      BROKER_CLIENT_URL: receiver.url,
    });
    const done = receiver.scan(daemon.url, { images: [{ name: "big:1" }] }, 120_000);
    const answers = await askUntil(`${daemon.url}/healthcheck`, done);
    expect((await done).map((result) => result.status)).toEqual(["success"]);
    expect(answers.length).toBeGreaterThan(0);
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  });
});
