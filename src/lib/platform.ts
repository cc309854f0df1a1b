/**
 * Platforms: parsing `os/arch[/variant]` and choosing one entry of a multi-platform image.
 *
 * Names follow the OCI image specification (image-index.md, `platform`) and Go's GOOS/GOARCH; variants are compared
 * as containerd's `platforms` package does: `arm64` means `arm64/v8`, `arm` means `arm/v7`, `amd64` means `amd64/v1`.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { ImageConfig, Platform } from "../core/types.ts";

/** What is chosen when an image has several platforms and nobody asked for one. */
export const DEFAULT_PLATFORM: Platform = { os: "linux", architecture: "amd64" };

/** The part of an index entry that the choice looks at; a `Descriptor` is one. */
export interface PlatformCandidate {
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

const PART = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;

/** Spellings of the kernel and of compilers, as containerd normalises them. */
const ALIASES: Readonly<Record<string, { readonly architecture: string; readonly variant?: string }>> = {
  x86_64: { architecture: "amd64" },
  "x86-64": { architecture: "amd64" },
  i386: { architecture: "386" },
  aarch64: { architecture: "arm64" },
  armhf: { architecture: "arm", variant: "v7" },
  armel: { architecture: "arm", variant: "v6" },
};

const IMPLIED_VARIANT: Readonly<Record<string, string>> = { amd64: "v1", arm: "v7", arm64: "v8" };

/**
 * Parses `os/arch[/variant]`, such as `linux/arm/v7`. Letter case does not matter; `x86_64`, `aarch64`, `i386`,
 * `armhf` and `armel` are understood.
 *
 * @throws {OutpostError} REQUEST_INVALID if the text is not a platform.
 */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  const [os, name, variant] = parts;
  if (os === undefined || name === undefined || parts.length > 3 || !parts.every((part) => PART.test(part))) {
    throw new OutpostError("REQUEST_INVALID", `Cannot use "${text.slice(0, 100)}" as a platform`, {
      hint: "Write it as os/architecture or os/architecture/variant, for instance linux/arm64.",
    });
  }
  const known = Object.hasOwn(ALIASES, name) ? ALIASES[name] : undefined;
  const chosen = variant ?? known?.variant;
  return {
    os: os === "macos" ? "darwin" : os,
    architecture: known?.architecture ?? name,
    ...(chosen === undefined ? {} : { variant: chosen }),
  };
}

/** The platform as `os/arch[/variant]`. */
export function formatPlatform(platform: Platform): string {
  const variant = platform.variant === undefined || platform.variant === "" ? "" : `/${platform.variant}`;
  return `${platform.os}/${platform.architecture}${variant}`;
}

/** The platform that an image configuration states; undefined unless it names both parts. */
export function platformOfConfig(config: ImageConfig): Platform | undefined {
  if (!config.os || !config.architecture) return undefined;
  return {
    os: config.os,
    architecture: config.architecture,
    ...(config.variant ? { variant: config.variant } : {}),
  };
}

/** Whether an index entry holds an attestation, or something else that is not an image (BuildKit's marks). */
export function isAttestation(candidate: PlatformCandidate): boolean {
  return candidate.annotations?.["vnd.docker.reference.type"] === "attestation-manifest" ||
    candidate.platform?.os === "unknown" || candidate.platform?.architecture === "unknown";
}

/**
 * Whether `offered` may stand for `wanted`: same system and architecture, and the same variant when one was asked for.
 * An offer that states no variant has the architecture's usual one.
 */
export function matchesPlatform(offered: Platform, wanted: Platform): boolean {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return false;
  return !wanted.variant || variantOf(offered) === variantOf(wanted);
}

function variantOf(platform: Platform): string | undefined {
  return platform.variant || IMPLIED_VARIANT[platform.architecture];
}

/**
 * Chooses the entry of an index for a platform. Attestations are dropped first.
 *
 * - A platform was asked for: the first entry that has it; when no variant was asked for, an entry of the usual variant
 *   goes before others. An only entry that states no platform is taken as it is.
 * - None was asked for: the only entry there is, or the first when all are of one platform; else linux/amd64.
 *
 * Entries that are nested indexes must be flattened by the caller, or they count as entries without a platform.
 *
 * @param subject What is chosen from, for the message: `the image index sha256:…`.
 * @throws {OutpostError} PLATFORM_NOT_FOUND, naming the platforms that there are.
 */
export function choosePlatform<T extends PlatformCandidate>(
  candidates: readonly T[],
  wanted: Platform | undefined,
  subject: string,
): T {
  const images = candidates.filter((candidate) => !isAttestation(candidate));
  const [first] = images;
  if (first !== undefined && (images.length === 1 || wanted === undefined)) {
    const names = new Set(images.map(({ platform }) => platform === undefined ? "" : formatPlatform(platform)));
    const asked = wanted !== undefined && first.platform !== undefined;
    if (names.size === 1 && !asked && (images.length === 1 || !names.has(""))) return first;
  }
  const platform = wanted ?? DEFAULT_PLATFORM;
  const matching = images.filter((image) => image.platform !== undefined && matchesPlatform(image.platform, platform));
  const usual = matching.find((image) =>
    image.platform !== undefined && variantOf(image.platform) === variantOf(platform)
  );
  const chosen = usual ?? matching[0];
  if (chosen !== undefined) return chosen;
  throw notFound(images, platform, wanted !== undefined, subject);
}

function notFound(
  images: readonly PlatformCandidate[],
  platform: Platform,
  asked: boolean,
  subject: string,
): OutpostError {
  const names = [
    ...new Set(images.map((image) => image.platform === undefined ? "unstated" : formatPlatform(image.platform))),
  ];
  const shown = names.slice(0, 20).map((name) => name.slice(0, 100)).join(", ") + (names.length > 20 ? ", …" : "");
  const hint = names.length === 0
    ? "There is no image in it, only attestations or nothing at all."
    : asked
    ? `Ask for one of: ${shown}.`
    : `Choose a platform with --platform; there are: ${shown}.`;
  const what = `Cannot find an image for ${formatPlatform(platform)} in ${subject}`;
  return new OutpostError("PLATFORM_NOT_FOUND", what, { hint });
}
