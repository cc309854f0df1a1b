/**
 * Requirements of Python packages, read as snyk-docker-plugin reads those of requirements.txt and of METADATA: a name,
 * extras, and the first specifier.
 *
 * @module
 */

/** A package that is asked for. */
export interface PythonRequirement {
  /** In lower case. */
  readonly name: string;
  /** Comparator and version as npm writes them: `^1.2`. Absent when any version will do. */
  readonly range?: string | undefined;
  readonly extras: readonly string[];
  /** Extras of the package that asks, one of which has to be wanted; none means always. */
  readonly onlyFor: readonly string[];
}

const REQUIREMENTS_LINE =
  /^(?<name>[\w.-]+)((\[(?<extras>.*)\])?)((?<specifier><|<=|!=|==|>=|>|~=|===)(?<version>[\w.]*))?/;
const REQUIRES_DIST =
  /^(?<name>[\w.-]+)((\[(?<extras>.*)\])?)(\s?\(?(?<specifier><|<=|!=|==|>=|>|~=|===)(?<version>[\w.]+)\)?)?/;

/** Requirements of a requirements.txt, one after another. Lines that name no package are passed over. */
export function* requirementsOf(text: string): Generator<PythonRequirement> {
  for (let at = 0; at <= text.length;) {
    const newline = text.indexOf("\n", at);
    const end = newline < 0 ? text.length : newline;
    const line = text.slice(at, end).trim();
    const requirement = line.startsWith("#") ? undefined : parse(REQUIREMENTS_LINE, line, []);
    if (requirement !== undefined) yield requirement;
    at = end + 1;
  }
}

/** A Requires-Dist of a package that provides some extras; undefined when it names no package. */
export function parseRequiresDist(text: string, provided: ReadonlySet<string>): PythonRequirement | undefined {
  return parse(REQUIRES_DIST, text, extrasOfMarker(text, provided));
}

function parse(pattern: RegExp, text: string, onlyFor: readonly string[]): PythonRequirement | undefined {
  const groups = pattern.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const { name = "", extras = "", specifier = "", version = "" } = groups;
  const names = extras.split(",").map((extra) => extra.trim()).filter((extra) => extra !== "");
  const range = version === "" ? undefined : comparator(specifier, version) + version;
  return { name: name.toLowerCase(), range, extras: [...new Set(names)], onlyFor };
}

/** PEP 440's `~=1.2` is npm's `^1.2`, its `~=1.2.3` is `~1.2.3`. */
function comparator(specifier: string, version: string): string {
  if (specifier === "~=") return version.split(".").length === 2 ? "^" : "~";
  return specifier === "==" || specifier === "===" ? "=" : specifier;
}

/** Provided extras that stand in quotes behind the word `extra` of the environment marker. */
function extrasOfMarker(text: string, provided: ReadonlySet<string>): string[] {
  const marker = text.split(";", 2)[1] ?? "";
  const extra = marker.indexOf("extra");
  if (extra < 0) return [];
  const quoted = marker.slice(extra + "extra".length).match(/(?<=["'])[^"']*(?=["'])/g) ?? [];
  return quoted.filter((name) => provided.has(name));
}
