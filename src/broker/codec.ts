/**
 * The four layers of a broker frame: engine.io v4 packet, Primus control string, primus-emitter packet, EJSON text.
 * Follows broker-protocol.md §1.1–1.4 and engine.io-protocol v4. Decoding never throws: what cannot be understood is
 * `malformed`, what may be skipped by the rules of the protocol is `ignored`.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import { TextBytes } from "../lib/text_bytes.ts";
import { LargeJson, LargeJsonError, OversizedText } from "./large_json.ts";

/** One websocket text frame, decoded. */
export type Frame =
  /** engine.io `0`: the server's session parameters; times in milliseconds. */
  | { readonly kind: "open"; readonly sid: string; readonly pingInterval: number; readonly pingTimeout: number }
  /** engine.io `1`. */
  | { readonly kind: "close" }
  /** engine.io `2`; the peer answers with `pong` and the same data. */
  | { readonly kind: "ping"; readonly data: string }
  /** engine.io `3`. */
  | { readonly kind: "pong"; readonly data: string }
  /** engine.io `6`. */
  | { readonly kind: "noop" }
  /** Primus keep-alive, client to server; `value` is the sender's time. */
  | { readonly kind: "primus-ping"; readonly value: string }
  /** Primus keep-alive, server to client, with the value of the ping. */
  | { readonly kind: "primus-pong"; readonly value: string }
  /** Primus: the server ends the connection on purpose. */
  | { readonly kind: "server-close" }
  /** primus-emitter event; `id` asks for an acknowledgement. */
  | { readonly kind: "event"; readonly name: string; readonly args: readonly unknown[]; readonly id?: number }
  /** primus-emitter acknowledgement. */
  | { readonly kind: "ack"; readonly id: number; readonly args: readonly unknown[] }
  /** Well-formed, but nothing that concerns us. */
  | { readonly kind: "ignored"; readonly reason: string }
  /** Not understood. `reason` never quotes the frame. */
  | { readonly kind: "malformed"; readonly reason: string };

/** A frame that may be sent. */
export type SendableFrame = Exclude<Frame, { readonly kind: "ignored" | "malformed" }>;

/** Outcome of {@link decodeEjson} and {@link parseBoundedJson}. */
export type EjsonResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly reason: string };

/** Events of Primus itself: primus-emitter does not deliver user events of these names. */
const RESERVED_EVENTS: ReadonlySet<string> = new Set([
  "readyStateChange",
  "reconnect",
  "reconnect scheduled",
  "reconnect timeout",
  "reconnect failed",
  "reconnected",
  "online",
  "offline",
  "timeout",
  "initialised",
  "open",
  "close",
  "error",
  "data",
  "end",
  "destroy",
  "heartbeat",
  "newListener",
  "removeListener",
]);

/**
 * Decodes a websocket message. Anything but text within LIMITS.brokerFrameBytes is malformed. In one that comes as
 * {@link TextBytes}, a string of more than LIMITS.brokerTextBytes is an {@link OversizedText}.
 */
export function decodeFrame(message: unknown): Frame {
  if (message instanceof TextBytes) return decodeLargeFrame(message.bytes);
  if (typeof message !== "string") return malformed("The frame is not text");
  if (message.length > LIMITS.brokerFrameBytes) return malformed("The frame is larger than brokerFrameBytes");
  const data = message.slice(1);
  switch (message[0]) {
    case "0":
      return decodeOpen(data);
    case "1":
      return { kind: "close" };
    case "2":
      return { kind: "ping", data };
    case "3":
      return { kind: "pong", data };
    case "4":
      return decodeMessage(data);
    case "5":
      return { kind: "ignored", reason: "An upgrade packet on a websocket" };
    case "6":
      return { kind: "noop" };
    default:
      return malformed("The engine.io packet type is unknown");
  }
}

/** Of large packets only messages make sense: the others hold a few words. */
function decodeLargeFrame(bytes: Uint8Array<ArrayBuffer>): Frame {
  if (bytes.length > LIMITS.brokerFrameBytes) return malformed("The frame is larger than brokerFrameBytes");
  if (bytes[0] !== 0x34) return malformed("The packet is larger than its type allows");
  try {
    const large = new LargeJson(bytes.subarray(1));
    const parsed = parseBoundedJson(large.text);
    return parsed.ok ? readMessage(fromEjson(parsed.value, large)) : malformed(parsed.reason);
  } catch (error) {
    if (error instanceof EjsonError || error instanceof LargeJsonError) return malformed(error.message);
    throw error;
  }
}

