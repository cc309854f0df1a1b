import { describe, expect, it } from "vitest";
import type { ImageHandle, ImageView } from "../core/ports.ts";
import type { ScanInput, ScanReport } from "../core/scan_ports.ts";
import type { ImageFile, OsPackage } from "../core/types.ts";
import type { DepGraphJson } from "./dep_graph.ts";
import { manifestFiles } from "./manifest_files.ts";
import { buildScanResults, PLUGIN_VERSION, snyk } from "./snyk.ts";

const A = `sha256:${"a".repeat(64)}` as const;
const B = `sha256:${"b".repeat(64)}` as const;

const VIEW: ImageView = {
  file: () => undefined,
  filesIn: () => [],
  files: () => [],
  realPath: (path) => path,
  linkedPaths: () => undefined,
  extracted: () => [],
  problems: [],
};

function image(more: Partial<ImageHandle> = {}): ImageHandle {
  return {
    source: "oci-archive",
    config: {
      architecture: "arm64",
      os: "linux",
      variant: "v8",
      created: "2024-06-01T12:00:00Z",
      config: { Labels: { k: "v" }, Cmd: ["sh"] },
      rootfs: { diff_ids: [B] },
      history: [
        { created: "2024-01-01T00:00:00Z", created_by: "ADD" },
        { created: "2024-06-01T12:00:00Z", created_by: "RUN /bin/sh -c apt-get install curl # buildkit" },
      ],
    },
    configDigest: A,
    digests: {},
    layers: [{
      name: B,
      digest: B,
      size: 1,
      mediaType: undefined,
      diffId: B,
      open: () => Promise.reject(new Error("Nothing here reads a layer")),
    }],
    attestations: () => Promise.resolve([]),
    problems: [],
    ...more,
  };
}

const CURL: OsPackage = { name: "curl", version: "8", provides: [], depends: ["libc"], purl: "pkg:deb/debian/curl@8" };
const LIBC: OsPackage = { name: "libc", version: "2", provides: [], depends: [], source: "glibc", autoInstalled: true };

function input(more: Partial<ScanInput> = {}, packages: readonly OsPackage[] = [CURL, LIBC]): ScanInput {
  return {
    imageName: "team/app:1",
    image: image(),
    os: {
      release: { name: "debian", version: "12", prettyName: "Debian GNU/Linux 12 (bookworm)" },
      packages: { type: "deb", database: "var/lib/dpkg/status", packages },
      problems: [],
    },
    attestations: [],
    ...more,
  };
}

function factTypes(scan: ScanInput): string[] {
  return buildScanResults(scan)[0]?.facts.map((fact) => fact.type) ?? [];
}

function factOf(scan: ScanInput, type: string): unknown {
  return buildScanResults(scan)[0]?.facts.find((fact) => fact.type === type)?.data;
}

