/**
 * The agent's messages, in one place. Snyk publishes the paths, the credential forms, the callbacks' paths and the
 * shape of a ScanResult; it does not publish the bodies of `/scan`, `/discover` and of the callbacks. Fields marked
 * *inferred* follow from Snyk's published registry client and public import API. docs/CONTRACT.md tells the reader.
 *
 * @module
 */
import { z } from "zod";
import { type Digest, isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { isRepository, isTag, parseImageRef } from "../core/image_ref.ts";
import { LIMITS } from "../core/limits.ts";
import type { RegistryCredentials } from "../core/ports.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { parsePlatform } from "../lib/platform.ts";
import type { ScanTarget } from "../jobs/scan_job.ts";
import { analysisOptions } from "./scan_options.ts";

const text = z.string().min(1);

/** One image of a request; everything in it is *inferred*, unknown fields are kept. */
export const IMAGE_FIELDS = z.object({
  /** inferred: repository, with or without tag or digest. */
  repository: text.nullish(),
  /** inferred. */
  name: text.nullish(),
  /** inferred. */
  image: text.nullish(),
  /** inferred. */
  imageName: text.nullish(),
  /** documented for Snyk's public import API, inferred here: `target.name` is `team/app:1.2`. */
  target: z.union([z.object({ name: text.nullish() }).passthrough(), z.string()]).nullish(),
  /** inferred. */
  tag: text.nullish(),
  /** inferred. */
  digest: text.nullish(),
  /** inferred: `os/arch[/variant]`. */
  platform: text.nullish(),
  /** inferred: snyk-docker-plugin's options by their names, see scan_options.ts. */
  options: z.unknown(),
}).passthrough();

/** Body of `POST /scan` and `POST /discover`; *inferred*, unknown fields are kept. */
export const SCAN_REQUEST = IMAGE_FIELDS.extend({
  images: z.array(IMAGE_FIELDS).max(LIMITS.imagesPerScan).nullish(),
  /** inferred: where results go; a path, an origin, or both. */
  callbackUrl: z.string().nullish(),
});

/** Fields that may hold credentials: read from the request, never carried to a callback. */
const CREDENTIAL_FIELDS = ["credentials", "registryCredentials", "authorization", "auth"] as const;
/** Letter case does not matter; at any depth. */
const DROPPED_FIELDS: ReadonlySet<string> = new Set(
  [...CREDENTIAL_FIELDS, "username", "password", "token", "BROKER_VAR_SUB"].map((name) => name.toLowerCase()),
);

/** A scan request, taken apart. */
export interface ParsedScanRequest {
  readonly targets: readonly ScanTarget[];
  readonly callbackUrl: string | undefined;
  /** Fields to carry to every callback. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * Texts in the body of `/scan` or `/discover` that may be credentials, to be tried in order. Anything is taken: what the
 * body is worth otherwise, {@link parseScanRequest} says, which needs the credentials' registry.
 */
export function credentialTexts(body: unknown): readonly string[] {
  return isRecord(body) ? CREDENTIAL_FIELDS.flatMap((name) => credentialText(body[name])) : [];
}

/**
 * Parses the body of `/scan` or `/discover`. `base` is the registry's CR_BASE: its host in front of a name is dropped.
 * `substituted` are the paths (`note`, `images.0.note`) whose values the broker client filled in: those are ours, not
 * the server's to read back, and are not carried to callbacks.
 *
 * @throws {OutpostError} REQUEST_INVALID or REFERENCE_INVALID, naming the field.
 */
export function parseScanRequest(
  body: unknown,
  base: string,
  substituted: readonly string[] = [],
): ParsedScanRequest {
  const parsed = SCAN_REQUEST.safeParse(body);
  if (!parsed.success) {
    const issues = parsed.error.issues.slice(0, 5).map((issue) =>
      `${issue.path.join(".") || "body"}: ${issue.message}`
    );
    throw new OutpostError("REQUEST_INVALID", `Cannot read the scan request: ${issues.join("; ")}`);
  }
  const request = parsed.data;
  const hidden = new Set(substituted.map((path) => path.replaceAll(/\[(\d+)\]/g, ".$1")));
  const { images, ...top } = request;
  const found = images === undefined || images === null
    ? [{ image: top, target: parseTarget(top, {}, base) }]
    : images.map((image, index) => ({
      image,
      target: parseTarget(image, carried(image, hidden, `images.${index}.`), base),
    }));
  const targets = found.map(({ image, target }) => {
    const analysis = analysisOptions(image.options, top.options);
    return analysis === undefined ? target : { ...target, analysis };
  });
  if (targets.length === 0) {
    throw new OutpostError("REQUEST_INVALID", "Cannot scan: the request names no image", { hint: "Fill images." });
  }
  return {
    targets,
    callbackUrl: request.callbackUrl ?? undefined,
    fields: carried(top, hidden, ""),
  };
}

/** The fields without credentials and without those whose path is hidden; `prefix` is the path of the object itself. */
function carried(
  fields: Readonly<Record<string, unknown>>,
  hidden: ReadonlySet<string>,
  prefix: string,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([name]) => !DROPPED_FIELDS.has(name.toLowerCase()) && !hidden.has(prefix + name))
      .map(([name, value]) => [name, carriedValue(value, hidden, `${prefix}${name}.`)]),
  );
}

