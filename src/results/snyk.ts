/**
 * Snyk's ScanResult, as snyk-docker-plugin makes it (scan-semantics §1).
 *
 * @module
 */
import type { AppResult, ScanFact, ScanInput, ScanReport, ScanResult } from "../core/scan_ports.ts";
import { buildDepGraph } from "./dep_graph.ts";
import { buildDepTree, type TreeNodes } from "./dep_tree.ts";
import { configFacts, fact } from "./facts.ts";
import type { DockerfileAnalysis, Problem } from "../core/types.ts";
import type { ResultFormat } from "./format.ts";
import { imageNames, ociDistributionMetadata, rootPackage } from "./image_names.ts";
import { labelLayers } from "./layer_labels.ts";
import { provenanceMetadata } from "./provenance.ts";
import { truncateFacts } from "./truncate.ts";
import {
  attributePackages,
  excludeBaseImage,
  labelPackages,
  type UserInstructions,
  userInstructions,
} from "./user_instructions.ts";

/**
 * Value of the pluginVersion fact: the version of snyk-docker-plugin whose results these are equal to. Snyk's side
 * reads results by it, so it names the semantics, not this program.
 */
export const PLUGIN_VERSION = "9.20.2";

/**
 * Builds the ScanResults of an image: the operating system's comes first, whatever was found, then the applications'.
 * `report` is told what is not as it should be in them.
 *
 * @throws {OutpostError} REFERENCE_INVALID if `imageName` is given as a name but is not an image reference.
 */
export function buildScanResults(input: ScanInput, report: (problem: Problem) => void = () => {}): ScanResult[] {
  const { image, os, options = {} } = input;
  const { config } = image;
  const platform = config.os && config.architecture ? `${config.os}/${config.architecture}` : undefined;
  const type = os.packages.packages.length > 0 ? os.packages.type : "linux";
  const root = rootPackage(input.imageName);
  const { tree, instructions, dockerfile } = packageTree(input, report);
  const depGraph = buildDepGraph({
    root,
    pkgManager: type,
    repository: `${os.release.name}:${os.release.version}`,
    dependencies: tree,
  });
  const layers = image.layers.map((layer) => layer.name);
  const provenance = provenanceMetadata(input.attestations);
  const names = nameFacts(input);
  const { manifestFiles: found = [] } = input;
  const facts: ScanFact[] = [
    { type: "depGraph", data: depGraph },
    ...input.apps?.imageFacts ?? [],
    ...fact("dockerfileAnalysis", dockerfile),
    ...fact("imageId", image.configDigest),
    ...fact("imageLayers", layers, layers.length),
    ...configFacts(config),
    ...fact("imageOsReleasePrettyName", os.release.prettyName),
    ...fact("imageManifestFiles", found, found.length),
    ...fact("autoDetectedUserInstructions", instructions, Object.keys(instructions.dockerfilePackages).length),
    ...names,
    ...fact("provenanceMetadata", provenance, provenance.length),
    ...fact("platform", platform),
    { type: "pluginVersion", data: PLUGIN_VERSION },
    ...warnings(input),
  ];
  const system: ScanResult = {
    facts: truncateFacts(facts),
    target: { image: root.name },
    identity: { type, ...(platform === undefined ? {} : { args: { platform } }) },
  };
  const apps = applications(input.apps?.results ?? [], root.name, [...fact("imageId", image.configDigest), ...names]);
  const { targetReference } = options;
  return targetReference ? [system, ...apps].map((result) => ({ ...result, targetReference })) : [system, ...apps];
}

interface PackageTree {
  readonly tree: TreeNodes;
  /** Of the image's own history. */
  readonly instructions: UserInstructions;
  readonly dockerfile: DockerfileAnalysis | undefined;
}

/** The packages of the operating system as a tree, labelled by the instructions and layers that brought them. */
function packageTree(input: ScanInput, report: (problem: Problem) => void): PackageTree {
  const { image, os, options, attribution } = input;
  const tree = buildDepTree(os.packages.packages, () =>
    report({
      code: "LIMIT_EXCEEDED",
      subject: os.packages.database,
      message: `The dependency graph has too many paths to count: all packages are in it, but some may stand elsewhere`,
    }));
  const dockerfile = input.dockerfile && withOwnPackages(input.dockerfile);
  if (dockerfile !== undefined) attributePackages(tree, dockerfile.dockerfilePackages);
  const instructions = userInstructions(image.config.history ?? []);
  attributePackages(tree, instructions.dockerfilePackages);
  const { dockerfilePackages } = dockerfile ?? instructions;
  if (options?.excludeBaseImageVulns === true) excludeBaseImage(tree, dockerfilePackages);
  labelPackages(tree, dockerfilePackages);
  if (attribution !== undefined) labelLayers(tree, os.packages.packages, attribution);
  return { tree, instructions, dockerfile };
}

/** A copy whose packages can be added to. */
function withOwnPackages(dockerfile: DockerfileAnalysis): DockerfileAnalysis {
  const dockerfilePackages = Object.assign(Object.create(null), dockerfile.dockerfilePackages);
  return { ...dockerfile, dockerfilePackages };
}

/** The pluginWarnings fact, but for what truncate.ts adds to it. */
function warnings({ attribution, options }: ScanInput): readonly ScanFact[] {
  const { parameterWarnings = [] } = options ?? {};
  const { warnings: layerAttribution = [] } = attribution ?? {};
  const data = {
    ...(parameterWarnings.length > 0 && { parameterChecks: parameterWarnings }),
    ...(layerAttribution.length > 0 && { layerAttribution }),
  };
  return fact("pluginWarnings", data, Object.keys(data).length);
}

/** One ScanResult for each application; `shared` are the facts that all of them have. */
function applications(results: readonly AppResult[], image: string, shared: readonly ScanFact[]): ScanResult[] {
  return results.map(({ type, targetFile, facts, closingFacts = [] }) => ({
    facts: truncateFacts([...facts, ...shared, { type: "pluginVersion", data: PLUGIN_VERSION }, ...closingFacts]),
    target: { image },
    identity: { type, targetFile },
  }));
}

/**
 * imageNames and ociDistributionMetadata. The digests count only for an image that a registry delivered: those of an
 * archive's manifests say nothing about where it can be pulled.
 */
function nameFacts({ imageName, imageNameIsFile, registryHost, image }: ScanInput): readonly ScanFact[] {
  if (imageNameIsFile === true) return [];
  const digests = image.source === "registry" ? image.digests : {};
  return [
    ...fact("imageNames", { names: imageNames(imageName, digests) }),
    ...fact("ociDistributionMetadata", ociDistributionMetadata(withHost(imageName, registryHost), digests)),
  ];
}

/** A brokered image is named without its registry; left so, Docker Hub would be taken for it. */
function withHost(imageName: string, registryHost: string | undefined): string {
  const named = registryHost !== undefined && imageName.startsWith(`${registryHost}/`);
  return registryHost === undefined || named ? imageName : `${registryHost}/${imageName}`;
}

/** The JSON array of ScanResults, and nothing else. */
export const snyk = {
  name: "snyk",
  mediaType: "application/json",
  /** One result at a time, so that only one is in memory as text. */
  *render({ scanResults }: ScanReport): Generator<string> {
    yield "[";
    for (const [index, result] of scanResults.entries()) {
      yield `${index === 0 ? "" : ","}${JSON.stringify(result)}`;
    }
    yield "]\n";
  },
} as const satisfies ResultFormat;
