import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Digest } from "../core/digest.ts";
import { layerFail } from "./fail.ts";
import { ContentVerifier } from "./verify.ts";

const CONTENT = new TextEncoder().encode("content");
const fail = layerFail("sha256:abc");

function digestOf(algorithm: "sha256" | "sha512", bytes = CONTENT): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

function verifier(expected: { digest?: Digest; size?: number }): ContentVerifier {
  return new ContentVerifier({ what: "stored bytes", fail, ...expected });
}

describe("ContentVerifier", () => {
  it.each(["sha256", "sha512"] as const)("accepts the right content by %s", (algorithm) => {
    const digest = digestOf(algorithm);
    const checked = verifier({ digest, size: 7 });
    for (const byte of CONTENT) checked.update(Uint8Array.of(byte));
    expect(checked.finish()).toBe(digest);
    expect(checked.bytes).toBe(7);
  });

  it("computes the sha256 when no digest is expected", () => {
    const checked = verifier({});
    checked.update(CONTENT);
    expect(checked.finish()).toBe(digestOf("sha256"));
  });

  it.each(["sha256", "sha512"] as const)("refuses content with another %s", (algorithm) => {
    const checked = verifier({ digest: digestOf(algorithm), size: 7 });
    checked.update(new TextEncoder().encode("CONTENT"));
    expect(() => checked.finish()).toThrow(
      expect.objectContaining({
        code: "INTEGRITY",
        layer: "sha256:abc",
        retryable: true,
        message: expect.stringContaining(digestOf(algorithm)),
      }),
    );
  });

  it("refuses content that is too short", () => {
    const checked = verifier({ size: 8 });
    checked.update(CONTENT);
    expect(() => checked.finish()).toThrow(
      expect.objectContaining({
        code: "INTEGRITY",
        message: "Cannot read layer sha256:abc: there are 7 stored bytes instead of 8",
      }),
    );
  });

  it("refuses content that is too long at the first byte too many", () => {
    const checked = verifier({ size: 6 });
    checked.update(CONTENT.subarray(0, 6));
    expect(() => checked.update(CONTENT.subarray(6))).toThrow(
      expect.objectContaining({ code: "INTEGRITY", layer: "sha256:abc" }),
    );
  });
});
