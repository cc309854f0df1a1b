/**
 * Small images with real package databases, built on the spot: what the demo's registry holds, and what the tests
 * push. The data is our own writing in the formats of deb-control(5), apk-package(5) and os-release(5).
 *
 * @module
 */
import type { TarMember } from "./tar_writer.ts";
import {
  buildAttestation,
  buildImage,
  buildIndex,
  type BuiltImage,
  type BuiltIndex,
  type ImageSpec,
} from "./oci_builder.ts";

/** A Debian package as dpkg's status file describes it. */
export interface SampleDeb {
  readonly name: string;
  readonly version: string;
  /** As in the file: `name` or `name (version)`. */
  readonly source?: string;
  readonly depends?: string;
  readonly provides?: string;
  readonly architecture?: string;
  /** Default `install ok installed`. */
  readonly status?: string;
}

/** An Alpine package as apk's database describes it. */
export interface SampleApk {
  readonly name: string;
  readonly version: string;
  readonly origin?: string;
  /** Space separated, as in the file. */
  readonly depends?: string;
  readonly provides?: string;
}

/** `/etc/os-release`. */
export function osRelease(id: string, version: string, pretty: string): string {
  return `PRETTY_NAME="${pretty}"\nNAME="${pretty.split(" ")[0]}"\nVERSION_ID="${version}"\nID=${id}\n`;
}

/** One stanza of dpkg's status file. */
export function dpkgStanza(deb: SampleDeb): string {
  return [
    `Package: ${deb.name}`,
    `Status: ${deb.status ?? "install ok installed"}`,
    "Priority: required",
    "Section: libs",
    "Installed-Size: 100",
    "Maintainer: Outpost Samples <samples@outpost.invalid>",
    `Architecture: ${deb.architecture ?? "amd64"}`,
    ...(deb.source === undefined ? [] : [`Source: ${deb.source}`]),
    `Version: ${deb.version}`,
    ...(deb.provides === undefined ? [] : [`Provides: ${deb.provides}`]),
    ...(deb.depends === undefined ? [] : [`Depends: ${deb.depends}`]),
    `Description: sample package ${deb.name}`,
    " It holds no files; only its entry in the database is real.",
    "",
  ].join("\n");
}

/** `/var/lib/dpkg/status`. */
export function dpkgStatus(debs: readonly SampleDeb[]): string {
  return debs.map((deb) => `${dpkgStanza(deb)}\n`).join("");
}

/** `/lib/apk/db/installed`. */
export function apkInstalled(apks: readonly SampleApk[]): string {
  return apks.map((apk) =>
    [
      "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
      `P:${apk.name}`,
      `V:${apk.version}`,
      "A:x86_64",
      "S:1000",
      "I:4096",
      `T:sample package ${apk.name}`,
      "U:https://outpost.invalid/",
      "L:MIT",
      `o:${apk.origin ?? apk.name}`,
      "m:Outpost Samples <samples@outpost.invalid>",
      ...(apk.depends === undefined ? [] : [`D:${apk.depends}`]),
      ...(apk.provides === undefined ? [] : [`p:${apk.provides}`]),
      "F:usr",
      "F:usr/share",
      "",
      "",
    ].join("\n")
  ).join("");
}

/** The packages of {@link debianSample}. */
export const SAMPLE_DEBS: readonly SampleDeb[] = [
  { name: "base-files", version: "12.4+deb12u11", depends: "awk" },
  { name: "mawk", version: "1.3.4.20200120-3.1", provides: "awk", depends: "libc6 (>= 2.29)" },
  { name: "libc6", version: "2.36-9+deb12u10", source: "glibc", depends: "libgcc-s1, libcrypt1" },
  { name: "libcrypt1", version: "1:4.4.33-2", source: "libxcrypt", depends: "libc6 (>= 2.36)" },
  {
    name: "libgcc-s1",
    version: "12.2.0-14+deb12u1",
    source: "gcc-12",
    depends: "gcc-12-base (= 12.2.0-14+deb12u1), libc6",
  },
  { name: "gcc-12-base", version: "12.2.0-14+deb12u1", source: "gcc-12" },
  { name: "zlib1g", version: "1:1.2.13.dfsg-1", source: "zlib", depends: "libc6 (>= 2.14)" },
  { name: "libssl3", version: "3.0.16-1~deb12u1", source: "openssl", depends: "libc6 (>= 2.34)" },
  { name: "openssl", version: "3.0.16-1~deb12u1", depends: "libc6 (>= 2.34), libssl3 (>= 3.0.9)" },
  { name: "nano", version: "7.2-1+deb12u1", status: "deinstall ok config-files" },
];

/** The packages of {@link alpineSample}. */
export const SAMPLE_APKS: readonly SampleApk[] = [
  { name: "musl", version: "1.2.5-r9", provides: "so:libc.musl-x86_64.so.1=1" },
  { name: "busybox", version: "1.37.0-r12", depends: "so:libc.musl-x86_64.so.1", provides: "cmd:busybox=1.37.0-r12" },
  {
    name: "busybox-binsh",
    version: "1.37.0-r12",
    origin: "busybox",
    depends: "busybox=1.37.0-r12",
    provides: "/bin/sh cmd:sh=1.37.0-r12",
  },
  { name: "zlib", version: "1.3.1-r2", depends: "so:libc.musl-x86_64.so.1", provides: "so:libz.so.1=1.3.1" },
  {
    name: "libcrypto3",
    version: "3.3.3-r0",
    origin: "openssl",
    depends: "so:libc.musl-x86_64.so.1",
    provides: "so:libcrypto.so.3=3.3.3",
  },
  {
    name: "libssl3",
    version: "3.3.3-r0",
    origin: "openssl",
    depends: "so:libc.musl-x86_64.so.1 so:libcrypto.so.3",
    provides: "so:libssl.so.3=3.3.3",
  },
  { name: "apk-tools", version: "2.14.6-r3", depends: "musl>=1.2 so:libcrypto.so.3 so:libssl.so.3 so:libz.so.1" },
];

