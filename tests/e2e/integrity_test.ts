/**
 * P2: bytes are used only when size and digest match. Layers of a real registry are damaged on their way, in the registry
 * and by whoever pushed them. The package database stands at the front of each layer: a reader that takes what came
 * before the damage would find it, and show a short result that looks clean.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gzipSync } from "node:zlib";
import type { Digest } from "../../src/core/digest.ts";
import { concatBytes } from "../../src/lib/bytes.ts";
import { writeTar } from "../../src/lib/tar_writer.ts";
import { sha256Digest } from "../../src/lib/oci_builder.ts";
import { dpkgStatus, osRelease, SAMPLE_DEBS } from "../../src/lib/sample_images.ts";
import { type BlobFault, type FaultProxy, startFaultProxy } from "../fakes/fault_proxy.ts";
import { type DockerRegistry, startDockerRegistry } from "../peers/docker_registry.ts";
import { blobFile, openRepository } from "../peers/images.ts";
import { peersAvailable } from "../peers/mod.ts";
import { type CallbackReceiver, startCallbackReceiver } from "./callbacks.ts";
import { type DaemonProcess, startDaemonProcess } from "./daemon.ts";
import { runMeasured } from "./process_usage.ts";

const NOISE_BYTES = 1 << 20;
const HALF = NOISE_BYTES / 2;
const OTHER: Digest = `sha256:${"0".repeat(64)}`;

/** What is wrong with an image. */
interface Damage {
  /** On the way. */
  readonly fault?: BlobFault;
  /** In the registry's storage, after the push. */
  readonly inStorage?: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;
  /** Before the push, so that the digest is that of the damaged bytes. */
  readonly stored?: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;
  /** Added to the manifest's size of the layer. */
  readonly sizeBy?: number;
  /** In the image's configuration. */
  readonly diffId?: Digest;
}

/** The error that it must end in. */
interface Expected {
  readonly code: string;
  readonly says: RegExp;
}

const CASES: readonly (readonly [string, Damage, Expected])[] = [
  ["a bit flipped on the way, every time", { fault: { flipAt: HALF } }, { code: "INTEGRITY", says: /have the digest/ }],
  ["a bit flipped in the gzip header", { fault: { flipAt: 0 } }, { code: "INTEGRITY", says: /have the digest/ }],
  ["a bit flipped in the registry's storage", { inStorage: flipped }, { code: "INTEGRITY", says: /have the digest/ }],
  ["a body cut at the same place every time", { fault: { cutAt: HALF } }, { code: "CONNECTION_RESET", says: /./ }],
  ["a body cut before its first byte every time", { fault: { cutAt: 0 } }, { code: "CONNECTION_RESET", says: /./ }],
  ["a body of unannounced length that ends early", { fault: { cutAt: HALF, lengthBy: null } }, {
    code: "CONNECTION_RESET",
    says: /ended after \d+ of \d+ bytes/,
  }],
  ["a file cut short in the registry's storage", { inStorage: (bytes) => bytes.slice(0, HALF) }, {
    code: "INTEGRITY",
    says: /it has \d+ bytes instead of \d+/,
  }],
  ["a manifest that announces less", { sizeBy: -1 }, { code: "INTEGRITY", says: /it has \d+ bytes instead of \d+/ }],
  ["a manifest that announces more", { sizeBy: 1 }, { code: "INTEGRITY", says: /it has \d+ bytes instead of \d+/ }],
  ["a manifest that announces less, and no Content-Length", { sizeBy: -7, fault: { lengthBy: null } }, {
    code: "INTEGRITY",
    says: /longer than \d+ bytes/,
  }],
  ["a manifest that announces more, and no Content-Length", { sizeBy: 7, fault: { lengthBy: null } }, {
    code: "CONNECTION_RESET",
    says: /ended after \d+ of \d+ bytes/,
  }],
  ["a Content-Length that is too small", { fault: { lengthBy: -9 } }, { code: "INTEGRITY", says: /bytes instead of/ }],
  ["a Content-Length that is too large", { fault: { lengthBy: 9 } }, { code: "INTEGRITY", says: /bytes instead of/ }],
  ["another diffID in the configuration", { diffId: OTHER }, { code: "INTEGRITY", says: /uncompressed bytes have/ }],
  ["gzip with a wrong checksum", { stored: (bytes) => changed(bytes, -8) }, {
    code: "LAYER_CORRUPT",
    says: /checksum/,
  }],
  ["gzip with a wrong length", { stored: (bytes) => changed(bytes, -1) }, { code: "LAYER_CORRUPT", says: /length/ }],
  ["gzip that was pushed cut off", { stored: (bytes) => bytes.slice(0, HALF) }, {
    code: "LAYER_CORRUPT",
    says: /ends too early/,
  }],
  ["garbage after the gzip stream that the digest does not cover", {
    inStorage: (bytes) => concatBytes([bytes, new TextEncoder().encode("garbage")]),
  }, { code: "INTEGRITY", says: /bytes instead of/ }],
];

function flipped(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return changed(bytes, HALF);
}

/** With the lowest bit of one byte inverted; negative positions count from the end. */
function changed(bytes: Uint8Array<ArrayBuffer>, at: number): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  const index = at < 0 ? copy.length + at : at;
  copy[index] = (copy[index] ?? 0) ^ 1;
  return copy;
}

