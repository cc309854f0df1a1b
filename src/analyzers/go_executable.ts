/**
 * Reads a Go executable while its layer streams by: its build info, and the names of its source files.
 *
 * Where these are, the table of sections tells, which linkers put at the file's end. So whatever looks like them is
 * read where it comes by, at most a few megabytes, and the table decides in the end. Older linkers only leave addresses
 * of the texts, which stand before them in the file: those are known by their marks.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FileReader } from "../core/ports.ts";
import type { JsonValue } from "../core/types.ts";
import { concatBytes } from "../lib/bytes.ts";
import { type ByteWindows, WindowReader } from "./byte_windows.ts";
import {
  type ElfHeader,
  type ElfSection,
  type ElfSegment,
  readElfHeader,
  readElfSections,
  readElfSegments,
} from "./elf.ts";
import {
  BLOB_BYTES,
  BUILD_INFO_MAGIC,
  type BuildInfo,
  latin1,
  MODULE_TEXT_START,
  parseModules,
  readBuildInfo,
  readMarkedModules,
  readStringHeader,
  releaseOf,
} from "./go_build_info.ts";
import { type FileBudget, hasInlineTexts, isFileTable, readFileTable } from "./go_file_table.ts";
import { type ModulePackages, packagesOf } from "./go_packages.ts";

/** What is kept of a Go executable. Types, not interfaces: only those are JsonValues. */
export type GoFacts = {
  /** Of the main module. */
  readonly name: string;
  /** Version of Go's library, when it is a released one. */
  readonly go?: string;
  /** Version, then names: the packages of a module, or the module itself when its packages are not known. */
  readonly modules: readonly (readonly string[])[];
  /** Why packages are not known. */
  readonly problem?: string;
};

/** An executable of which nothing is known but that Go has built it. */
export type BrokenGo = { readonly problem: string };

interface StringHeader {
  readonly address: number;
  readonly length: number;
}

/** Places at which the magic numbers of build info or of a table of lines stand: both have one, and some text may look so. */
const MAX_CANDIDATES = 16;
/** Texts of the form `go1.…` that are remembered: one of them is the version of an older executable. */
const MAX_VERSIONS = 4096;
/** Bytes that must be there for what begins with them to be known. */
const MARK_BYTES = 16;
/** Where the linkers put notes: behind the table of segments. */
const NOTES_BYTES = 4096;
/** Within so many bytes from the start of the data build info is sought when no section has it, as Go's own tools do. */
const DATA_BYTES = 64 * 1024;
/** The name in a note of Go's linker, behind three numbers. */
const GO_NOTE = "Go\0\0";

/** A reader of one ELF file of `size` bytes. */
export class GoExecutableReader implements FileReader {
  readonly #size: number;
  readonly #readers: WindowReader[] = [];
  #position = 0;
  /** The last bytes that came before these: what begins in them is known with the first of these. */
  #tail: Uint8Array = new Uint8Array(0);
  #joint: Uint8Array = new Uint8Array(0);
  #bytes: Uint8Array = new Uint8Array(0);

  #header: ElfHeader | undefined;
  #notElf = false;
  #segments: readonly ElfSegment[] | undefined;
  /** The parts of the file that hold nothing but instructions. */
  #code: readonly ElfSegment[] = [];
  #sections: readonly ElfSection[] | undefined;
  /** Whether texts without a place are looked for: not in what shows no sign of Go, nor in what has them in a section. */
  #isGo = false;
  #hasTexts = false;

  /** All by their place in the file. */
  readonly #buildInfos = new Map<number, BuildInfo | undefined>();
  readonly #fileTables = new Map<number, readonly string[] | undefined>();
  readonly #moduleTexts = new Map<number, string | undefined>();
  readonly #versions = new Map<number, string>();
  readonly #strings = new Map<number, StringHeader>();
  readonly #budget: FileBudget = { bytes: LIMITS.goFileTableBytes };