/** The packages of {@link distrolessSample}. */
export const SAMPLE_STATUS_D: readonly SampleDeb[] = [
  { name: "base-files", version: "12.4+deb12u11" },
  { name: "netbase", version: "6.4", architecture: "all" },
  { name: "tzdata", version: "2025b-0+deb12u1", architecture: "all" },
];

/** Options that every sample takes: what an image description holds beside its layers. */
export type SampleOptions = Omit<ImageSpec, "layers">;

/**
 * Like Debian 12 with a second layer of an application: two layers, the second with a new status file and a whiteout.
 * {@link SAMPLE_DEBS} is installed; its last entry is only half there (deinstalled).
 */
export function debianSample(options: SampleOptions = {}): BuiltImage {
  const base = SAMPLE_DEBS.filter((deb) => deb.name !== "openssl");
  return buildImage({
    config: { Env: ["PATH=/usr/bin:/bin"], Cmd: ["/usr/bin/openssl", "version"], Labels: { "sample": "debian" } },
    ...options,
    layers: [
      {
        createdBy: "/bin/sh -c #(nop) ADD rootfs in /",
        members: [
          ...directories("etc", "tmp", "usr/lib", "var/lib/dpkg"),
          { path: "usr/lib/os-release", content: osRelease("debian", "12", "Debian GNU/Linux 12 (bookworm)") },
          { path: "etc/os-release", kind: "symlink", target: "../usr/lib/os-release" },
          { path: "etc/debian_version", content: "12.11\n" },
          { path: "tmp/left-over", content: "gone in the next layer\n" },
          { path: "var/lib/dpkg/status", content: dpkgStatus(base) },
        ],
      },
      {
        createdBy: "RUN /bin/sh -c apt-get install -y openssl && rm left-over",
        members: [
          { path: "var/lib/dpkg/status", content: dpkgStatus(SAMPLE_DEBS) },
          { path: "tmp/.wh.left-over", content: "" },
        ],
      },
    ],
  });
}

/** Like Alpine 3.21: one layer. */
export function alpineSample(options: SampleOptions = {}): BuiltImage {
  return buildImage({
    config: { Env: ["PATH=/usr/bin:/bin"], Cmd: ["/bin/sh"] },
    ...options,
    layers: [{
      createdBy: "ADD alpine-minirootfs.tar.gz /",
      members: [
        ...directories("etc", "lib/apk/db", "usr/lib"),
        { path: "etc/alpine-release", content: "3.21.3\n" },
        { path: "etc/os-release", kind: "symlink", target: "../usr/lib/os-release" },
        { path: "usr/lib/os-release", content: osRelease("alpine", "3.21.3", "Alpine Linux v3.21") },
        { path: "lib/apk/db/installed", content: apkInstalled(SAMPLE_APKS) },
      ],
    }],
  });
}

/** Like a distroless image: one status.d file per package, an uncompressed and a zstd layer. */
export function distrolessSample(options: SampleOptions = {}): BuiltImage {
  const [first, ...rest] = SAMPLE_STATUS_D;
  const files = (debs: readonly SampleDeb[]): TarMember[] =>
    debs.map((deb) => ({ path: `./var/lib/dpkg/status.d/${deb.name}`, content: dpkgStanza(deb) }));
  return buildImage({
    config: { User: "65532", Entrypoint: ["/app"] },
    ...options,
    layers: [
      {
        compression: "none",
        createdBy: "bazel build",
        members: [
          { path: "./etc/os-release", content: osRelease("debian", "12", "Distroless Debian 12") },
          ...files(first === undefined ? [] : [first]),
        ],
      },
      { compression: "zstd", createdBy: "bazel build", members: files(rest) },
      { createdBy: "COPY app /app", members: [{ path: "app", content: "#!/bin/sh\nexit 0\n", mode: 0o755 }] },
    ],
  });
}

/** The Alpine sample for two platforms under one index, with an SPDX statement attached to the first, as BuildKit does. */
export function multiPlatformSample(): BuiltIndex {
  const amd64 = alpineSample();
  const arm64 = alpineSample({ platform: { os: "linux", architecture: "arm64", variant: "v8" } });
  const statement = {
    _type: "https://in-toto.io/Statement/v0.1",
    predicateType: "https://spdx.dev/Document",
    subject: [{ name: "sample", digest: { sha256: amd64.descriptor.digest.slice(7) } }],
    predicate: { spdxVersion: "SPDX-2.3", SPDXID: "SPDXRef-DOCUMENT", name: "sample", packages: [] },
  };
  return buildIndex([amd64, arm64, buildAttestation(amd64, [statement])]);
}

/** Directory entries for every folder on the paths, parents first. */
function directories(...paths: readonly string[]): TarMember[] {
  const all = new Set(paths.flatMap((path) => path.split("/").map((_, at, parts) => parts.slice(0, at + 1).join("/"))));
  return [...all].map((path) => ({ path: `${path}/`, kind: "directory" }));
}
