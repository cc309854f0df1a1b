/**
 * Headers that say more about the next member: pax extended headers (POSIX.1-2017, pax "Extended Header") and GNU long
 * names, validated as Go's archive/tar does.
 *
 * @module
 */
import type { HeaderBlock } from "./tar_header.ts";
import { FLAG } from "./tar_member.ts";
import type { SparseMap } from "./tar_sparse.ts";

/** Records of one extended header by key. Keys that no reader here uses are checked and left out. */
export type PaxRecords = ReadonlyMap<string, string>;

const decoder = new TextDecoder();
const USED = /^(?:path|linkpath|size|uid|gid|[acm]time|GNU\.sparse\..*)$/;
const INTEGER = /^[+-]?[0-9]+$/;
const TIME = /^[+-]?[0-9]+(?:\.[0-9]*)?$/;
const MAX_INT64 = 2n ** 63n - 1n;

/** A decimal number as strconv.ParseInt(s, 10, 64) takes it; undefined when it is none or does not fit. */
export function parseDecimal(text: string): number | undefined {
  if (!INTEGER.test(text)) return undefined;
  const negative = text.startsWith("-");
  const digits = text.replace(/^[+-]?0*/, "");
  if (digits.length > 19 || BigInt(digits) > (negative ? MAX_INT64 + 1n : MAX_INT64)) return undefined;
  return negative ? -Number(digits) : Number(digits);
}

/** Parses the body of an extended header. Undefined when a record is malformed: then archive/tar refuses the archive. */
export function parsePax(body: Uint8Array): PaxRecords | undefined {
  const records = new Map<string, string>();
  const sparse: string[] = [];
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    if (space < 0) return undefined;
    const length = parseDecimal(decoder.decode(body.subarray(at, space)));
    if (length === undefined || length < 5 || length > body.length - at) return undefined;
    const end = at + length;
    if (end <= space + 1 || body[end - 1] !== 0x0a) return undefined;
    const equals = body.subarray(0, end - 1).indexOf(0x3d, space + 1);
    if (equals <= space + 1) return undefined;
    const key = decoder.decode(body.subarray(space + 1, equals));
    const value = body.subarray(equals + 1, end - 1);
    if (!validRecord(key, value)) return undefined;
    if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes") {
      const expected = sparse.length % 2 === 0 ? "GNU.sparse.offset" : "GNU.sparse.numbytes";
      if (key !== expected || value.includes(0x2c)) return undefined;
      sparse.push(decoder.decode(value));
    } else if (USED.test(key)) {
      records.set(key, decoder.decode(value));
    }
    at = end;
  }
  if (sparse.length > 0) records.set("GNU.sparse.map", sparse.join(","));
  return records;
}

function validRecord(key: string, value: Uint8Array): boolean {
  if (key === "path" || key === "linkpath" || key === "uname" || key === "gname") return !value.includes(0);
  return !key.includes("\0");
}

/** Whether the numbers and times of the records are well-formed (archive/tar refuses the member otherwise). */
export function paxNumbersHold(records: PaxRecords): boolean {
  for (const [key, value] of records) {
    if (value === "" || key === "path" || key === "linkpath" || key.startsWith("GNU.")) continue;
    if (key.endsWith("time") ? !timeHolds(value) : parseDecimal(value) === undefined) return false;
  }
  return true;
}

function timeHolds(value: string): boolean {
  return TIME.test(value) && parseDecimal(value.split(".")[0] ?? "") !== undefined;
}

/** How pax records store a sparse file: map in the records (0.0, 0.1), in front of the data (1.0), or not at all. */
export function paxSparseKind(records: PaxRecords): "records" | "data" | undefined {
  const major = records.get("GNU.sparse.major") ?? "";
  const minor = records.get("GNU.sparse.minor") ?? "";
  if (major === "0" && (minor === "0" || minor === "1")) return "records";
  if (major === "1" && minor === "0") return "data";
  if (major !== "" || minor !== "") return undefined;
  return (records.get("GNU.sparse.map") ?? "") === "" ? undefined : "records";
}

/** The map of versions 0.0 and 0.1. Undefined when it is malformed. */
export function sparseMapOfRecords(records: PaxRecords): SparseMap | undefined {
  const count = parseDecimal(records.get("GNU.sparse.numblocks") ?? "");
  const map = records.get("GNU.sparse.map") ?? "";
  const numbers = map === "" ? [] : map.split(",").map(parseDecimal);
  if (count === undefined || count < 0 || numbers.length !== 2 * count) return undefined;
  return numbers.includes(undefined) ? undefined : numbers as number[];
}

/** What the headers before a member say about it. They apply to one member: begin anew after it. */
export class MemberExtensions {
  pax: PaxRecords | undefined;
  /** GNU long name and long link; they beat pax records. */
  longName: string | undefined;
  longLink: string | undefined;

  /** Name of the member. */
  name(block: HeaderBlock): string {
    const sparse = this.sparseKind(block) === undefined ? undefined : this.pax?.get("GNU.sparse.name");
    return sparse || this.#plainName(block);
  }

  /** Target of the member, when it is a link. */
  linkName(block: HeaderBlock): string {
    return this.longLink || this.pax?.get("linkpath") || block.linkName;
  }

  /** Type flag. Archives older than ustar mark directories by a trailing slash only. */
  typeFlag(block: HeaderBlock): number {
    if (block.typeFlag !== 0) return block.typeFlag;
    return this.#plainName(block).endsWith("/") ? FLAG.directory : FLAG.regular;
  }

  /** Stored size. */
  size(block: HeaderBlock): number {
    return parseDecimal(this.pax?.get("size") ?? "") ?? block.size;
  }

  /** How pax records mark the member as sparse, when they do; an old GNU sparse member has its own map. */
  sparseKind(block: HeaderBlock): "records" | "data" | undefined {
    return this.pax === undefined || block.typeFlag === FLAG.oldSparse ? undefined : paxSparseKind(this.pax);
  }

  #plainName(block: HeaderBlock): string {
    return this.longName || this.pax?.get("path") || block.name;
  }
}
