/**
 * Packages that a user's own RUN instructions installed, guessed from the image history (scan-semantics §7).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { DockerfileAnalysis, HistoryEntry, PackageInstruction } from "../core/types.ts";
import type { TreeNode, TreeNodes } from "./dep_tree.ts";
import { sourceOf } from "./package_index.ts";

/** History entries this close to the last one belong to the user's build; older ones to the base image. */
const SAME_BUILD_MS = 5 * 60 * 60 * 1000;

/** Data of the autoDetectedUserInstructions fact. */
export type UserInstructions = Pick<DockerfileAnalysis, "dockerfileLayers" | "dockerfilePackages">;

/** A command that installs packages; its options may stand before the verb, and with `after` behind it too. */
interface Installer {
  readonly command: string;
  readonly options?: readonly string[];
  readonly verb: string;
  readonly after?: true;
}

/** The commands and options that the plugin knows. The gaps are its own, and decide which names it reports. */
const INSTALLERS: readonly Installer[] = [
  { command: "rpm", verb: "(?:-i|--install)" },
  { command: "apk", options: ["--update", "-u", "--no-cache"], verb: "add", after: true },
  { command: "apt-get", options: ["--assume-yes", "--yes", "-y"], verb: "install", after: true },
  { command: "apt", options: ["--assume-yes", "--yes", "-y"], verb: "install" },
  {
    command: "dnf",
    options: ["--assumeyes", "--best", "--nodocs", "--allowerasing", "-y"],
    verb: "install",
    after: true,
  },
  { command: "microdnf", options: ["--nodocs", "--best", "--assumeyes", "-y"], verb: "install", after: true },
  { command: "yum", verb: "install" },
  { command: "aptitude", verb: "install" },
];

const INSTALL = new RegExp(`(?:${INSTALLERS.map(installPattern).join("|")})\\s+`);

function installPattern({ command, options = [], verb, after }: Installer): string {
  const option = `(?:${options.join("|")})`;
  const before = options.length === 0 ? "" : `(?:${option}\\s+)*`;
  return `${command}\\s+${before}${verb}${after === true ? `(?:\\s+${option})*` : ""}`;
}

/** `RUN |1 NAME=value …`: build arguments that BuildKit writes before the command. */
const BUILD_ARGUMENTS = /^\|\d .*?=/;

/** Reads the install commands out of an image's history. Both parts are empty when nothing was recognised. */
export function userInstructions(history: readonly HistoryEntry[]): UserInstructions {
  return installInstructions(
    userHistory(history).flatMap(({ created_by, empty_layer }) =>
      empty_layer || typeof created_by !== "string" || created_by === "" ? [] : [created_by.replace("# buildkit", "")]
    ),
  );
}

/** Reads the install commands out of RUN instructions. */
export function installInstructions(instructions: readonly string[]): UserInstructions {
  const dockerfilePackages: Record<string, PackageInstruction> = Object.create(null);
  for (const instruction of instructions) {
    const commands = command(instruction).split(/\s?(?:;|&&)\s?/).filter((text) => INSTALL.test(text));
    for (const name of commands.flatMap(packageNames)) {
      const installCommand = commands.find((text) => text.includes(name))?.replace(/\s+/g, " ").trim() || "Unknown";
      dockerfilePackages[name] = { instruction, installCommand };
    }
  }
  const dockerfileLayers: Record<string, { instruction: string }> = Object.create(null);
  for (const { instruction } of Object.values(dockerfilePackages)) {
    dockerfileLayers[layerId(instruction)] = { instruction };
  }
  return { dockerfileLayers, dockerfilePackages };
}

/**
 * Attributes what came along with the installed packages: every package below a direct dependency that an instruction
 * names counts as installed by it, keyed by source name. Names added here are seen by the direct dependencies that follow,
 * so packages of the base image can be attributed too: the plugin does the same.
 */
export function attributePackages(dependencies: TreeNodes, packages: Record<string, PackageInstruction>): void {
  for (const [name, node] of Object.entries(dependencies)) {
    const installed = packages[sourceOf(name)];
    if (installed === undefined) continue;
    for (const below of descendants(node)) packages[sourceOf(below.name)] = installed;
  }
}

/** Takes away the direct dependencies that no instruction installed: they came with the base image. */
export function excludeBaseImage(dependencies: TreeNodes, packages: Record<string, PackageInstruction>): void {
  for (const name of Object.keys(dependencies)) {
    if (packages[name] === undefined && packages[sourceOf(name)] === undefined) delete dependencies[name];
  }
}

/** Labels every package of the tree that an instruction installed. */
export function labelPackages(dependencies: TreeNodes, packages: Record<string, PackageInstruction>): void {
  for (const node of Object.values(dependencies)) {
    for (const each of [node, ...descendants(node)]) {
      const installed = packages[each.name] ?? packages[sourceOf(each.name)];
      if (installed !== undefined) each.labels = { dockerLayerId: layerId(installed.instruction) };
    }
  }
}

/** The entries of the user's own build; none when that would be all of them. */
function userHistory(history: readonly HistoryEntry[]): readonly HistoryEntry[] {
  const end = timeOf(history.at(-1));
  const recent = history.filter((entry) => Math.abs(timeOf(entry) - end) <= SAME_BUILD_MS);
  return recent.length === history.length ? [] : recent;
}

/** NaN, which no comparison holds for, when there is no readable time. */
function timeOf(entry: HistoryEntry | undefined): number {
  return entry?.created === undefined ? NaN : new Date(entry.created).getTime();
}

/** The shell command of an instruction. */
function command(instruction: string): string {
  let text = instruction;
  if (text.startsWith("RUN ")) {
    text = text.slice("RUN ".length);
    if (BUILD_ARGUMENTS.test(text)) text = text.slice(INSTALL.exec(text)?.index ?? 0);
  }
  for (const prefix of ["/bin/sh ", "-c "]) {
    if (text.startsWith(prefix)) text = text.slice(prefix.length);
  }
  return text;
}

/** Packages that an install command names: its words that are not options, up to `=`. */
function packageNames(install: string): string[] {
  return install.replace(INSTALL, "").split(/\s+/)
    .filter((word) => word !== "" && !word.startsWith("-"))
    .map((word) => (word.split("=", 1)[0] ?? word).replace(/^\$/, ""));
}

/** Everything below a node: its children, then what is below each child. */
function* descendants(node: TreeNode): Generator<TreeNode> {
  const waiting: TreeNode[] = [node];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const below = Object.values(next.dependencies);
    yield* below;
    waiting.push(...below.toReversed());
  }
}

function layerId(instruction: string): string {
  return Buffer.from(instruction).toString("base64");
}