/** Encodes a frame; the inverse of {@link decodeFrame}. */
export function encodeFrame(frame: SendableFrame): string {
  switch (frame.kind) {
    case "open": {
      const { sid, pingInterval, pingTimeout } = frame;
      const maxPayload = LIMITS.brokerFrameBytes;
      return `0${JSON.stringify({ sid, upgrades: [], pingInterval, pingTimeout, maxPayload })}`;
    }
    case "close":
      return "1";
    case "ping":
      return `2${frame.data}`;
    case "pong":
      return `3${frame.data}`;
    case "noop":
      return "6";
    case "primus-ping":
      return `4${JSON.stringify(`primus::ping::${frame.value}`)}`;
    case "primus-pong":
      return `4${JSON.stringify(`primus::pong::${frame.value}`)}`;
    case "server-close":
      return `4"primus::server::close"`;
    case "event": {
      const data = [frame.name, ...frame.args];
      return `4${encodeEjson(frame.id === undefined ? { type: 0, data } : { type: 0, data, id: frame.id })}`;
    }
    case "ack":
      return `4${encodeEjson({ id: frame.id, type: 1, data: frame.args })}`;
  }
}

function malformed(reason: string): Frame {
  return { kind: "malformed", reason };
}

function decodeOpen(text: string): Frame {
  const decoded = decodeEjson(text);
  if (!decoded.ok) return malformed(decoded.reason);
  if (!isRecord(decoded.value)) return malformed("The open packet is not an object");
  const { sid, pingInterval, pingTimeout } = decoded.value;
  if (typeof sid !== "string" || !isDuration(pingInterval) || !isDuration(pingTimeout)) {
    return malformed("The open packet lacks sid, pingInterval or pingTimeout");
  }
  return { kind: "open", sid, pingInterval, pingTimeout };
}

function isDuration(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function decodeMessage(text: string): Frame {
  const decoded = decodeEjson(text);
  return decoded.ok ? readMessage(decoded.value) : malformed(decoded.reason);
}

function readMessage(value: unknown): Frame {
  if (typeof value === "string") return decodeControl(value);
  if (!isRecord(value)) return { kind: "ignored", reason: "A message that is no emitter packet" };
  const { type, data, id } = value;
  if (!Array.isArray(data)) return { kind: "ignored", reason: "An emitter packet without data" };
  if (id !== undefined && (typeof id !== "number" || !Number.isSafeInteger(id))) {
    return { kind: "ignored", reason: "An emitter packet whose id is not a number" };
  }
  if (type === 0) return decodeEvent(data, id);
  if (type !== 1) return { kind: "ignored", reason: "An emitter packet of an unknown type" };
  return id === undefined
    ? { kind: "ignored", reason: "An acknowledgement without an id" }
    : { kind: "ack", id, args: data };
}

function decodeEvent(data: readonly unknown[], id: number | undefined): Frame {
  const [name, ...args] = data;
  if (typeof name !== "string") return { kind: "ignored", reason: "An event without a name" };
  if (RESERVED_EVENTS.has(name) || name.startsWith("incoming::") || name.startsWith("outgoing::")) {
    return { kind: "ignored", reason: "An event with a reserved name" };
  }
  // primus-emitter treats id 0 as "no acknowledgement wanted".
  return id === undefined || id === 0 ? { kind: "event", name, args } : { kind: "event", name, args, id };
}

function decodeControl(text: string): Frame {
  if (text.startsWith("primus::ping::")) return { kind: "primus-ping", value: text.slice(14) };
  if (text.startsWith("primus::pong::")) return { kind: "primus-pong", value: text.slice(14) };
  if (text === "primus::server::close") return { kind: "server-close" };
  return { kind: "ignored", reason: text.startsWith("primus::") ? "An unknown control message" : "A text message" };
}

/** Whether the value is an object with string keys: not null, not an array, not bytes, not a date, not a text. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return !(value instanceof Uint8Array) && !(value instanceof Date) && !(value instanceof OversizedText);
}

/**
 * Decodes EJSON text (Meteor EJSON as of ejson 2.2.3). `{"$binary"}` becomes a Uint8Array, `{"$date"}` a Date,
 * `{"$InfNaN"}` a number, `{"$escape"}` the object inside. An object is special only with exactly these keys.
 * Nesting is bounded by LIMITS.jsonDepth and the number of values by LIMITS.jsonValues before anything is parsed.
 */
export function decodeEjson(text: string): EjsonResult {
  const parsed = parseBoundedJson(text);
  if (!parsed.ok) return parsed;
  try {
    return { ok: true, value: fromEjson(parsed.value) };
  } catch (error) {
    if (error instanceof EjsonError) return { ok: false, reason: error.message };
    throw error;
  }
}

/** Parses JSON text whose nesting and number of values stay within LIMITS.jsonDepth and LIMITS.jsonValues. */
export function parseBoundedJson(text: string): EjsonResult {
  const excess = jsonExcess(text);
  if (excess !== undefined) return { ok: false, reason: excess };
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    return { ok: false, reason: "The message is not JSON" };
  }
}

