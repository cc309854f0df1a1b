/**
 * Runtimes that an image brings for its applications: digests of their executables, by which Snyk knows Node.js and Java,
 * and the version of Java (scan-semantics §6, "Binaries" and "baseRuntimes").
 *
 * @module
 */
import { createHash } from "node:crypto";
import { LIMITS } from "../core/limits.ts";
import type { FileExtractor } from "../core/ports.ts";
import type { AppInput, ScanFact } from "../core/scan_ports.ts";
import { type AppAnalyzer, filesWhere, type Findings } from "./app_analyzer.ts";

/** An entry of the baseRuntimes fact. */
export interface BaseRuntime {
  readonly type: "java";
  readonly version: string;
}

const DIGEST = "sha256";
/** Where Java's distributions put their `release` file: Temurin's, Docker's openjdk's, Linux distributions', Oracle's. */
const RELEASE = /^(?:opt\/java\/openjdk\/release|usr\/(?:local\/openjdk-|lib\/jvm\/|java\/)(?:.*\/)?release)$/s;

/** Key binaries and base runtimes: facts of the image itself, wanted with and without applications. */
export const RUNTIMES: AppAnalyzer = {
  name: "runtimes",
  patterns: [{
    paths: ["opt/java/openjdk/release"],
    globs: ["/usr/local/openjdk-*/**/release", "/usr/lib/jvm/**/release", "/usr/java/**/release"],
    maxBytes: LIMITS.smallFileBytes,
  }],
  extractors: () => [DIGESTS],
  enabled: () => true,
  analyze,
};

/** Of every file whose path ends so: `bin/node`, but `addon.node` as well, and those without content. */
const DIGESTS: FileExtractor = {
  name: DIGEST,
  version: "1",
  pattern: { suffixes: ["node", "java"], maxBytes: LIMITS.layerTarBytes },
  emptyFiles: true,
  open() {
    const hash = createHash("sha256");
    return {
      data(bytes) {
        hash.update(bytes);
        return true;
      },
      end: () => hash.digest("hex"),
      close: () => {},
    };
  },
};

function analyze({ view }: AppInput): Findings {
  const digests = new Set(view.extracted(DIGEST).map(({ data }) => String(data)));
  const [release] = filesWhere(view, (path) => RELEASE.test(path));
  const version = release && javaVersion(new TextDecoder().decode(release.content));
  const runtimes: BaseRuntime[] = version === undefined ? [] : [{ type: "java", version }];
  const imageFacts: ScanFact[] = [
    ...digests.size > 0 ? [{ type: "keyBinariesHashes", data: [...digests] }] : [],
    ...runtimes.length > 0 ? [{ type: "baseRuntimes", data: runtimes }] : [],
  ];
  return { imageFacts };
}

/** JAVA_VERSION of a `release` file; undefined when it has none, several, or one that is no version. */
export function javaVersion(text: string): string | undefined {
  const [found, ...more] = text.matchAll(/^\s*JAVA_VERSION\s*=\s*(?:(["'])(.*?)\1|([^#\r\n]+))/gm);
  const version = (found?.[2] || found?.[3] || "").trim();
  return more.length === 0 && isVersion(version) ? version : undefined;
}

function isVersion(text: string): boolean {
  return /^[0-9](?:[._+a-zA-Z0-9-]*[a-zA-Z0-9])?$/.test(text) && !text.includes("..");
}
