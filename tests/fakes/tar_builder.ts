/**
 * Builds tar archives byte by byte, well-formed ones as well as any kind of broken ones.
 *
 * @module
 */

const BLOCK = 512;
const encoder = new TextEncoder();

/** A member; every field has a sensible default. */
export interface TarMember {
  readonly name: string | Uint8Array;
  /** Type flag. @default "0" */
  readonly type?: string;
  readonly body?: string | Uint8Array;
  readonly linkName?: string;
  readonly mode?: number;
  /** Header layout. @default "ustar" */
  readonly format?: "v7" | "ustar" | "gnu" | "star";
  /** ustar prefix. */
  readonly prefix?: string;
  /** Value of the size field. @default length of the body */
  readonly size?: number;
  /** Raw bytes over parts of the header, written before the checksum: offset → bytes. */
  readonly fields?: Readonly<Record<number, string | Uint8Array>>;
  /** How the checksum is computed. @default "unsigned" */
  readonly checksum?: "unsigned" | "signed" | "wrong";
}

/** Bytes of text, or the bytes. */
export function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? encoder.encode(value) : value;
}

/** Joins parts. */
export function concat(...parts: readonly (string | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  const bytes = parts.map(bytesOf);
  const all = new Uint8Array(bytes.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of bytes) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A number field in octal, with a final NUL. */
export function octal(value: number, length: number): string {
  return `${value.toString(8).padStart(length - 1, "0")}\0`;
}

/** A number field in base 256. */
export function base256(value: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let rest = value;
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  bytes[0] = (bytes[0] ?? 0) | 0x80;
  return bytes;
}

/** One header block, without body. */
export function tarHeader(member: TarMember): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  const put = (offset: number, value: string | Uint8Array): void => block.set(bytesOf(value), offset);
  const format = member.format ?? "ustar";
  put(0, bytesOf(member.name).slice(0, 100));
  put(100, octal(member.mode ?? 0o644, 8));
  put(108, octal(0, 8));
  put(116, octal(0, 8));
  put(124, octal(member.size ?? bytesOf(member.body ?? "").length, 12));
  put(136, octal(1_700_000_000, 12));
  put(156, member.type ?? "0");
  put(157, bytesOf(member.linkName ?? "").slice(0, 100));
  if (format === "gnu") put(257, "ustar  \0");
  else if (format !== "v7") put(257, "ustar\x0000");
  if (format === "star") put(508, "tar\0");
  if (member.prefix !== undefined) put(345, member.prefix);
  for (const [offset, value] of Object.entries(member.fields ?? {})) put(Number(offset), value);
  put(148, "        ");
  let sum = 0;
  for (const byte of block) sum += member.checksum === "signed" && byte > 127 ? byte - 256 : byte;
  if (member.checksum === "wrong") sum++;
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

/** Fills up to a whole block. */
export function padded(body: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = bytesOf(body);
  return concat(bytes, new Uint8Array((BLOCK - bytes.length % BLOCK) % BLOCK));
}

/** Header, body and padding of one member. */
export function tarMember(member: TarMember): Uint8Array<ArrayBuffer> {
  return concat(tarHeader(member), padded(member.body ?? ""));
}

/** The end marker: two zero blocks. */
export function tarEnd(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(2 * BLOCK);
}

/** A whole archive: members, in order, and an end marker. Raw bytes stand for themselves. */
export function tar(...members: readonly (TarMember | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  return concat(...members.map((m) => m instanceof Uint8Array ? m : tarMember(m)), tarEnd());
}

/** One pax record, `length key=value\n`, with the right length. */
export function paxRecord(key: string, value: string): string {
  const rest = bytesOf(` ${key}=${value}\n`).length;
  let length = rest + String(rest).length;
  if (String(length).length + rest !== length) length++;
  return `${length} ${key}=${value}\n`;
}

/** A pax header for the next member, or a global one. The records may be raw text. */
export function pax(
  records: Readonly<Record<string, string>> | readonly (readonly [string, string])[] | string,
  type: "x" | "g" = "x",
): Uint8Array<ArrayBuffer> {
  const pairs = Array.isArray(records) ? records as readonly (readonly [string, string])[] : Object.entries(records);
  const body = typeof records === "string" ? records : pairs.map(([key, value]) => paxRecord(key, value)).join("");
  return tarMember({ name: "PaxHeaders/x", type, body });
}

/** A GNU long name (`L`) or long link (`K`) for the next member. */
export function gnuLong(type: "L" | "K", text: string): Uint8Array<ArrayBuffer> {
  return tarMember({ name: "././@LongLink", type, body: `${text}\0`, format: "gnu" });
}

/** An old GNU sparse map of at most 4 (in the header) or 21 (in an extension block) regions. */
export function oldSparseMap(
  regions: readonly (readonly [number, number])[],
  extended: boolean,
): Uint8Array<ArrayBuffer> {
  const entries = regions.map(([offset, length]) => octal(offset, 12) + octal(length, 12)).join("");
  const room = regions.length > 4 ? 21 : 4;
  return concat(entries, new Uint8Array((room - regions.length) * 24), Uint8Array.of(extended ? 1 : 0));
}
