import { describe, expect, it } from "vitest";
import { analyzeDockerfile } from "./dockerfile.ts";

function base(...lines: readonly string[]): string | undefined {
  const { baseImage, error } = analyzeDockerfile(lines.join("\n"));
  return baseImage ?? error?.code;
}

describe("analyzeDockerfile()", () => {
  it.each<[string, string[], string]>([
    ["the image of the last stage", ["FROM a:1", "FROM b:2"], "b:2"],
    ["a stage named after an earlier one", ["FROM a:1 AS build", "FROM build AS more", "from more"], "a:1"],
    ["variables in both notations", ["ARG B=debian", "ARG T=12", "FROM ${B}:$T"], "debian:12"],
    ["a digest", [`FROM node@sha256:${"a".repeat(64)}`], `node@sha256:${"a".repeat(64)}`],
    ["scratch", ["FROM a AS build", "FROM scratch"], "scratch"],
    ["a platform", ["FROM --platform=linux/arm64 a:1"], "a:1"],
    ["no stage at all", ["RUN x"], "BASE_IMAGE_NAME_NOT_FOUND"],
    ["a variable without a value", ["FROM ${NOPE}"], "BASE_IMAGE_NON_RESOLVABLE"],
    ["a tag without a value", ["ARG T", "FROM debian:$T"], "BASE_IMAGE_NON_RESOLVABLE"],
    ["a stage whose image is unknown", ["FROM $NOPE AS x", "FROM x"], "BASE_IMAGE_NON_RESOLVABLE"],
  ])("finds %s", (_name, lines, expected) => {
    expect(base(...lines)).toBe(expected);
  });

  it("finds install commands, with variables and continued lines", () => {
    const { dockerfilePackages, dockerfileLayers } = analyzeDockerfile(
      "FROM debian:12\nENV P=curl\nRUN apt-get update && \\\n  apt-get install -y $P wget=1.0\nCOPY . .\nRUN make\n",
    );
    expect(Object.keys(dockerfilePackages)).toEqual(["curl", "wget"]);
    expect(dockerfilePackages["curl"]?.installCommand).toBe("apt-get install -y curl wget=1.0");
    expect(Object.values(dockerfileLayers)).toEqual([{ instruction: dockerfilePackages["curl"]?.instruction }]);
  });

  it("reads anything, also names with characters that mean something in patterns", () => {
    for (const text of ["", "\0", "FROM", "FROM ${a.b}:${c", "RUN $(", "RUN ${a-b} ${}", "ARG a=$&\nFROM x$a"]) {
      expect(analyzeDockerfile(text)).toHaveProperty("dockerfilePackages");
    }
  });
});