/** Encodes a value as EJSON text; the inverse of {@link decodeEjson}. Undefined properties are left out. */
export function encodeEjson(value: unknown): string {
  return JSON.stringify(toEjson(value));
}

class EjsonError extends Error {}

/**
 * Scans JSON text for nesting deeper, or values more numerous, than we are ready to hold; strings are skipped by
 * `indexOf`, since almost all of a large frame is one base64 string. Does not validate.
 */
function jsonExcess(text: string): string | undefined {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (c === 0x22) {
      at = closingQuote(text, at + 1);
    } else if (c === 0x5b || c === 0x7b) {
      if (++depth > LIMITS.jsonDepth) return "The message is nested deeper than jsonDepth";
      if (++values > LIMITS.jsonValues) return "The message holds more values than jsonValues";
    } else if (c === 0x5d || c === 0x7d) {
      depth--;
    } else if (c === 0x2c) {
      if (++values > LIMITS.jsonValues) return "The message holds more values than jsonValues";
    }
  }
  return undefined;
}

/** Position of the quote that closes a JSON string whose content starts at `from`; the text's end if there is none. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (at - 1 - backslashes >= from && text.charCodeAt(at - 1 - backslashes) === 0x5c) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
  return text.length;
}

/**
 * Decodes in place what `JSON.parse` has just made. Assigning to an own property replaces it whatever its name, so that
 * `__proto__`, which JSON.parse defines as one, stays data.
 *
 * @param large Where the strings of a large message are.
 */
function fromEjson(value: unknown, large?: LargeJson): unknown {
  if (typeof value === "string") return large === undefined ? value : large.restore(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) value[at] = fromEjson(value[at], large);
    return value;
  }
  const record = value as Record<string, unknown>;
  const keys = Object.keys(record);
  if (keys.length <= 2 && keys[0]?.startsWith("$") === true) {
    const special = fromExtension(Object.entries(record), large);
    if (special !== undefined) return special.value;
  }
  return decodeMembers(record, keys, large);
}

function decodeMembers(
  record: Record<string, unknown>,
  keys: readonly string[],
  large: LargeJson | undefined,
): Record<string, unknown> {
  for (const key of keys) {
    const inner = record[key];
    if ((typeof inner === "object" && inner !== null) || (large !== undefined && typeof inner === "string")) {
      record[key] = fromEjson(inner, large);
    }
  }
  return record;
}

function fromExtension(
  entries: readonly (readonly [string, unknown])[],
  large: LargeJson | undefined,
): { readonly value: unknown } | undefined {
  const [first, second] = entries;
  if (first === undefined || entries.length > 2) return undefined;
  const [key, inner] = first;
  if (entries.length === 2) {
    const keys = [key, second?.[0]].sort().join();
    if (keys === "$type,$value") throw new EjsonError("The message holds a custom EJSON type");
    return undefined;
  }
  if (key === "$binary") return { value: fromBinary(inner, large) };
  if (key === "$date") return { value: fromDate(inner) };
  if (key === "$InfNaN") return { value: fromInfNaN(inner) };
  if (key === "$escape" && isRecord(inner)) return { value: decodeMembers(inner, Object.keys(inner), large) };
  return undefined;
}

function fromBinary(inner: unknown, large: LargeJson | undefined): Uint8Array<ArrayBuffer> {
  if (typeof inner !== "string") throw new EjsonError("The message holds $binary that is not text");
  if (large !== undefined) return large.binary(inner);
  try {
    return Uint8Array.fromBase64(inner);
  } catch {
    throw new EjsonError("The message holds $binary that is not base64");
  }
}

function fromDate(inner: unknown): Date {
  const date = new Date(typeof inner === "number" ? inner : NaN);
  if (Number.isNaN(date.getTime())) throw new EjsonError("The message holds $date that is not a time");
  return date;
}

function fromInfNaN(inner: unknown): number {
  if (inner === 0) return NaN;
  if (inner === 1) return Infinity;
  if (inner === -1) return -Infinity;
  throw new EjsonError("The message holds $InfNaN that is not -1, 0 or 1");
}

function toEjson(value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) {
    return { $InfNaN: Number.isNaN(value) ? 0 : value > 0 ? 1 : -1 };
  }
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return { $binary: value.toBase64() };
  if (value instanceof Date) return { $date: value.getTime() };
  if (Array.isArray(value)) return value.map(toEjson);
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  const encoded = Object.fromEntries(entries.map(([key, inner]) => [key, toEjson(inner)]));
  return looksSpecial(Object.keys(encoded)) ? { $escape: encoded } : encoded;
}

function looksSpecial(keys: readonly string[]): boolean {
  if (keys.length === 1) return ["$binary", "$date", "$InfNaN", "$escape"].includes(keys[0] ?? "");
  return keys.length === 2 && keys.toSorted().join() === "$type,$value";
}
