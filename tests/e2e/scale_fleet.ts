/**
 * What the tests of several daemons on one queue work with: images that share layers, and daemons that come and go.
 *
 * @module
 */
import { buildImage, type BuiltImage, type LayerSpec } from "../../src/lib/oci_builder.ts";
import { dpkgStatus, osRelease, type SampleDeb } from "../../src/lib/sample_images.ts";
import type { DockerRegistry } from "../peers/docker_registry.ts";
import { openRepository } from "../peers/images.ts";
import type { NatsServer } from "../peers/nats_server.ts";
import { type DaemonProcess, startDaemonProcess } from "./daemon.ts";

/** Repository of the images. */
export const REPOSITORY = "fleet/app";

/** An image and what is installed in it. */
export interface FleetImage {
  /** Repository and tag. */
  readonly name: string;
  /** Packages as the dependency graph names them, sorted. */
  readonly packages: readonly string[];
}

/** Images that are in the registry. */
export interface Fleet {
  readonly images: readonly FleetImage[];
  /** Digests of their distinct layers. */
  readonly layers: ReadonlySet<string>;
}

/** How many images there are, and how large. */
export interface FleetSize {
  readonly bases: number;
  /** On each base. */
  readonly applications: number;
  /** Of each layer of a base. */
  readonly layerBytes: number;
}

/** Builds images, base by base: each base is three layers, each image has a small one more. */
export async function pushFleet(
  registry: DockerRegistry,
  { bases, applications, layerBytes }: FleetSize,
): Promise<Fleet> {
  const images: FleetImage[] = [];
  const layers = new Set<string>();
  const pushed = new Set<string>();
  const api = await openRepository(registry, REPOSITORY);
  try {
    for (let b = 0; b < bases; b++) {
      const debs = Array.from({ length: 10 }, (_, n): SampleDeb => ({ name: `base${b}-${n}`, version: `1.${n}` }));
      const base = [
        layer({ "etc/os-release": osRelease("debian", "12", "Debian GNU/Linux 12"), "base": noise(layerBytes) }),
        layer({ [STATUS]: dpkgStatus(debs), "tools": noise(layerBytes) }),
        layer({ "runtime": noise(layerBytes) }),
      ];
      for (let a = 0; a < applications; a++) {
        const installed = [...debs, { name: `app${a}`, version: `2.${b}` }];
        const image = buildImage({ layers: [...base, layer({ [STATUS]: dpkgStatus(installed) })] });
        const tag = `base${b}-app${a}`;
        for (const { descriptor } of image.layers) layers.add(descriptor.digest);
        await push(api, image, tag, pushed);
        images.push({
          name: `${REPOSITORY}:${tag}`,
          packages: installed.map(({ name, version }) => `${name}@${version}`).toSorted(),
        });
      }
    }
  } finally {
    api.close();
  }
  return { images, layers };
}

const STATUS = "var/lib/dpkg/status";

function layer(files: Readonly<Record<string, string | Uint8Array>>): LayerSpec {
  return { members: Object.entries(files).map(([path, content]) => ({ path, content })), compression: "gzip" };
}

/** Bytes that no compression makes smaller. */
function noise(bytes: number): Uint8Array {
  const content = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(content.subarray(at, at + 65_536));
  return content;
}

async function push(
  api: Awaited<ReturnType<typeof openRepository>>,
  image: BuiltImage,
  tag: string,
  pushed: Set<string>,
): Promise<void> {
  for (const [digest, bytes] of image.blobs) {
    if (digest === image.descriptor.digest || pushed.has(digest)) continue;
    pushed.add(digest);
    await api.blob(digest, bytes);
  }
  const manifest = image.blobs.get(image.descriptor.digest);
  if (manifest === undefined) throw new Error(`${tag} has no manifest`);
  await api.manifest(tag, image.descriptor.mediaType, manifest);
}

/** A daemon of the fleet. */
export interface FleetDaemon {
  /** The name under which it logs in at the registry. */
  readonly name: string;
  readonly daemon: DaemonProcess;
  /** When it stood still by SIGSTOP, if it did. */
  stopped?: { readonly from: number; until: number | undefined };
}

/** Starts daemons on one queue, and remembers all of them. */
export class Daemons implements AsyncDisposable {
  /** All that ever ran. */
  readonly all: FleetDaemon[] = [];
  readonly #env: Readonly<Record<string, string>>;

  constructor(nats: NatsServer, registryUrl: string, more: Readonly<Record<string, string>>) {
    this.#env = {
      OUTPOST_QUEUE: nats.url,
      CR_TYPE: "oci",
      CR_BASE: registryUrl,
      CR_PASSWORD: "password",
      ...more,
    };
  }

  /** Those that run. */
  get live(): readonly FleetDaemon[] {
    return this.all.filter(({ daemon }) => !daemon.process.ended);
  }

  async start(): Promise<FleetDaemon> {
    const name = `daemon-${this.all.length}`;
    const daemon = await startDaemonProcess({ ...this.#env, CR_USERNAME: name });
    const started: FleetDaemon = { name, daemon };
    this.all.push(started);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { daemon, stopped } of this.live) {
      if (stopped !== undefined && stopped.until === undefined) Deno.kill(daemon.process.pid, "SIGCONT");
      await daemon.process.kill();
    }
  }
}

/** Sends SIGKILL and waits for the end. */
export async function kill({ daemon }: FleetDaemon): Promise<void> {
  await daemon.process.kill();
}

/** Has a daemon stand still. */
export function pause(stood: FleetDaemon): void {
  Deno.kill(stood.daemon.process.pid, "SIGSTOP");
  stood.stopped = { from: Date.now(), until: undefined };
}

/** Lets it go on. */
export function resume({ daemon, stopped }: FleetDaemon): void {
  Deno.kill(daemon.process.pid, "SIGCONT");
  if (stopped !== undefined) stopped.until = Date.now();
}