describe("buildScanResults()", () => {
  it("writes the plugin's bytes for an operating-system image", () => {
    const instruction = "RUN /bin/sh -c apt-get install curl ";
    const id = "UlVOIC9iaW4vc2ggLWMgYXB0LWdldCBpbnN0YWxsIGN1cmwg";
    const installed = { instruction, installCommand: "apt-get install curl" };
    const info = { labels: { dockerLayerId: id } };
    expect(JSON.stringify(buildScanResults(input()))).toBe(JSON.stringify([{
      facts: [
        {
          type: "depGraph",
          data: {
            schemaVersion: "1.3.0",
            pkgManager: { name: "deb", repositories: [{ alias: "debian:12" }] },
            pkgs: [
              { id: "docker-image|team/app@1", info: { name: "docker-image|team/app", version: "1" } },
              { id: "glibc/libc@2", info: { name: "glibc/libc", version: "2" } },
              { id: "curl@8", info: { name: "curl", version: "8", purl: "pkg:deb/debian/curl@8" } },
            ],
            graph: {
              rootNodeId: "root-node",
              nodes: [
                { nodeId: "root-node", pkgId: "docker-image|team/app@1", deps: [{ nodeId: "curl@8" }] },
                { nodeId: "glibc/libc@2", pkgId: "glibc/libc@2", deps: [], info },
                { nodeId: "curl@8", pkgId: "curl@8", deps: [{ nodeId: "glibc/libc@2" }], info },
              ],
            },
          },
        },
        { type: "imageId", data: A },
        { type: "imageLayers", data: [B] },
        { type: "imageLabels", data: { k: "v" } },
        { type: "containerConfig", data: { cmd: ["sh"] } },
        {
          type: "history",
          data: [
            { created: "2024-01-01T00:00:00Z", createdBy: "ADD" },
            { created: "2024-06-01T12:00:00Z", createdBy: `${instruction}# buildkit` },
          ],
        },
        { type: "imageCreationTime", data: "2024-06-01T12:00:00Z" },
        { type: "rootFs", data: [B] },
        { type: "imageOsReleasePrettyName", data: "Debian GNU/Linux 12 (bookworm)" },
        {
          type: "autoDetectedUserInstructions",
          data: {
            dockerfileLayers: { [id]: { instruction } },
            dockerfilePackages: { curl: installed, glibc: installed },
          },
        },
        { type: "imageNames", data: { names: ["team/app:1"] } },
        { type: "platform", data: "linux/arm64" },
        { type: "pluginVersion", data: PLUGIN_VERSION },
      ],
      target: { image: "docker-image|team/app" },
      identity: { type: "deb", args: { platform: "linux/arm64" } },
    }]));
  });

  it("says little about a scratch image, but says it", () => {
    const config = { rootfs: { diff_ids: [] } };
    const os = {
      release: { name: "unknown", version: "0.0", prettyName: "" },
      packages: { type: "deb", database: "var/lib/dpkg/status", packages: [] },
      problems: [],
    } as const;
    const [result] = buildScanResults(input({ image: image({ config, layers: [] }), os }));
    expect(result?.identity).toEqual({ type: "linux" });
    expect(result?.facts.map((fact) => fact.type)).toEqual(["depGraph", "imageId", "imageNames", "pluginVersion"]);
    expect(result?.facts[0]?.data).toMatchObject({
      pkgManager: { name: "linux", repositories: [{ alias: "unknown:0.0" }] },
    });
  });

  it("derives names and distribution from a registry's digests, not from an archive's", () => {
    const digests = { manifest: A, index: B };
    const pulled = input({ imageName: "reg.example/app:1", image: image({ source: "registry", digests }) });
    expect(factOf(pulled, "imageNames")).toEqual({
      names: ["reg.example/app:1", `reg.example/app@${A}`, `reg.example/app@${B}`],
    });
    expect(factOf(pulled, "ociDistributionMetadata")).toEqual({
      registryHost: "reg.example",
      repository: "app",
      manifestDigest: A,
      indexDigest: B,
      imageTag: "1",
    });
    const archive = input({ image: image({ digests }) });
    expect(factOf(archive, "imageNames")).toEqual({ names: ["team/app:1"] });
    expect(factOf(archive, "ociDistributionMetadata")).toBeUndefined();
  });

  it("derives no names from an archive's file name", () => {
    const scan = input({ imageName: "My Image.tar", imageNameIsFile: true });
    expect(factTypes(scan)).not.toContain("imageNames");
    expect(buildScanResults(scan)[0]?.target.image).toBe("docker-image|My Image.tar");
    expect(() => buildScanResults(input({ imageName: "My Image.tar" }))).toThrow("Cannot report the image");
  });

  it("puts provenance before the platform and warnings at the end", () => {
    const attestations = [{
      attestedDigest: A,
      manifestDigest: B,
      layerDigest: B,
      predicateType: "https://slsa.dev/provenance/v1",
      statement: { predicateType: "https://slsa.dev/provenance/v1", predicate: { buildDefinition: {} } },
    }];
    const { config } = image();
    const scan = input({ attestations, image: image({ config: { ...config, config: { User: "u".repeat(2000) } } }) });
    expect(factTypes(scan).slice(-4)).toEqual(["provenanceMetadata", "platform", "pluginVersion", "pluginWarnings"]);
  });

  it("labels nodes with the layer that brought them, when that was asked for", () => {
    const C = `sha256:${"c".repeat(64)}` as const;
    const attribution = {
      layers: [{ diffId: B, digest: A }, { diffId: C, digest: A }],
      os: [1, 0],
      apps: [],
      warnings: [],
    };
    const labels = (more: Partial<ScanInput>): unknown => {
      const graph = buildScanResults(input(more))[0]?.facts[0]?.data as DepGraphJson;
      return graph.graph.nodes.slice(1).map((node) => [node.nodeId, node.info?.labels]);
    };
    const dockerLayerId = "UlVOIC9iaW4vc2ggLWMgYXB0LWdldCBpbnN0YWxsIGN1cmwg";
    expect(labels({ attribution })).toEqual([
      ["glibc/libc@2", { dockerLayerId, dockerLayerDiffId: B }],
      ["curl@8", { dockerLayerId, dockerLayerDiffId: C }],
    ]);
    expect(labels({ attribution: { ...attribution, os: [undefined, 0] } })).toEqual([
      ["glibc/libc@2", { dockerLayerId, dockerLayerDiffId: B }],
      ["curl@8", { dockerLayerId }],
    ]);
  });

  it("puts warnings of layer attribution and of truncation into one fact, the last", () => {
    const attribution = { layers: [], os: [], apps: [], warnings: ["something"] };
    const long = { ...image().config, config: { User: "u".repeat(1025) } };
    const last = (more: Partial<ScanInput>): unknown => buildScanResults(input(more))[0]?.facts.at(-1);
    expect(last({ attribution })).toEqual({ type: "pluginWarnings", data: { layerAttribution: ["something"] } });
    expect(last({ attribution, image: image({ config: long }) })).toEqual({
      type: "pluginWarnings",
      data: {
        layerAttribution: ["something"],
        truncatedFacts: { "containerConfig.data.user": { type: "string", countAboveLimit: 1 } },
      },
    });
    expect(last({ attribution: { ...attribution, warnings: [] } })).toMatchObject({ type: "pluginVersion" });
  });

  it("reports a Dockerfile: its packages decide, the image's own history is only reported", () => {
    const dockerfile = {
      baseImage: "debian:12",
      dockerfilePackages: { curl: { instruction: "RUN apt install curl", installCommand: "apt install curl" } },
      dockerfileLayers: {},
    };
    const [result] = buildScanResults(input({ dockerfile }));
    expect(result?.facts.map((fact) => fact.type).slice(0, 3)).toEqual(["depGraph", "dockerfileAnalysis", "imageId"]);
    const instruction = { instruction: "RUN apt install curl", installCommand: "apt install curl" };
    const dockerfilePackages = { curl: instruction, glibc: instruction };
    expect(result?.facts[1]?.data).toEqual({ ...dockerfile, dockerfilePackages });
    expect(dockerfile.dockerfilePackages).not.toHaveProperty("glibc");
    const graph = result?.facts[0]?.data as DepGraphJson;
    const dockerLayerId = "UlVOIGFwdCBpbnN0YWxsIGN1cmw=";
    expect(graph.graph.nodes.slice(1).every((node) => node.info?.labels["dockerLayerId"] === dockerLayerId)).toBe(true);
  });

  it("leaves packages of the base image out when that was asked for", () => {
    const packages = [CURL, LIBC, { ...LIBC, name: "other", source: "other" }];
    const names = (options: ScanInput["options"]): string[] =>
      (buildScanResults(input({ options }, packages))[0]?.facts[0]?.data as DepGraphJson).pkgs.slice(1).map((pkg) =>
        pkg.id
      );
    expect(names({})).toContain("other/other@2");
    expect(names({ excludeBaseImageVulns: true })).toEqual(["glibc/libc@2", "curl@8"]);
  });

  it("copies the target reference into every result, and says what is wrong with options", () => {
    const apps = {
      results: [{ type: "npm", targetFile: "/p", facts: [], evidence: [] }],
      imageFacts: [],
      problems: [],
    };
    const options = { targetReference: "main", parameterWarnings: ["old option"] };
    const results = buildScanResults(input({ apps, options }));
    expect(results.map((result) => result.targetReference)).toEqual(["main", "main"]);
    expect(results[0]?.facts.at(-1)).toEqual({ type: "pluginWarnings", data: { parameterChecks: ["old option"] } });
    expect(buildScanResults(input({ apps }))[0]).not.toHaveProperty("targetReference");
  });

  it("reports the files that were asked for, newest layer first", () => {
    const file = (path: string, content: string, layer: number, position: number): ImageFile => ({
      path,
      content: new TextEncoder().encode(content),
      mode: 0o644,
      layer,
      position,
    });
    const files = [
      file("a/Gemfile.lock", "one", 0, 2),
      file("a/composer.lock", "no", 0, 1),
      file("b/Gemfile.lock", "", 1, 1),
      file("c/Gemfile.lock", "two", 1, 3),
      file("node_modules/x/Gemfile.lock", "no", 1, 2),
      file("top.lock", "three", 1, 0),
    ];
    const globsToFind = {
      include: ["**/Gemfile.lock", "/*.lock", "**/composer.lock"],
      exclude: ["**/node_modules/**"],
    };
    const scan = input({ manifestFiles: manifestFiles({ ...VIEW, files: () => files }, { globsToFind }) });
    expect(buildScanResults(scan)[0]?.facts.find((fact) => fact.type === "imageManifestFiles")?.data).toEqual([
      { name: "top.lock", path: "/", contents: "dGhyZWU=" },
      { name: "Gemfile.lock", path: "/c", contents: "dHdv" },
      { name: "Gemfile.lock", path: "/a", contents: "b25l" },
    ]);
    expect(manifestFiles({ ...VIEW, files: () => files }, {})).toEqual([]);
    expect(factTypes(input({ manifestFiles: [] }))).not.toContain("imageManifestFiles");
  });
});

