/**
 * METADATA of installed Python packages, reduced while its layer streams by: some hundred thousand bytes of description
 * and licence texts follow on the few lines that count.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FileExtractor, FileReader } from "../core/ports.ts";
import type { JsonValue } from "../core/types.ts";
import { concatBytes } from "../lib/bytes.ts";

/** What is kept of a METADATA; members that would be empty are absent. A type: only those are JsonValues. */
export type MetadataFacts = {
  readonly name?: string;
  readonly version?: string;
  /** Each Requires-Dist, without an environment marker that names no extra. */
  readonly requires?: readonly string[];
  /** Each Provides-Extra. */
  readonly extras?: readonly string[];
  /** Why nothing else is known. */
  readonly problem?: string;
};

/** Name under which {@link MetadataFacts} are kept. */
export const METADATA = "METADATA";

/** Reads the header of every METADATA. */
export const METADATA_EXTRACTOR: FileExtractor = {
  name: METADATA,
  version: "1",
  pattern: { names: [METADATA], maxBytes: LIMITS.layerTarBytes },
  open: () => new MetadataReader(),
};

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Gathers the lines up to the first empty one. */
class MetadataReader implements FileReader {
  #parts: Uint8Array[] = [];
  #size = 0;
  /** Bytes of the line that has not ended yet, and whether they are one carriage return. */
  #lineBytes = 0;
  #lineIsReturn = false;
  #begun = false;

  data(bytes: Uint8Array): boolean {
    const end = this.#headerEnd(bytes);
    const part = bytes.slice(0, end ?? bytes.length);
    this.#size += part.length;
    if (this.#size > LIMITS.pythonHeaderBytes) {
      this.#parts = [];
      return false;
    }
    this.#parts.push(part);
    return end === undefined;
  }

  end(): JsonValue {
    if (this.#size > LIMITS.pythonHeaderBytes) {
      return { problem: `its header is larger than ${LIMITS.pythonHeaderBytes} bytes` };
    }
    return readMetadata(concatBytes(this.#parts));
  }

  close(): void {
    this.#parts = [];
  }

  /** Where the empty line behind the header ends; those in front of it are passed over. */
  #headerEnd(bytes: Uint8Array): number | undefined {
    for (let at = 0; at < bytes.length;) {
      const newline = bytes.indexOf(NEWLINE, at);
      const end = newline < 0 ? bytes.length : newline;
      if (end > at) {
        this.#lineIsReturn = this.#lineBytes === 0 && end - at === 1 && bytes[at] === CARRIAGE_RETURN;
        this.#lineBytes += end - at;
      }
      if (newline < 0) return undefined;
      const isEmpty = this.#lineBytes === 0 || this.#lineIsReturn;
      if (isEmpty && this.#begun) return newline + 1;
      this.#begun ||= !isEmpty;
      this.#lineBytes = 0;
      this.#lineIsReturn = false;
      at = newline + 1;
    }
    return undefined;
  }
}

/**
 * Reads a header as snyk-docker-plugin does: the last Name and Version count. Lines that begin with a blank go on with
 * the field above them (Core metadata specification), as those of a licence text that names other packages.
 */
export function readMetadata(header: Uint8Array): MetadataFacts {
  const extras = new Set<string>();
  const requires: string[] = [];
  let name = "";
  let version = "";
  for (const line of new TextDecoder().decode(header).split("\n")) {
    if (line.startsWith(" ") || line.startsWith("\t")) continue;
    const text = line.trim();
    if (text.startsWith("Name: ")) name = text.slice("Name: ".length);
    else if (text.startsWith("Version: ")) version = text.slice("Version: ".length);
    else if (text.startsWith("Provides-Extra:")) extras.add(text.slice("Provides-Extra:".length).trim());
    else if (text.startsWith("Requires-Dist: ")) requires.push(shortened(text.slice("Requires-Dist: ".length).trim()));
  }
  return {
    ...(name !== "" && { name }),
    ...(version !== "" && { version }),
    ...(requires.length > 0 && { requires }),
    ...(extras.size > 0 && { extras: [...extras] }),
  };
}

function shortened(requirement: string): string {
  const marker = requirement.indexOf(";");
  // A bracket may belong to the extras, which the plugin takes up to the last one of the line.
  if (marker < 0 || /extra|\]/.test(requirement.slice(marker))) return requirement;
  return requirement.slice(0, marker).trimEnd();
}
