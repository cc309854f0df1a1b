/**
 * Descriptors as they stand in manifests and indexes (OCI image specification, descriptor.md).
 *
 * @module
 */
import { isDigest } from "../core/digest.ts";
import type { Descriptor, Platform } from "../core/types.ts";
import { isRecord } from "./bounded_json.ts";

/** What makes a descriptor unusable. */
export type DescriptorProblem = "not an object" | "digest" | "size";

/**
 * Reads a descriptor tolerantly: digest and size must be usable, everything else is taken when it has its form and left
 * out when it has not. Throws what `fail` makes of a problem; `value` is what the problem is about.
 */
export function parseDescriptor(
  value: unknown,
  fail: (problem: DescriptorProblem, value: unknown) => Error,
): Descriptor {
  if (!isRecord(value)) throw fail("not an object", value);
  const { mediaType, digest, size } = value;
  if (!isDigest(digest)) throw fail("digest", digest);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) throw fail("size", digest);
  const platform = parsePlatform(value["platform"]);
  const annotations = parseAnnotations(value["annotations"]);
  const urls = Array.isArray(value["urls"]) ? value["urls"].filter((url) => typeof url === "string") : [];
  return {
    mediaType: typeof mediaType === "string" ? mediaType : "",
    digest,
    size,
    ...(platform === undefined ? {} : { platform }),
    ...(annotations === undefined ? {} : { annotations }),
    ...(urls.length === 0 ? {} : { urls }),
  };
}

function parsePlatform(value: unknown): Platform | undefined {
  if (!isRecord(value)) return undefined;
  const { os, architecture, variant } = value;
  if (typeof os !== "string" || typeof architecture !== "string") return undefined;
  return { os, architecture, ...(typeof variant === "string" && variant !== "" ? { variant } : {}) };
}

/** The annotations whose values are texts. */
export function parseAnnotations(value: unknown): Readonly<Record<string, string>> | undefined {
  if (!isRecord(value)) return undefined;
  return Object.fromEntries(
    Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === "string"),
  );
}
