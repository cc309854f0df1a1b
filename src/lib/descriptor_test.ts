import { describe, expect, it } from "vitest";
import { parseDescriptor } from "./descriptor.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const fail = (problem: string): Error => new Error(problem);

describe("parseDescriptor()", () => {
  it("keeps what has its form and leaves out what has not", () => {
    const whole = {
      mediaType: "m",
      digest: DIGEST,
      size: 0,
      platform: { os: "linux", architecture: "arm", variant: "v7" },
      annotations: { a: "b" },
      urls: ["https://h/x"],
    };
    expect(parseDescriptor({ ...whole, annotations: { a: "b", c: 1 }, extra: true }, fail)).toEqual(whole);
    const odd = { mediaType: 7, digest: DIGEST, size: 1, platform: { os: "linux" }, annotations: [], urls: [null] };
    expect(parseDescriptor(odd, fail)).toMatchObject({ mediaType: "", digest: DIGEST, size: 1 });
    expect(parseDescriptor(odd, fail)).not.toHaveProperty("platform");
    expect(parseDescriptor(odd, fail)).not.toHaveProperty("urls");
  });

  it.each([
    [null, "not an object"],
    [{ digest: "sha256:12", size: 1 }, "digest"],
    [{ digest: DIGEST }, "size"],
    [{ digest: DIGEST, size: -1 }, "size"],
    [{ digest: DIGEST, size: 1.5 }, "size"],
    [{ digest: DIGEST, size: 2 ** 60 }, "size"],
  ])("refuses %j", (value, problem) => {
    expect(() => parseDescriptor(value, fail)).toThrow(problem);
  });
});
