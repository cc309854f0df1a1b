/**
 * Content digests, `algorithm:hex`, as in the OCI image specification, descriptor.md "Digests".
 *
 * @module
 */
import { OutpostError } from "./errors.ts";

/** A digest that has been checked: `sha256:` and 64 lower-case hex digits, or `sha512:` and 128. */
export type Digest = `sha256:${string}` | `sha512:${string}`;

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Whether the text is a digest that we can verify. */
export function isDigest(text: unknown): text is Digest {
  return typeof text === "string" && DIGEST.test(text);
}

/**
 * Returns the text as a {@link Digest}.
 *
 * @throws {OutpostError} REFERENCE_INVALID if it is not one.
 */
export function parseDigest(text: unknown): Digest {
  if (isDigest(text)) return text;
  throw new OutpostError("REFERENCE_INVALID", `Cannot use "${String(text).slice(0, 160)}" as a digest`, {
    hint: "A digest is sha256: and 64 lower-case hexadecimal digits.",
  });
}

/** The hash's name as `node:crypto` and WebCrypto know it. */
export function digestAlgorithm(digest: Digest): "sha256" | "sha512" {
  return digest.startsWith("sha256:") ? "sha256" : "sha512";
}

/** The hexadecimal part. */
export function digestHex(digest: Digest): string {
  return digest.slice(7);
}