  constructor(size: number) {
    this.#size = size;
    this.#start(this.#readLayout());
    this.#start(this.#readNotes());
  }

  data(bytes: Uint8Array): boolean {
    this.#bytes = bytes;
    this.#joint = concatBytes([this.#tail, bytes.subarray(0, MARK_BYTES - 1)]);
    for (const reader of [...this.#readers]) this.#feed(reader);
    if (!this.#isPastData() && !this.#isCode(this.#position - this.#tail.length, bytes.length + this.#tail.length)) {
      this.#scan(this.#joint, this.#position - this.#tail.length, this.#tail.length);
      this.#scan(bytes, this.#position, bytes.length);
    }
    this.#dropDone();
    const last = bytes.length < MARK_BYTES ? concatBytes([this.#tail, bytes]) : bytes;
    this.#tail = last.slice(-(MARK_BYTES - 1));
    this.#position += bytes.length;
    // The bytes are gone after the call; nothing may be read from them then.
    this.#bytes = this.#joint = new Uint8Array(0);
    return !this.#isComplete();
  }

  end(): JsonValue | undefined {
    const at = this.#findBuildInfo();
    if (at === undefined) return undefined;
    const info = this.#buildInfos.get(at);
    if (info === undefined) return { problem: "Its build info ends too early" } satisfies BrokenGo;
    if (info.kind === "broken") return { problem: info.message } satisfies BrokenGo;
    const texts = info.kind === "inline" ? info : this.#textsAt(info);
    if (texts === undefined) return { problem: "Its build info leads to texts that were not found" } satisfies BrokenGo;
    const { version, modules } = texts;
    // A program that was not built from modules.
    if (version === "" || modules === "") return undefined;
    const parsed = parseModules(modules);
    if (parsed === undefined) return { problem: "Its build info does not name the program" } satisfies BrokenGo;
    const release = releaseOf(version);
    if (parsed.modules.length > LIMITS.goPackages) {
      return { problem: `It has more than ${LIMITS.goPackages} modules` } satisfies BrokenGo;
    }
    const own = parsed.modules.map(({ name, version }): ModulePackages => ({ version, names: [name] }));
    const table = this.#findFileTable();
    const files = table === undefined ? undefined : this.#fileTables.get(table);
    const packages = files === undefined ? undefined : packagesOf(parsed.modules, files);
    const problem = table === undefined || packages !== undefined
      ? undefined
      : "The names of its source files were not read: modules are reported instead of packages";
    return {
      name: parsed.name,
      ...(release !== "" && { go: release }),
      modules: (packages ?? own).map(({ version, names }) => [version, ...names]),
      ...(problem !== undefined && { problem }),
    } satisfies GoFacts;
  }

  close(): void {
    this.#readers.length = 0;
  }

  #start(windows: ByteWindows): void {
    const reader = new WindowReader(windows, this.#size);
    this.#readers.push(reader);
    this.#feed(reader);
  }

  #feed(reader: WindowReader): void {
    if (this.#tail.length > 0) reader.feed(this.#joint, this.#position - this.#tail.length);
    if (this.#bytes.length > 0) reader.feed(this.#bytes, this.#position);
  }

  #dropDone(): void {
    for (let index = this.#readers.length - 1; index >= 0; index--) {
      if (this.#readers[index]?.done === true) this.#readers.splice(index, 1);
    }
  }

  /** Behind the last byte that is loaded there are symbols and debug information only. */
  #isPastData(): boolean {
    return this.#segments?.every(({ at, bytes }) => at + bytes <= this.#position) ?? false;
  }

  #isCode(from: number, length: number): boolean {
    return this.#code.some(({ at, bytes }) => at <= from && from + length <= at + bytes);
  }

  #isComplete(): boolean {
    if (this.#notElf) return true;
    return this.#isPastData() && (this.#buildInfos.size === 0 || this.#readers.length === 0);
  }

  *#readLayout(): ByteWindows {
    const header = yield* readElfHeader();
    if (header === undefined) {
      this.#notElf = true;
      return;
    }
    this.#header = header;
    // Go's own linker puts the sections' table at the start, others at the end.
    this.#isGo ||= header.sections.at < NOTES_BYTES;
    this.#start(this.#readSegments(header));
    this.#start(this.#readSections(header));
  }

  *#readSegments(header: ElfHeader): ByteWindows {
    const segments = yield* readElfSegments(header);
    this.#segments = segments;
    // A linker that loads constants apart puts none among the instructions; others load both as one.
    const apart = segments.some(({ writable, executable }) => !writable && !executable);
    this.#code = apart ? segments.filter(({ executable }) => executable) : [];
  }

  *#readSections(header: ElfHeader): ByteWindows {
    const sections = yield* readElfSections(header);
    this.#sections = sections;
    // Since Go 1.18 the texts stand behind the blob, in its section. Sections at the end come too late for this.
    this.#hasTexts ||= sections.length > 0 && !sections.some(({ bytes, writable }) => writable && bytes === BLOB_BYTES);
  }

