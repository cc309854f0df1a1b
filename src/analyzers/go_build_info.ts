/**
 * What the Go linker writes into an executable about its modules (`debug/buildinfo` of Go's library): a blob of 32 bytes,
 * followed by two strings (since Go 1.18) or with the addresses of their headers.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { LIMITS } from "../core/limits.ts";
import type { ByteWindows } from "./byte_windows.ts";

/** First bytes of the blob: `\xff Go buildinf:`. */
export const BUILD_INFO_MAGIC: Uint8Array = Uint8Array.from("\xff Go buildinf:", (char) => char.charCodeAt(0));

/** What stands before and behind the text about the modules, wherever it is (`infoStart`, `infoEnd` of cmd/go). */
export const MODULE_TEXT_START: Uint8Array = hexBytes("3077af0c9274080241e1c107e6d618e6");
const MODULE_TEXT_END = hexBytes("f932433186182072008242104116d8f2");

/** A blob that has been read. */
export type BuildInfo =
  | { readonly kind: "inline"; readonly version: string; readonly modules: string }
  | {
    readonly kind: "pointers";
    /** Of the header of the version, and of that of the modules' text. */
    readonly version: number;
    readonly modules: number;
    readonly words: WordFormat;
  }
  | { readonly kind: "broken"; readonly message: string };

/** How addresses are written. */
export interface WordFormat {
  readonly bytes: 4 | 8;
  readonly littleEndian: boolean;
}

/** What the text about the modules says. */
export interface ModuleInfo {
  /** Path of the main module; `go-distribution@` and the package's path when there is none. */
  readonly name: string;
  readonly modules: readonly GoModule[];
}

/** A module that was built in, under the name and version of what replaces it. */
export interface GoModule {
  readonly name: string;
  readonly version: string;
}

/** Bytes of the blob; before Go 1.18 its section has no more. */
export const BLOB_BYTES = 32;
const BLOCK_BYTES = 4096;
const INLINE = 2;
const MAX_VARINT_BYTES = 5;

/** Reads the blob at an offset. */
export function* readBuildInfo(at: number): ByteWindows<BuildInfo> {
  const blob = yield { at, length: BLOB_BYTES };
  const [pointerBytes = 0, flags = 0] = blob.subarray(14);
  if ((flags & INLINE) !== 0) {
    const version = yield* readText(at + BLOB_BYTES);
    const modules = version && (yield* readText(version.end));
    if (modules === undefined || version === undefined) {
      return { kind: "broken", message: `Its build info has a text of more than ${LIMITS.goBuildInfoBytes} bytes` };
    }
    return { kind: "inline", version: version.text, modules: modules.text };
  }
  if (pointerBytes !== 4 && pointerBytes !== 8) {
    return { kind: "broken", message: `Its build info has addresses of ${pointerBytes} bytes` };
  }
  const words: WordFormat = { bytes: pointerBytes, littleEndian: flags === 0 };
  return {
    kind: "pointers",
    version: wordOf(blob, 16, words),
    modules: wordOf(blob, 16 + pointerBytes, words),
    words,
  };
}

/** Reads the header of a Go string: where its bytes are and how many. */
export function* readStringHeader(
  at: number,
  words: WordFormat,
): ByteWindows<{ readonly address: number; readonly length: number }> {
  const bytes = yield { at, length: 2 * words.bytes };
  return { address: wordOf(bytes, 0, words), length: wordOf(bytes, words.bytes, words) };
}

/** Reads the text about the modules that begins at an offset, marks included; undefined when it does not end in time. `size` is the file's. */
export function* readMarkedModules(at: number, size: number): ByteWindows<string | undefined> {
  const mark = latin1(MODULE_TEXT_END);
  const parts: string[] = [];
  let before = "";
  for (let length = 0; length < LIMITS.goBuildInfoBytes && at + length < size;) {
    const part = latin1(yield { at: at + length, length: Math.min(BLOCK_BYTES, size - at - length) });
    // The mark may have begun in the block before.
    const found = (before + part).indexOf(mark);
    if (found >= 0) return parts.join("") + part.slice(0, Math.max(0, found + mark.length - before.length));
    parts.push(part);
    length += part.length;
    before = part.slice(1 - mark.length);
  }
  return undefined;
}

/** A number of 4 or 8 bytes. */
export function wordOf(bytes: Uint8Array, at: number, words: WordFormat): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { littleEndian } = words;
  return words.bytes === 8 ? Number(view.getBigUint64(at, littleEndian)) : view.getUint32(at, littleEndian);
}

/** One byte, one character: nothing that is not ASCII is lost, nor made one with something else. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/**
 * Reads the text about the modules, as snyk-docker-plugin does. Undefined when it names no program.
 *
 * The first line has the path of the package, the second that of the main module, if there is one.
 */
export function parseModules(text: string): ModuleInfo | undefined {
  const [path = "", main = "", ...lines] = text.replace("\r", "").split("\n");
  const [kind, module] = main.split("\t");
  const name = kind === "mod" ? module : distribution(path);
  if (name === undefined || name === "") return undefined;
  const modules: GoModule[] = [];
  for (const line of lines) {
    const [kind, name, version] = line.split("\t");
    if (!name || !version) continue;
    if (kind === "dep") modules.push({ name, version });
    else if (kind === "=>" && modules.length > 0) modules[modules.length - 1] = { name, version };
  }
  return { name, modules };
}

/** No module may be called so: `@` cannot stand in its path. */
function distribution(path: string): string | undefined {
  const [, name] = path.split("\t");
  return name && `go-distribution@${name}`;
}

/** `1.21.0` of `go1.21`. Empty for everything that is not released: no vulnerability can be told of it. */
export function releaseOf(version: string): string {
  const [, release = ""] = /^go(\d+\.\d+(?:\.\d+)?)$/.exec(version) ?? [];
  return release === "" || release.split(".").length === 3 ? release : `${release}.0`;
}

/** A text behind its length as a varint. */
function* readText(at: number): ByteWindows<{ readonly text: string; readonly end: number } | undefined> {
  let length = 0;
  for (let index = 0; index < MAX_VARINT_BYTES; index++) {
    const [byte = 0] = yield { at: at + index, length: 1 };
    length += (byte & 0x7f) * 2 ** (7 * index);
    if ((byte & 0x80) !== 0) continue;
    const start = at + index + 1;
    if (length > LIMITS.goBuildInfoBytes) return undefined;
    return { text: length === 0 ? "" : latin1(yield { at: start, length }), end: start + length };
  }
  return undefined;
}

function hexBytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
