/**
 * Reads a jar while its layer streams by: the sha1 of the whole, the coordinates of every pom.properties, and the same of
 * the jars inside it (scan-semantics §6, "java").
 *
 * @module
 */
import { createHash } from "node:crypto";
import { LIMITS } from "../core/limits.ts";
import type { ExtractorContext, FileReader } from "../core/ports.ts";
import type { JsonValue, Problem } from "../core/types.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { CentralHeader, LocalHeader } from "../lib/zip_record.ts";
import { type ZipFileSink, type ZipSink, ZipStream } from "../lib/zip_stream.ts";
import { type Coordinates, readPomProperties } from "./pom_properties.ts";

/** What is kept of a jar; lists that would be empty are absent. A type, not an interface: only those are JsonValues. */
export type JarFacts = {
  readonly sha1: string;
  /** Of every complete pom.properties, in the order of the archive's directory. */
  readonly poms?: readonly Coordinates[];
  /** Jars inside, in that order, as deep as was asked for. */
  readonly jars?: readonly NestedJar[];
  /** What could not be read of this archive itself. */
  readonly problems?: readonly Pick<Problem, "code" | "message">[];
};

/** A jar inside an archive. */
export type NestedJar = JarFacts & {
  /** Name of its entry. */
  readonly name: string;
};

/** The bounds that apply here, see core/limits.ts. */
export interface JarLimits {
  readonly zipEntries: number;
  readonly zipKeptEntries: number;
  readonly zipKeptChars: number;
  readonly archiveExpansionRatio: number;
  readonly archiveExpansionFloorBytes: number;
  readonly pomPropertiesBytes: number;
}

const SHA1_OF_NOTHING = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
/** Problems that are told of one archive; the rest is counted. */
const MAX_PROBLEMS = 10;

/** Ends the reading of a jar at whatever depth. */
class LimitReached extends Error {}

/** A reader of one jar or war. `depth` is the number of levels inside it at which jars are read. */
export class JarReader implements FileReader {
  readonly #budget: Budget;
  readonly #archive: Archive;
  #problem: Problem["message"] | undefined;

  constructor(depth: number, context: ExtractorContext, limits: JarLimits = LIMITS) {
    this.#budget = new Budget(context, limits);
    this.#archive = new Archive(depth, context, this.#budget);
  }