/** Bytes that do not compress, others for every seed. */
function noise(seed: number): Uint8Array<ArrayBuffer> {
  let state = (seed + 1) * 0x9e3779b1;
  const words = Uint32Array.from({ length: NOISE_BYTES / 4 }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    return state ^= state << 5;
  });
  return new Uint8Array(words.buffer);
}

describe.skipIf(Deno.build.os !== "linux" || !peersAvailable("docker-registry"))("P2: a damaged layer", () => {
  let registry: DockerRegistry;
  let proxy: FaultProxy;
  let receiver: CallbackReceiver;
  let daemon: DaemonProcess;
  const layers: Digest[] = [];

  beforeAll(async () => {
    registry = await startDockerRegistry();
    proxy = startFaultProxy(registry.url);
    receiver = startCallbackReceiver();
    for (const [index, [, damage]] of CASES.entries()) layers.push(await push(`case-${index}`, index, damage));
    daemon = await startDaemonProcess({
      CR_TYPE: "docker-registry",
      CR_BASE: proxy.url,
      OUTPOST_ROLE: "agent",
      BROKER_CLIENT_URL: receiver.url,
      OUTPOST_SCAN_ATTEMPTS: "1",
    });
  });

  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
    await receiver?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await registry?.stop();
  });

  /** Pushes an image of one damaged layer as `repository:1`; gives the layer's digest. */
  async function push(repository: string, seed: number, damage: Damage): Promise<Digest> {
    const tar = writeTar([
      { path: "etc/os-release", content: osRelease("debian", "12", "Debian GNU/Linux 12 (bookworm)") },
      { path: "var/lib/dpkg/status", content: dpkgStatus(SAMPLE_DEBS) },
      { path: "usr/lib/noise.bin", content: noise(seed) },
    ]);
    const gzip = new Uint8Array(gzipSync(tar));
    const stored = damage.stored?.(gzip) ?? gzip;
    const digest = sha256Digest(stored);
    const config = new TextEncoder().encode(JSON.stringify({
      os: "linux",
      architecture: "amd64",
      config: {},
      rootfs: { type: "layers", diff_ids: [damage.diffId ?? sha256Digest(tar)] },
    }));
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const manifest = {
      schemaVersion: 2,
      mediaType,
      config: {
        mediaType: "application/vnd.oci.image.config.v1+json",
        digest: sha256Digest(config),
        size: config.length,
      },
      layers: [{
        mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
        digest,
        size: stored.length + (damage.sizeBy ?? 0),
      }],
    };
    const api = await openRepository(registry, repository);
    try {
      await api.blob(digest, stored);
      await api.blob(manifest.config.digest, config);
      await api.manifest("1", mediaType, new TextEncoder().encode(JSON.stringify(manifest)));
    } finally {
      api.close();
    }
    if (damage.inStorage !== undefined) await Deno.writeFile(blobFile(registry, digest), damage.inStorage(stored));
    proxy.setFault(digest, damage.fault);
    return digest;
  }

  function scan(repository: string): ReturnType<typeof runMeasured> {
    return runMeasured(["scan", "--format", "json", "--plain-http", `registry:${proxy.host}/${repository}:1`]);
  }

  function packagesOf(stdout: string): string[] {
    const report = JSON.parse(stdout) as { readonly packages: readonly { readonly name: string }[] };
    return report.packages.map(({ name }) => name).toSorted();
  }

  const installed = SAMPLE_DEBS.filter((deb) => deb.status === undefined).map((deb) => deb.name).toSorted();

  it.each(CASES.map(([name, , { says }], index) => [name, index, says] as const))(
    "fails the command and is named: %s",
    async (_name, index, says) => {
      const digest = layers[index] ?? "";
      const { code, stdout, stderr } = await scan(`case-${index}`);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      const line = stderr.split("\n").find((text) => text.startsWith("error:")) ?? stderr;
      expect(line).toContain(digest);
      expect(line).toMatch(says);
    },
  );

  it("fails the image in the daemon and is named in the callback, whatever the damage", async () => {
    const images = CASES.map((_, index) => ({ name: `case-${index}:1` }));
    const results = await receiver.scan(daemon.url, { images }, 120_000);
    expect(results.length).toBe(CASES.length);
    for (const [index, [name, , { code, says }]] of CASES.entries()) {
      const { status, scanResults, error } = results[index] ?? {};
      expect({ name, status, scanResults, code: error?.code }).toEqual({
        name,
        status: "error",
        scanResults: [],
        code,
      });
      expect(error?.message).toContain(layers[index]);
      expect(error?.message).toMatch(says);
    }
  });

  it("is read to its end after a connection that broke once", async () => {
    const digest = await push("cut-once", 1000, { fault: { cutAt: HALF, times: 1 } });
    const { code, stdout, stderr } = await scan("cut-once");
    expect(code, stderr).toBe(0);
    expect(packagesOf(stdout)).toEqual(installed);
    expect(proxy.requests(digest)).toEqual([undefined, expect.stringMatching(/^bytes=\d+-\d+$/)]);
  });

  it("is whole when garbage after its gzip stream is what its digest covers, as for gzip(1)", async () => {
    await push("trailing", 1001, { stored: (bytes) => concatBytes([bytes, new TextEncoder().encode("garbage")]) });
    const { code, stdout, stderr } = await scan("trailing");
    expect(code, stderr).toBe(0);
    expect(packagesOf(stdout)).toEqual(installed);
  });
});
