/**
 * Maven's pom.properties, which tells what a jar was built as.
 *
 * @module
 */

/** groupId, artifactId and version. */
export type Coordinates = readonly [groupId: string, artifactId: string, version: string];

const KEYS = ["groupId", "artifactId", "version"] as const;

// A mark at the start belongs to the first line, as it does for the plugin.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Reads coordinates as snyk-docker-plugin does: the last line of a key counts, a value ends at a second `=`.
 * Undefined when one of them is missing or empty.
 */
export function readPomProperties(bytes: Uint8Array): Coordinates | undefined {
  const values = new Map<string, string>();
  for (const line of decoder.decode(bytes).split("\n")) {
    const [key = "", value = ""] = line.split("=", 2);
    if (line.includes("=")) values.set(key, value.trim());
  }
  const [groupId, artifactId, version] = KEYS.map((key) => values.get(key));
  return groupId && artifactId && version ? [groupId, artifactId, version] : undefined;
}