  data(bytes: Uint8Array): boolean {
    this.#archive.hash.update(bytes);
    if (this.#problem !== undefined) return true;
    this.#budget.streamed += bytes.length;
    this.#guard(() => this.#archive.zip.push(bytes));
    return true;
  }

  end(): JsonValue {
    let facts: JarFacts | undefined;
    this.#guard(() => facts = this.#archive.finish());
    if (facts === undefined || this.#problem !== undefined) {
      const message = this.#problem ?? "";
      facts = { sha1: this.#archive.hash.digest("hex"), problems: [{ code: "LIMIT_EXCEEDED", message }] };
    }
    return facts;
  }

  close(): void {
    this.#archive.close();
  }

  /** Once a bound is hit only the hash goes on: without its directory nothing is known of what was seen so far. */
  #guard(step: () => void): void {
    if (this.#problem !== undefined) return;
    try {
      step();
    } catch (error) {
      if (!(error instanceof LimitReached)) throw error;
      this.#problem = error.message;
      this.#archive.close();
    }
  }
}

/** What a jar and all that is inside it may still cost. */
class Budget {
  readonly limits: JarLimits;
  /** Bytes of the jar itself that have come. */
  streamed = 0;
  readonly #context: ExtractorContext;
  #unpacked = 0;
  #entries = 0;
  #kept = 0;
  #chars = 0;

  constructor(context: ExtractorContext, limits: JarLimits) {
    this.#context = context;
    this.limits = limits;
  }

  unpack(bytes: number): void {
    const { archiveExpansionFloorBytes: floor, archiveExpansionRatio: ratio } = this.limits;
    this.#unpacked += bytes;
    if (this.#unpacked > floor + ratio * this.streamed) {
      throw new LimitReached(`It was not read: archives inside it expand more than ${ratio} times`);
    }
    if (!this.#context.spend(bytes)) {
      throw new LimitReached("It was not read: archives inside the files of its layer are too large together");
    }
  }

  entry(): void {
    if (++this.#entries > this.limits.zipEntries) {
      throw new LimitReached(`It was not read: it has more than ${this.limits.zipEntries} entries`);
    }
  }

  keep(chars: number): void {
    this.#chars += chars;
    if (++this.#kept > this.limits.zipKeptEntries || this.#chars > this.limits.zipKeptChars) {
      throw new LimitReached("It was not read: it has too many jars and pom.properties");
    }
  }
}

/** What was read of an entry where it is; the directory decides whether it counts. */
interface Found {
  problem: string | undefined;
  crc: number;
  coordinates?: Coordinates | undefined;
  jar?: JarFacts | undefined;
}

/** One archive at whatever depth. */
class Archive implements ZipSink {
  readonly hash = createHash("sha1");
  readonly zip: ZipStream;
  readonly #depth: number;
  readonly #context: ExtractorContext;
  readonly #budget: Budget;
  /** By the offset of the local header. */
  readonly #found = new Map<number, Found>();
  /** Entries of the directory that matter. */
  #listed: CentralHeader[] = [];
  readonly #problems: { readonly code: string; readonly message: string }[] = [];
  #moreProblems = 0;
  #open: Archive | undefined;

  constructor(depth: number, context: ExtractorContext, budget: Budget) {
    this.#depth = depth;
    this.#context = context;
    this.#budget = budget;
    this.zip = new ZipStream(this, context.inflater);
  }

  file({ name }: LocalHeader, offset: number): ZipFileSink | undefined {
    this.#budget.entry();
    if (!this.#matters(name)) return undefined;
    this.#budget.keep(0);
    const found: Found = { problem: undefined, crc: 0 };
    this.#found.set(offset, found);
    return name.endsWith(".jar") ? this.#nested(found) : this.#pom(found);
  }

  listed(header: CentralHeader): void {
    this.#budget.entry();
    if (!this.#matters(header.name)) return;
    this.#budget.keep(header.name.length);
    this.#listed.push(header);
  }

  restarted(): void {
    this.#listed = [];
  }

  finish(): JarFacts {
    const { problem, shift } = this.zip.finish();
    const sha1 = this.hash.digest("hex");
    // Where there are no bytes nothing is hidden.
    if (problem !== undefined && sha1 !== SHA1_OF_NOTHING) this.#report(problem);
    const poms: Coordinates[] = [];
    const jars: NestedJar[] = [];
    // Without its end an archive has no directory that counts.
    for (const { name, offset, crc } of problem === undefined ? this.#listed : []) {
      const found = this.#found.get(offset + shift);
      const wrong = found === undefined ? "it is not where the directory says" : found.problem;
      if (found === undefined || wrong !== undefined) this.#report(`The entry ${shown(name)} was not read: ${wrong}`);
      else if (found.crc !== crc) this.#report(`The entry ${shown(name)} was not read: its checksum is wrong`);
      else if (found.jar !== undefined) jars.push({ name, ...found.jar });
      else if (found.coordinates !== undefined) poms.push(found.coordinates);
    }
    if (this.#moreProblems > 0) {
      this.#problems.push({ code: "ANALYSIS_FAILED", message: `${this.#moreProblems} more problems were found` });
    }
    return {
      sha1,
      ...(poms.length > 0 && { poms }),
      ...(jars.length > 0 && { jars }),
      ...(this.#problems.length > 0 && { problems: this.#problems }),
    };
  }

  close(): void {
    this.zip.close();
    this.#open?.close();
    this.#open = undefined;
  }

  #matters(name: string): boolean {
    return name.endsWith("pom.properties") || (this.#depth > 0 && name.endsWith(".jar"));
  }

  #report(message: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ code: "ANALYSIS_FAILED", message });
    else this.#moreProblems++;
  }

  #nested(found: Found): ZipFileSink {
    const budget = this.#budget;
    const archive = new Archive(this.#depth - 1, this.#context, budget);
    this.#open = archive;
    return {
      data(bytes): void {
        budget.unpack(bytes.length);
        archive.hash.update(bytes);
        archive.zip.push(bytes);
      },
      end: (problem, crc): void => {
        if (problem === undefined) found.jar = archive.finish();
        Object.assign(found, { problem, crc });
        archive.close();
        this.#open = undefined;
      },
    };
  }

  #pom(found: Found): ZipFileSink {
    const budget = this.#budget;
    const { pomPropertiesBytes } = budget.limits;
    const parts: Uint8Array[] = [];
    let size = 0;
    return {
      data(bytes): void {
        budget.unpack(bytes.length);
        size += bytes.length;
        if (size <= pomPropertiesBytes) parts.push(bytes.slice());
      },
      end(problem, crc): void {
        const large = size > pomPropertiesBytes ? `it is larger than ${pomPropertiesBytes} bytes` : undefined;
        Object.assign(found, { problem: problem ?? large, crc });
        if (found.problem !== undefined) return;
        found.coordinates = readPomProperties(concatBytes(parts));
        budget.keep(found.coordinates?.join("").length ?? 0);
      },
    };
  }
}

/** A name in a message: bounded, without control characters. */
function shown(name: string): string {
  // deno-lint-ignore no-control-regex
  return name.slice(0, 300).replaceAll(/[\u0000-\u001f\u007f]/g, "\ufffd");
}
