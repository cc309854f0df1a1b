/**
 * A fleet of images as companies have them: few bases, many applications on each, and a layer of its own in every image.
 *
 * @module
 */
import type { Digest } from "../src/core/digest.ts";
import type { DockerRegistry } from "../tests/peers/docker_registry.ts";
import { openRepository } from "../tests/peers/images.ts";
import { type Content, GO_SETS, type GroupName, JAVA_SETS, NPM_SETS, PYTHON_SETS } from "./image_content.ts";
import { imageOf, type LayerFile, uploadImage } from "./image_files.ts";
import { say } from "./measure.ts";

/** Repository of the fleet. */
export const REPOSITORY = "fleet/app";

/** Bases: groups of Debian packages, and whether the official Node.js stands on them. */
const BASES: readonly { readonly groups: readonly GroupName[]; readonly node?: true }[] = [
  { groups: ["base", "shell", "python", "java"] },
  { groups: ["base", "shell", "python"], node: true },
  { groups: ["base", "shell", "java"] },
  { groups: ["base", "tools", "python", "build"] },
  { groups: ["base", "shell", "web", "java"] },
  { groups: ["base", "shell", "database"], node: true },
  { groups: ["base", "tools"], node: true },
  { groups: ["base", "tools", "database", "build"] },
];

/** An image that is in the registry. */
export interface FleetImage {
  readonly tag: string;
  readonly layers: readonly LayerFile[];
}

/** What was built. */
export interface Fleet {
  readonly images: readonly FleetImage[];
  /** Distinct layers of all images. */
  readonly layers: ReadonlySet<Digest>;
  readonly distinctMB: number;
  /** Of all images, each with all of its layers. */
  readonly storedMB: number;
  readonly tarMB: number;
}

/** Builds the fleet and uploads it: every application on every base. */
export async function buildFleet(
  content: Content,
  registry: DockerRegistry,
  bases: number,
  applications: number,
): Promise<Fleet> {
  const apps = await applicationLayers(content, applications);
  const images: FleetImage[] = [];
  const known = new Set<Digest>();
  let distinct = 0;
  const api = await openRepository(registry, REPOSITORY);
  try {
    for (const [b, { groups, node }] of BASES.slice(0, bases).entries()) {
      const base = [...await content.groups(groups), ...node === true ? [await content.nodeRuntime()] : []];
      for (const [a, app] of apps.entries()) {
        const tag = `base${b}-app${a}`;
        const layers = [...base, app, await content.files(`release-${tag}`, releaseFiles(tag))];
        for (const { digest, size } of layers) distinct += known.has(digest) ? 0 : size;
        await uploadImage(api, tag, imageOf(layers), known);
        images.push({ tag, layers });
      }
      say(`Base ${b + 1} of ${bases} uploaded with ${apps.length} applications`);
    }
  } finally {
    api.close();
  }
  const sum = (of: (layer: LayerFile) => number): number =>
    Math.round(images.flatMap(({ layers }) => layers).reduce((total, layer) => total + of(layer), 0) / 1e6);
  return {
    images,
    layers: known,
    distinctMB: Math.round(distinct / 1e6),
    storedMB: sum((layer) => layer.size),
    tarMB: sum((layer) => layer.tarBytes),
  };
}

/** Uploads an image that has no layer of this one: what another image has of its own, of the one with most of it. */
export async function uploadUnlike(
  registry: DockerRegistry,
  image: FleetImage,
  images: readonly FleetImage[],
): Promise<FleetImage> {
  const known = new Set(images.flatMap(({ layers }) => layers.map(({ digest }) => digest)));
  const shared = new Set(image.layers.map(({ digest }) => digest));
  const others = images.map(({ layers }) => layers.filter(({ digest }) => !shared.has(digest)));
  const bytes = (layers: readonly LayerFile[]): number => layers.reduce((sum, { tarBytes }) => sum + tarBytes, 0);
  const layers = others.reduce((most, other) => bytes(other) > bytes(most) ? other : most, []);
  const tag = `unlike-${image.tag}`;
  const api = await openRepository(registry, REPOSITORY);
  try {
    await uploadImage(api, tag, imageOf(layers), known);
  } finally {
    api.close();
  }
  return { tag, layers };
}

/** Python, Node.js, Java and Go by turns, so that a small fleet has all of them. */
async function applicationLayers(content: Content, count: number): Promise<readonly LayerFile[]> {
  const kinds = [
    [PYTHON_SETS, (set: string) => content.python(set)],
    [NPM_SETS, (set: string) => content.node(set)],
    [JAVA_SETS, (set: string) => content.java(set)],
    [GO_SETS, (set: string) => content.go(set)],
  ] as const;
  const layers: LayerFile[] = [];
  for (let at = 0; at < count; at++) {
    const [sets, make] = kinds[at % kinds.length] ?? kinds[0];
    const set = Object.keys(sets)[Math.floor(at / kinds.length)];
    if (set === undefined) throw new Error(`There are only ${layers.length} applications`);
    layers.push(await make(set));
  }
  return layers;
}

function releaseFiles(tag: string): Readonly<Record<string, string>> {
  return {
    "srv/release/VERSION": `${tag}\n`,
    "srv/release/config.yaml": `name: ${tag}\nreplicas: 2\nlog: info\n`,
    "srv/release/start.sh": `#!/bin/sh\nexec /srv/release/run --name ${tag}\n`,
  };
}