describe("buildScanResults() with applications", () => {
  const graph = { type: "depGraph", data: { pkgs: [] } };
  const apps = {
    results: [{
      type: "npm",
      targetFile: "/app/package.json",
      facts: [graph],
      evidence: [{ path: "app/package.json" }],
    }],
    imageFacts: [{ type: "keyBinariesHashes", data: ["00"] }],
    problems: [],
  };

  it("adds a result for each, with the facts that all have", () => {
    const digests = { manifest: B };
    const results = buildScanResults(input({ image: image({ source: "registry", digests }), apps }));
    expect(results.slice(1)).toEqual([{
      facts: [
        graph,
        { type: "imageId", data: A },
        { type: "imageNames", data: { names: ["team/app:1", `team/app@${B}`] } },
        {
          type: "ociDistributionMetadata",
          data: { registryHost: "docker.io", repository: "team/app", manifestDigest: B, imageTag: "1" },
        },
        { type: "pluginVersion", data: PLUGIN_VERSION },
      ],
      target: { image: "docker-image|team/app" },
      identity: { type: "npm", targetFile: "/app/package.json" },
    }]);
  });

  it("puts facts about the image behind the operating system's graph", () => {
    expect(factTypes(input({ apps })).slice(0, 3)).toEqual(["depGraph", "keyBinariesHashes", "imageId"]);
  });
});

describe("snyk", () => {
  it("renders the JSON array of results and nothing else", () => {
    const scanResults = buildScanResults(input());
    const report: ScanReport = {
      imageName: "team/app:1",
      status: "success",
      os: input().os,
      scanResults: [...scanResults, ...scanResults],
      problems: [],
      digests: {},
      configDigest: A,
    };
    expect([...snyk.render(report)].join("")).toBe(`${JSON.stringify(report.scanResults)}\n`);
    expect([...snyk.render({ ...report, scanResults: [] })].join("")).toBe("[]\n");
  });
});