function carriedValue(value: unknown, hidden: ReadonlySet<string>, prefix: string): unknown {
  if (Array.isArray(value)) {
    // A hidden item leaves a gap, so that the others keep their places.
    return value.map((item, i) => hidden.has(`${prefix}${i}`) ? null : carriedValue(item, hidden, `${prefix}${i}.`));
  }
  return isRecord(value) ? carried(value, hidden, prefix) : value;
}

function credentialText(value: unknown): readonly string[] {
  if (typeof value === "string") return [value];
  if (!isRecord(value)) return [];
  return [new TextEncoder().encode(JSON.stringify(value)).toBase64()];
}

function parseTarget(
  image: z.output<typeof IMAGE_FIELDS>,
  fields: Readonly<Record<string, unknown>>,
  base: string,
): ScanTarget {
  const targetName = typeof image.target === "string" ? image.target : image.target?.name;
  const name = image.repository ?? image.name ?? image.imageName ?? image.image ?? targetName;
  if (name === undefined || name === null) {
    throw new OutpostError("REQUEST_INVALID", "Cannot scan: an image has no name", {
      hint: "Give repository, name, image, imageName or target.name.",
    });
  }
  const ref = parseImageName(name, base);
  const tag = image.tag ?? ref.tag;
  const digest = image.digest ?? ref.digest;
  if (tag !== undefined && !isTag(tag)) throw new OutpostError("REFERENCE_INVALID", `Cannot use "${tag}" as a tag`);
  if (digest !== undefined && !isDigest(digest)) {
    throw new OutpostError("REFERENCE_INVALID", `Cannot use "${digest.slice(0, 160)}" as a digest`);
  }
  const platform = image.platform === undefined || image.platform === null ? undefined : parsePlatform(image.platform);
  return { repository: ref.repository, tag, digest, platform, fields };
}

/** A name in a request: repository with or without tag and digest, and with or without the registry's own host. */
export interface ImageName {
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

/**
 * Parses an image name. The registry's own host (`base`) in front is dropped; a first part with a dot that is not a
 * host of ours belongs to the repository.
 *
 * @throws {OutpostError} REFERENCE_INVALID.
 */
export function parseImageName(name: string, base: string): ImageName {
  const host = hostOf(base);
  const own = host !== undefined && name.toLowerCase().startsWith(`${host}/`) ? name.slice(host.length + 1) : name;
  const { repository, tag, digest } = parseImageRef(own, { host: false });
  return { repository, tag, digest };
}

/** `host[:port]` of CR_BASE in lower case. */
function hostOf(base: string): string | undefined {
  const url = base.includes("://") ? base : `https://${base}`;
  return base === "" || !URL.canParse(url) ? undefined : new URL(url).host;
}

/**
 * The repository of a path such as `/list/team/app`.
 *
 * @throws {OutpostError} REFERENCE_INVALID when it is not a repository name.
 */
export function parseRepositoryPath(path: string): string {
  let repository = path;
  try {
    repository = decodeURIComponent(path);
  } catch {
    // Not percent-encoded UTF-8: the check below names the text.
  }
  if (isRepository(repository)) return repository;
  throw new OutpostError("REFERENCE_INVALID", `Cannot use "${repository.slice(0, 255)}" as a repository name`, {
    hint: "A repository name is lower case, its parts separated by single slashes.",
  });
}

/** The first text that is credentials, tried in order; undefined when none is. */
export function firstCredentials(
  texts: readonly (string | undefined)[],
  parse: (text: string) => RegistryCredentials,
): RegistryCredentials | undefined {
  let failure: unknown;
  for (const candidate of texts) {
    if (candidate === undefined || candidate.trim() === "") continue;
    try {
      return parse(candidate);
    } catch (error) {
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return undefined;
}
