/**
 * Heads of HTTP/1.1 messages: ours as bytes, the peer's as fields (RFC 9112 §2–§6). Strict where two readers of one
 * message could disagree: what is ambiguous about a body's length is refused.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";

/** A header field; names are lower case. */
export type Field = readonly [name: string, value: string];

/** How the end of a body is found (RFC 9112 §6.3). */
export type Framing =
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  /** The end of the connection is the end of the body. */
  | { readonly kind: "close" };

/** Head of a response. */
export interface ResponseHead {
  readonly status: number;
  readonly fields: readonly Field[];
  readonly framing: Framing;
  /** Whether the connection may carry another request afterwards. */
  readonly keepAlive: boolean;
}

const LF = 0x0a;
const CR = 0x0d;

/** Position after the empty line that ends a head in `bytes[start, end)`; -1 when it is not there yet. */
export function headEnd(bytes: Uint8Array, start: number, end: number): number {
  for (let at = bytes.indexOf(LF, start); at >= 0 && at < end; at = bytes.indexOf(LF, at + 1)) {
    if (at - start >= 3 && bytes[at - 1] === CR && bytes[at - 2] === LF && bytes[at - 3] === CR) return at + 1;
  }
  return -1;
}

/**
 * Reads the head of a response, empty line included.
 *
 * @param withoutBody The request was HEAD.
 * @throws {OutpostError} CONNECTION_FAILED when it is malformed or its body's length is ambiguous.
 */
export function parseResponseHead(bytes: Uint8Array, withoutBody: boolean): ResponseHead {
  const [statusLine = "", ...lines] = latin1(bytes).slice(0, -4).split("\r\n");
  const match = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?$/.exec(statusLine);
  if (match === null) throw malformed("its status line");
  const fields = lines.map(parseField);
  const status = Number(match[2]);
  const framing = withoutBody || status < 200 || status === 204 || status === 304 ? NO_BODY : framingOf(fields);
  const keepAlive = match[1] === "1" && framing.kind !== "close" &&
    !fields.some(([name, value]) => name === "connection" && /(?:^|,)\s*close\s*(?:,|$)/i.test(value));
  return { status, fields, framing, keepAlive };
}

const NO_BODY: Framing = { kind: "length", bytes: 0 };

function parseField(line: string): Field {
  const colon = line.indexOf(":");
  const name = line.slice(0, colon);
  // A line that begins with a blank continues the one before (obs-fold), which a client may refuse.
  if (colon <= 0 || !isFieldName(name)) throw malformed("a header field");
  const value = line.slice(colon + 1).replace(/^[\t ]+|[\t ]+$/g, "");
  if (!isFieldValue(value)) throw malformed("a header field");
  return [name.toLowerCase(), value];
}

/** Whether it is a field name (RFC 9110 §5.1: token). */
export function isFieldName(name: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name);
}

/** Whether it can be sent as a field value: no control character but tab, no character beyond one byte. */
export function isFieldValue(value: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}

function framingOf(fields: readonly Field[]): Framing {
  const codings = fields.filter(([name]) => name === "transfer-encoding");
  const lengths = fields.filter(([name]) => name === "content-length");
  if (codings.length > 0) {
    if (lengths.length > 0 || codings.length > 1 || codings[0]?.[1].toLowerCase() !== "chunked") {
      throw malformed("the length of its body");
    }
    return { kind: "chunked" };
  }
  const [first] = lengths;
  if (first === undefined) return { kind: "close" };
  const same = lengths.every(([, value]) => value === first[1]);
  const bytes = Number(first[1]);
  if (!same || !/^[0-9]{1,16}$/.test(first[1]) || !Number.isSafeInteger(bytes)) {
    throw malformed("the length of its body");
  }
  return { kind: "length", bytes };
}

/**
 * Writes the head of a request to the beginning of `target`. Path and query of a parsed URL hold no blank.
 *
 * @returns bytes written; undefined when the target is too small.
 * @param fields Names and values that {@link isFieldName} and {@link isFieldValue} accept.
 */
export function writeRequestHead(
  method: string,
  url: URL,
  fields: Iterable<Field>,
  framing: Framing | undefined,
  target: Uint8Array,
): number | undefined {
  let text = `${method} ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n`;
  for (const [name, value] of fields) text += `${name}: ${value}\r\n`;
  if (framing?.kind === "length") text += `content-length: ${framing.bytes}\r\n`;
  if (framing?.kind === "chunked") text += "transfer-encoding: chunked\r\n";
  return writeLatin1(`${text}\r\n`, target);
}

/** {@link writeRequestHead} into bytes of its own. */
export function encodeRequestHead(
  method: string,
  url: URL,
  fields: Iterable<Field>,
  framing: Framing | undefined,
): Uint8Array<ArrayBuffer> {
  for (let target = new Uint8Array(ENCODED_BYTES);; target = new Uint8Array(target.length * 2)) {
    const written = writeRequestHead(method, url, fields, framing, target);
    if (written !== undefined) return target.subarray(0, written);
  }
}

/** More than a head commonly has. */
const ENCODED_BYTES = 1024;

/** One character per byte. */
function latin1(bytes: Uint8Array): string {
  // Not TextDecoder("latin1"): by the Encoding Standard that is windows-1252.
  const ascii = new TextDecoder().decode(bytes);
  if (!ascii.includes("\ufffd") && ascii.length === bytes.length) return ascii;
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const encoder = new TextEncoder();

function writeLatin1(text: string, target: Uint8Array): number | undefined {
  if (text.length > target.length) return undefined;
  const { read, written } = encoder.encodeInto(text, target);
  if (read === text.length && written === text.length) return written;
  for (let at = 0; at < text.length; at++) target[at] = text.charCodeAt(at);
  return text.length;
}

function malformed(what: string): OutpostError {
  return new OutpostError("CONNECTION_FAILED", `Cannot read the answer: ${what} is malformed`);
}
