/**
 * Names of an image as Snyk reports them: the graph's root, imageNames and ociDistributionMetadata
 * (scan-semantics §1.2). The grammar is distribution/reference's, in the looser reading of snyk-docker-plugin.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { ImageDigests } from "../core/types.ts";

/** Longest repository name, host included (distribution/reference, NameTotalLengthMax). */
const NAME_CHARS = 255;
/** Longest host (RFC 1035) and repository (Snyk's bound) of ociDistributionMetadata, in bytes. */
const HOST_BYTES = 255;
const REPOSITORY_BYTES = 2048;
/** Longer than any valid reference; keeps the regular expressions below from long input. */
const REFERENCE_CHARS = 1024;
/** Hexadecimal digits of the digest algorithms that Snyk accepts in a name. */
const DIGEST_CHARS: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

const COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const PATH = `${COMPONENT}(?:/${COMPONENT})*`;
const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const HOST = `${LABEL}(?:\\.${LABEL})*(?::[0-9]+)?`;
const TAG = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
const DIGEST = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[A-Fa-f0-9]{32,}";
/** name, tag, digest. The plugin compares without regard to case, so upper case passes. */
const REFERENCE = new RegExp(`^((?:${HOST}/)?${PATH})(?::(${TAG}))?(?:@(${DIGEST}))?$`, "i");
/** host, repository, tag, digest; here case counts. */
const QUALIFIED = new RegExp(`^(${HOST})/(${PATH})(?::(${TAG}))?(?:@(${DIGEST}))?$`);
const BARE_DIGEST = /^(?:[a-f0-9]{64}|sha256:[a-fA-F0-9]{64}|sha384:[a-fA-F0-9]{96}|sha512:[a-fA-F0-9]{128})$/;
const SHA256 = /^sha256:[a-f0-9]{64}$/;

/**
 * Name and version of the graph's root package for an image name. The last colon separates the version wherever it
 * stands (`host:5000/app` has the version `5000/app`: kept, as projects at Snyk are found by this name); an archive's
 * file name and a digest give no version.
 */
export function rootPackage(imageName: string): { readonly name: string; readonly version?: string } {
  const colon = imageName.lastIndexOf(":");
  let name = colon < 0 ? imageName : imageName.slice(0, colon);
  let version = colon < 0 ? "latest" : imageName.slice(colon + 1);
  if (name.endsWith(".tar")) version = "";
  if (name.endsWith("@sha256")) {
    name = name.slice(0, -"@sha256".length);
    version = "";
  }
  return { name: `docker-image|${name}`, ...(version === "" ? {} : { version }) };
}

/**
 * The names of the imageNames fact: `name:tag` (tag `latest` when the name has neither tag nor digest), then the name
 * with each digest that is known, then with the digest that stands in the name itself.
 *
 * @throws {OutpostError} REFERENCE_INVALID if the name is not an image reference.
 */
export function imageNames(imageName: string, digests: ImageDigests): string[] {
  const match = imageName.length > REFERENCE_CHARS ? null : REFERENCE.exec(imageName);
  if (match === null) throw invalid(imageName, imageName === "" ? "it is empty" : "it does not follow the grammar");
  const [, name = "", tag, digest] = match;
  if (name.length > NAME_CHARS) throw invalid(imageName, `the repository is longer than ${NAME_CHARS} characters`);
  if (digest !== undefined) checkDigest(imageName, digest);
  const version = tag ?? (digest === undefined ? "latest" : undefined);
  return [
    ...(version === undefined ? [] : [`${name}:${version}`]),
    ...[digests.manifest, digests.index, digest].flatMap((known) => known === undefined ? [] : [`${name}@${known}`]),
  ];
}

/** Where an image was pulled from, as the ociDistributionMetadata fact states it. */
export interface OciDistributionMetadata {
  readonly registryHost: string;
  readonly repository: string;
  readonly manifestDigest: string;
  readonly indexDigest?: string;
  readonly imageTag?: string;
}

/**
 * Takes an image name apart into host and repository, with Docker Hub's defaults for a name without a host.
 * Undefined when the manifest digest is unknown or any part breaks Snyk's rules: the fact is then left out.
 */
export function ociDistributionMetadata(imageName: string, digests: ImageDigests): OciDistributionMetadata | undefined {
  const { manifest, index } = digests;
  if (manifest === undefined || !SHA256.test(manifest)) return undefined;
  if (index !== undefined && !SHA256.test(index)) return undefined;
  if (imageName.length > REFERENCE_CHARS || BARE_DIGEST.test(imageName)) return undefined;
  const [, host, repository, tag, digest] = QUALIFIED.exec(qualified(imageName)) ?? [];
  if (host === undefined || repository === undefined) return undefined;
  if (host.length + 1 + repository.length > NAME_CHARS) return undefined;
  if (host.length > HOST_BYTES || repository.length > REPOSITORY_BYTES) return undefined;
  if (digest !== undefined && !BARE_DIGEST.test(digest)) return undefined;
  return {
    registryHost: host,
    repository,
    manifestDigest: manifest,
    ...(index === undefined ? {} : { indexDigest: index }),
    ...(tag === undefined ? {} : { imageTag: tag }),
  };
}

/** Completes a name with Docker Hub's host and `library/` where they are implied. */
function qualified(imageName: string): string {
  const slash = imageName.indexOf("/");
  const first = imageName.slice(0, Math.max(slash, 0));
  const named = slash >= 0 && (/[.:]/.test(first) || first === "localhost");
  const host = !named || first === "index.docker.io" ? "docker.io" : first;
  const rest = named ? imageName.slice(slash + 1) : imageName;
  return host === "docker.io" && !rest.includes("/") ? `${host}/library/${rest}` : `${host}/${rest}`;
}

function checkDigest(imageName: string, digest: string): void {
  const colon = digest.indexOf(":");
  const algorithm = digest.slice(0, colon);
  const hex = digest.slice(colon + 1);
  const length = Object.hasOwn(DIGEST_CHARS, algorithm) ? DIGEST_CHARS[algorithm] : undefined;
  if (length === undefined) throw invalid(imageName, "its digest has an unknown algorithm");
  if (hex.length !== length) throw invalid(imageName, `its digest has ${hex.length} digits instead of ${length}`);
  if (/[^a-f0-9]/.test(hex)) throw invalid(imageName, "its digest has upper-case digits");
}

function invalid(imageName: string, why: string): OutpostError {
  return new OutpostError("REFERENCE_INVALID", `Cannot report the image as "${imageName.slice(0, 300)}": ${why}`, {
    hint: "Name the image as host/repository:tag or host/repository@sha256:….",
  });
}