  *#readNotes(): ByteWindows {
    const notes = latin1(yield { at: 0, length: Math.min(NOTES_BYTES, this.#size) });
    this.#isGo ||= notes.includes(GO_NOTE);
  }

  *#readBuildInfo(at: number): ByteWindows {
    const info = yield* readBuildInfo(at);
    this.#buildInfos.set(at, info);
    if (info.kind !== "pointers") return;
    for (const address of [info.version, info.modules]) {
      const place = this.#placeOf(address);
      if (place !== undefined) this.#start(this.#readString(place, info));
    }
  }

  *#readString(at: number, { words }: Extract<BuildInfo, { kind: "pointers" }>): ByteWindows {
    this.#strings.set(at, yield* readStringHeader(at, words));
  }

  *#readFileTable(at: number): ByteWindows {
    this.#fileTables.set(at, yield* readFileTable(at, this.#size, this.#budget));
  }

  *#readModules(at: number): ByteWindows {
    this.#moduleTexts.set(at, yield* readMarkedModules(at, this.#size));
  }

  /** Looks at what begins in the first `starts` bytes and has all MARK_BYTES in `bytes`. */
  #scan(bytes: Uint8Array, base: number, starts: number): void {
    const last = Math.min(starts - 1, bytes.length - MARK_BYTES);
    if (last < 0) return;
    this.#scanAligned(bytes, base, last);
    if (this.#isGo && !this.#hasTexts) this.#scanTexts(bytes, base, last);
  }

  /**
   * Build info begins at a multiple of 16 bytes, and so do tables of lines but on ARM with 32 bits, where Go's linker
   * aligns nothing to more than 8: few bytes of the file are looked at.
   */
  #scanAligned(bytes: Uint8Array, base: number, last: number): void {
    const step = this.#header?.wide === false ? 8 : 16;
    for (let at = (step - base % step) % step; at <= last; at += step) {
      const first = bytes[at];
      if (first === undefined || first < 0xf0) continue;
      if (first === 0xff && bytes[at + 1] === 0x20) {
        if (this.#isNew(bytes, at, base, BUILD_INFO_MAGIC, this.#buildInfos)) {
          this.#start(this.#readBuildInfo(base + at));
        }
      } else if (bytes[at + 1] === 0xff && isFileTable(bytes, at)) {
        if (!this.#isNew(bytes, at, base, NOTHING, this.#fileTables)) continue;
        this.#hasTexts ||= hasInlineTexts(bytes, at);
        this.#start(this.#readFileTable(base + at));
      }
    }
  }

  /** Texts stand anywhere: by the last byte of a mark, as many are passed over as it has. */
  #scanTexts(bytes: Uint8Array, base: number, last: number): void {
    for (let at = 3; at <= last + 3; at += VERSION_SKIP[bytes[at] ?? 0] ?? 4) {
      if (bytes[at] !== 0x2e || bytes[at - 1] !== 0x31 || bytes[at - 2] !== 0x6f || bytes[at - 3] !== 0x67) continue;
      if (this.#versions.size >= MAX_VERSIONS) break;
      this.#versions.set(base + at - 3, latin1(bytes.subarray(at - 3, at - 3 + MARK_BYTES)));
    }
    const end = MODULE_TEXT_START.length - 1;
    for (let at = end; at <= last + end; at += MODULES_SKIP[bytes[at] ?? 0] ?? 1) {
      if (this.#isNew(bytes, at - end, base, MODULE_TEXT_START, this.#moduleTexts)) {
        this.#start(this.#readModules(base + at - end));
      }
    }
  }

  /** Whether a mark stands there; then its place is noted. */
  #isNew<T>(bytes: Uint8Array, at: number, base: number, mark: Uint8Array, seen: Map<number, T | undefined>): boolean {
    for (let index = 0; index < mark.length; index++) if (bytes[at + index] !== mark[index]) return false;
    if (seen.size >= MAX_CANDIDATES) return false;
    seen.set(base + at, undefined);
    return true;
  }

  /** The place in the file of what is loaded at an address. */
  #placeOf(address: number): number | undefined {
    const segment = this.#segments?.find((segment) =>
      segment.address <= address && address < segment.address + segment.bytes
    );
    return segment && address - segment.address + segment.at;
  }

  /** A section has build info, or the data begin with it. */
  #findBuildInfo(): number | undefined {
    const section = this.#sections?.find(({ at }) => this.#buildInfos.has(at));
    if (section !== undefined) return section.at;
    const data = this.#segments?.find(({ writable }) => writable);
    if (data === undefined) return undefined;
    const inside = (at: number): boolean =>
      at >= data.at && at < data.at + Math.min(data.bytes, DATA_BYTES) && (at - data.at) % 16 === 0;
    return this.#buildInfos.keys().find(inside);
  }

  /** In a position-independent executable the table is among the data: the plugin does not find it there. */
  #findFileTable(): number | undefined {
    return this.#sections?.find(({ at, writable }) => !writable && this.#fileTables.has(at))?.at;
  }

  /** The texts that an older executable's build info leads to; undefined when there should be one and is not. */
  #textsAt(info: Extract<BuildInfo, { kind: "pointers" }>): { version: string; modules: string } | undefined {
    const version = this.#stringAt(info.version);
    const modules = this.#stringAt(info.modules);
    // Without modules, or without anything: an address of nothing.
    if (version === undefined || modules === undefined || version.length === 0 || modules.length === 0) {
      return { version: "", modules: "" };
    }
    const marked = this.#moduleTexts.get(this.#placeOf(modules.address) ?? -1);
    if (marked === undefined) return undefined;
    // What is longer than what was remembered, or does not begin so, is no released version.
    const known = this.#versions.get(this.#placeOf(version.address) ?? -1) ?? "";
    return {
      version: version.length <= known.length ? known.slice(0, version.length) : "unknown",
      modules: marked.slice(MODULE_TEXT_START.length, modules.length - MODULE_TEXT_START.length),
    };
  }

  #stringAt(address: number): StringHeader | undefined {
    return this.#strings.get(this.#placeOf(address) ?? -1);
  }
}

const NOTHING = new Uint8Array(0);

/** How far the last byte of a mark can be from the one at which it is sought (Boyer, Moore, Horspool). */
function skips(mark: Uint8Array): Uint8Array {
  const table = new Uint8Array(256).fill(mark.length);
  mark.subarray(0, -1).forEach((byte, at) => table[byte] = mark.length - 1 - at);
  return table;
}

const VERSION_SKIP = skips(Uint8Array.of(0x67, 0x6f, 0x31, 0x2e));
const MODULES_SKIP = skips(MODULE_TEXT_START);
