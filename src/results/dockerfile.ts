/**
 * The dockerfileAnalysis fact: base image and installed packages by the Dockerfile that an image was built from, as
 * snyk-docker-plugin reads it (scan-semantics §1.1 and §7).
 *
 * @module
 */
import { type Dockerfile, DockerfileParser, type Instruction } from "dockerfile-ast";
import type { DockerfileAnalysis } from "../core/types.ts";
import { installInstructions } from "./user_instructions.ts";

/** Reads a Dockerfile. Never throws: what cannot be resolved is the analysis' error. */
export function analyzeDockerfile(text: string): DockerfileAnalysis {
  const dockerfile = DockerfileParser.parse(text);
  const runs = dockerfile.getInstructions()
    .filter((instruction) => instruction.getInstruction().toUpperCase() === "RUN")
    .map((instruction) => expand(instruction, dockerfile, instruction.toString()).text);
  const base = baseImage(dockerfile);
  return {
    ...(base === undefined ? {} : { baseImage: base }),
    ...installInstructions(runs),
    ...(base === undefined ? { error: { code: errorCode(dockerfile) } } : {}),
  };
}

function errorCode(dockerfile: Dockerfile): NonNullable<DockerfileAnalysis["error"]>["code"] {
  return dockerfile.getFROMs().length === 0 ? "BASE_IMAGE_NAME_NOT_FOUND" : "BASE_IMAGE_NON_RESOLVABLE";
}

/** The image of the last stage; a stage that is named after an earlier one has that one's image. */
function baseImage(dockerfile: Dockerfile): string | undefined {
  const aliases = new Map<string, string | undefined>();
  let last: string | undefined;
  for (const from of dockerfile.getFROMs()) {
    const { text, complete } = expand(from, dockerfile, from.getImage() ?? "");
    const name = complete ? text : "";
    const args = from.getArguments();
    if (args.length > 2 && args[1]?.getValue().toUpperCase() === "AS") {
      aliases.set(args[2]?.getValue() ?? "", name === "" ? undefined : aliases.get(name) ?? name);
    }
    const isWhole = name !== "" && [":", "@"].every((mark) => !name.split(mark).includes(""));
    const isKnown = !aliases.has(name) || aliases.get(name) !== undefined;
    last = isWhole && isKnown ? aliases.get(name) ?? name : undefined;
  }
  return last;
}

/** A text of an instruction with its variables replaced; unknown ones by nothing. */
function expand(
  instruction: Instruction,
  dockerfile: Dockerfile,
  text: string,
): { readonly text: string; readonly complete: boolean } {
  let expanded = text;
  let complete = true;
  const variables = new Map(
    instruction.getVariables().map((variable) => [
      variable.getName(),
      dockerfile.resolveVariable(variable.getName(), variable.getRange().start.line),
    ]),
  );
  for (const [name, value] of variables) {
    if (!value) complete = false;
    const literal = name.replace(/[^\w]/g, "\\$&");
    expanded = expanded.replace(new RegExp(`\\$\\{${literal}\\}|\\$${literal}`, "g"), () => value ?? "");
  }
  return { text: expanded, complete };
}
