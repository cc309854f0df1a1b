/**
 * A layer of 626 MB (295 MB gzip) from a real registry with Basic auth, scanned by the command line and by the daemon:
 * what it costs, and that nothing of it touches the disk.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DockerRegistry, startDockerRegistry } from "../peers/docker_registry.ts";
import { LARGE_IMAGE_DEBS, type LargeImage, uploadLargeImage } from "../peers/large_image.ts";
import { peersAvailable } from "../peers/mod.ts";
import { startCallbackReceiver } from "./callbacks.ts";
import { startDaemonProcess } from "./daemon.ts";
import { type ProcessUsage, readUsage, runMeasured } from "./process_usage.ts";

const MB = 1_000_000;
const TAR_BYTES = 626 * MB;
const PEAK_RSS_BYTES = 160 * MB;
/** Everything written, log lines and results included, stays below the size that no file may have. */
const WRITTEN_BYTES = 1 * MB;
/** Deno's own caches of compiled code are not what is measured. */
const NO_CACHE = "--no-code-cache";
/** The installed ones: the samples hold a package whose configuration files alone are left. */
const NAMES = LARGE_IMAGE_DEBS.filter((deb) => deb.status === undefined).map((deb) => deb.name).toSorted();

describe.skipIf(Deno.build.os !== "linux" || !peersAvailable("docker-registry"))("a layer of 626 MB", () => {
  let registry: DockerRegistry;
  let image: LargeImage;

  beforeAll(async () => {
    registry = await startDockerRegistry({ mode: "htpasswd" });
    image = await uploadLargeImage(registry, "big", "1", TAR_BYTES);
    // Deno keeps what it makes of changed sources: that is written here.
    await runMeasured(["--version"], {}, [NO_CACHE]);
  });

  afterAll(() => registry?.stop());

  function environment(): Record<string, string> {
    return {
      CR_TYPE: "docker-registry",
      CR_BASE: registry.url,
      CR_USERNAME: registry.username,
      CR_PASSWORD: registry.password,
    };
  }

  function expectCheap(usage: ProcessUsage | undefined): void {
    expect(usage).toBeDefined();
    expect(usage?.peakRssBytes).toBeGreaterThan(20 * MB);
    expect(usage?.peakRssBytes).toBeLessThanOrEqual(PEAK_RSS_BYTES);
    expect(usage?.writtenBytes).toBeGreaterThan(0);
    expect(usage?.writtenBytes).toBeLessThan(WRITTEN_BYTES);
  }

  it("is as large as the name says, and compresses like a real one", () => {
    expect(Math.round(image.tarBytes / MB)).toBe(626);
    expect(image.layer.size / MB).toBeGreaterThan(290);
    expect(image.layer.size / MB).toBeLessThan(300);
  });

  it("P3: outpost scan finds its packages within 160 MB, and writes no file", async () => {
    const source = `registry:${registry.host}/big:1`;
    const run = await runMeasured(["scan", "--format", "json", source], environment(), ["--deny-write", NO_CACHE]);
    expect(run.code, run.stderr).toBe(0);
    const report = JSON.parse(run.stdout) as {
      readonly status: string;
      readonly digests: { readonly manifest: string };
      readonly os: { readonly name: string };
      readonly packages: readonly { readonly name: string }[];
    };
    expect(report).toMatchObject({ status: "success", digests: { manifest: image.digest }, os: { name: "debian" } });
    expect(report.packages.map((found) => found.name).toSorted()).toEqual(NAMES);
    expectCheap(run.usage);
  });

  it("P3: the daemon scans it twice within 160 MB, and writes no file", async () => {
    await using receiver = startCallbackReceiver();
    await using daemon = await startDaemonProcess({
      ...environment(),
      OUTPOST_ROLE: "agent",
      BROKER_CLIENT_URL: receiver.url,
    }, [NO_CACHE]);
    const results = await receiver.scan(daemon.url, { images: [{ name: "big:1" }, { name: "big:1" }] }, 120_000);
    const usage = readUsage(daemon.process.pid);
    expect(results.map((result) => result.status)).toEqual(["success", "success"]);
    for (const { scanResults } of results) {
      const graph = scanResults[0]?.facts.find((fact) => fact.type === "depGraph")?.data as {
        readonly pkgs: readonly { readonly info: { readonly name: string } }[];
      };
      const names = new Set(graph.pkgs.map(({ info }) => info.name.split("/").at(-1)));
      expect(NAMES.filter((name) => !names.has(name))).toEqual([]);
    }
    expectCheap(usage);
  });
});
