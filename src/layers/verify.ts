/**
 * The one verifier of content: size and digest of bytes that stream by (OCI image specification, descriptor.md
 * "Verification").
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { type Digest, digestAlgorithm } from "../core/digest.ts";
import type { Fail } from "./fail.ts";

/** Options of {@link ContentVerifier}. */
export interface ContentVerifierOptions {
  /** What the bytes are, for messages: "stored bytes". */
  readonly what: string;
  /** Expected digest; without it the sha256 is computed and nothing compared. */
  readonly digest?: Digest | undefined;
  /** Expected size in bytes; without it any size is right. */
  readonly size?: number | undefined;
  /** Called with INTEGRITY. */
  readonly fail: Fail;
}

/** Checks content while it streams: too much of it fails at once, everything else before the end is reported. */
export class ContentVerifier {
  readonly #options: ContentVerifierOptions;
  readonly #algorithm: "sha256" | "sha512";
  readonly #hash: Hash;
  #bytes = 0;

  constructor(options: ContentVerifierOptions) {
    this.#options = options;
    this.#algorithm = options.digest === undefined ? "sha256" : digestAlgorithm(options.digest);
    this.#hash = createHash(this.#algorithm);
  }

  /** Bytes seen. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes the next bytes.
   *
   * @throws INTEGRITY when there are more than expected.
   */
  update(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    const { size, what, fail } = this.#options;
    if (size !== undefined && this.#bytes > size) {
      throw fail("INTEGRITY", `there are more ${what} than the ${size} that were announced`);
    }
    this.#hash.update(bytes);
  }

  /**
   * Declares the content complete. May be called once.
   *
   * @returns Its digest.
   * @throws INTEGRITY when it is too short or has another digest.
   */
  finish(): Digest {
    const { size, what, digest, fail } = this.#options;
    if (size !== undefined && this.#bytes !== size) {
      throw fail("INTEGRITY", `there are ${this.#bytes} ${what} instead of ${size}`);
    }
    const actual: Digest = `${this.#algorithm}:${this.#hash.digest("hex")}`;
    if (digest !== undefined && actual !== digest) {
      throw fail("INTEGRITY", `the ${what} have the digest ${actual} instead of ${digest}`);
    }
    return actual;
  }
}
