/**
 * The packed results of scans in a bucket of NATS: pieces, and for each result a head that is written after them. The heads
 * are known to every process, the pieces are read when somebody asks.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { concatBytes } from "../lib/bytes.ts";
import { sha256Hex } from "../lib/sha256.ts";
import type { BucketEntry, NatsBucket } from "./nats_connection.ts";
import type { WatchHandler } from "./nats_watch.ts";

/** Head of a result. */
interface Head {
  readonly key: string;
  readonly bytes: number;
  readonly usedAt: number;
  /** Under which its pieces are, and how many there are. */
  readonly body: string;
  readonly pieces: number;
}

/** A result, as far as its head says. */
export interface KnownResult extends Head {
  readonly name: string;
  readonly revision: number;
}

/** Keys of heads. */
export const HEADS = "head.*";

/** Results by their keys. */
export class SharedResults implements WatchHandler {
  readonly #bucket: NatsBucket;
  readonly #newId: () => string;
  readonly #byName = new Map<string, KnownResult>();
  readonly #byKey = new Map<string, KnownResult>();
  #removed = new Map<string, number>();
  /** The pieces that this process wrote last, unless they are large: whoever makes a result sends it next, mostly. */
  #latest: { readonly body: string; readonly value: Uint8Array } | undefined;

  constructor(bucket: NatsBucket, newId: () => string) {
    this.#bucket = bucket;
    this.#newId = newId;
  }

  /** Packed bytes of a result; 0 when there is none. */
  bytes(key: string): number {
    return this.#byKey.get(key)?.bytes ?? 0;
  }

  /** Whether there is a result with a key that begins so. */
  has(prefix: string): boolean {
    return this.#byKey.keys().some((key) => key.startsWith(prefix));
  }

  /** All results. */
  all(): Iterable<KnownResult> {
    return this.#byName.values();
  }

  /** Keeps a result; one with the same key is replaced. */
  async put(key: string, value: Uint8Array, now: number): Promise<void> {
    const body = this.#newId();
    const pieces = await this.writePieces(body, value);
    const head = { key, bytes: value.length, usedAt: now, body, pieces };
    const replaced = await this.#write(key, () => head);
    this.#latest = pieces === 1 ? { body, value } : undefined;
    if (replaced !== undefined && replaced.body !== body) await this.#bucket.forget(`piece.${replaced.body}.>`);
  }

  /** Reads a result. */
  async get(key: string, now: number): Promise<Uint8Array | undefined> {
    // Once more when it was replaced in between.
    for (let attempt = 0; attempt < 2; attempt++) {
      const head = attempt === 0 ? this.#byKey.get(key) ?? await this.#load(key) : await this.#load(key);
      if (head === undefined) return undefined;
      const value = this.#takeLatest(head) ?? await this.readPieces(head.body, head.pieces);
      if (value === undefined) continue;
      if (now - head.usedAt >= LIMITS.queueResultTouchMs) await this.touch(key, now).catch(() => {});
      return value;
    }
    return undefined;
  }

  /** Once: what is asked for again is not held here meanwhile. */
  #takeLatest({ body }: Head): Uint8Array | undefined {
    if (this.#latest?.body !== body) return undefined;
    const { value } = this.#latest;
    this.#latest = undefined;
    return value;
  }

  /** Marks a result as used; false when there is none. */
  async touch(key: string, now: number): Promise<boolean> {
    return await this.#write(key, (head) => head && { ...head, usedAt: now }) !== undefined;
  }

  /** Takes a result away, unless it was used since. */
  async remove({ key, name, revision, body }: KnownResult): Promise<void> {
    if (!await this.#bucket.remove(`head.${name}`, revision)) return;
    const known = this.#byName.get(name);
    if (known?.revision === revision) this.#drop(name);
    this.#removed.set(name, revision);
    if (this.#byKey.get(key)?.name === name) this.#byKey.delete(key);
    await this.#bucket.forget(`piece.${body}.>`);
  }

  /** Forgets the marks of what was taken away before the last call. */
  async sweep(): Promise<void> {
    const removed = this.#removed;
    this.#removed = new Map();
    for (const [name, revision] of removed) await this.#bucket.forget(`head.${name}`, revision);
  }

  /** Writes a value in pieces; answers their number. */
  async writePieces(body: string, value: Uint8Array): Promise<number> {
    const size = Math.min(LIMITS.queuePieceBytes, this.#bucket.maxValueBytes);
    const count = Math.max(1, Math.ceil(value.length / size));
    for (let n = 0; n < count; n++) {
      await this.#bucket.put(`piece.${body}.${n}`, value.subarray(n * size, (n + 1) * size));
    }
    return count;
  }

  /** Reads what {@link writePieces} wrote; undefined when a piece is gone. */
  async readPieces(body: string, count: number): Promise<Uint8Array | undefined> {
    const parts: Uint8Array[] = [];
    for (let n = 0; n < count; n++) {
      const piece = await this.#bucket.get(`piece.${body}.${n}`);
      if (piece === undefined) return undefined;
      parts.push(piece.value);
    }
    return concatBytes(parts);
  }

  /** Under what there are pieces. */
  async bodies(): Promise<readonly string[]> {
    const firsts = await this.#bucket.keys("piece.*.0");
    return firsts.map((key) => key.slice("piece.".length, -".0".length));
  }

  /** Takes pieces away that were written before a time. */
  async removeOldPieces(body: string, before: number): Promise<void> {
    const first = await this.#bucket.get(`piece.${body}.0`);
    if (first !== undefined && first.writtenAt < before) await this.removePieces(body);
  }

  /** Takes pieces away. */
  async removePieces(body: string): Promise<void> {
    await this.#bucket.forget(`piece.${body}.>`);
  }

  entry({ key, value, revision, removed }: BucketEntry): void {
    const name = key.slice("head.".length);
    if (!removed) this.#apply(name, JSON.parse(new TextDecoder().decode(value)) as Head, revision);
    else if (revision > (this.#byName.get(name)?.revision ?? 0)) {
      this.#drop(name);
      this.#removed.set(name, revision);
    }
  }

  began(last: number): void {
    if (this.#byName.values().every(({ revision }) => revision <= last)) return;
    for (const known of [this.#byName, this.#byKey, this.#removed]) known.clear();
  }

  synced(keys: ReadonlySet<string>, upTo: number): void {
    for (const [name, { revision }] of this.#byName) {
      if (!keys.has(`head.${name}`) && revision <= upTo) this.#drop(name);
    }
  }

  /** Writes the head that `change` makes of what there is; answers what there was, or is now. */
  async #write(key: string, change: (head: KnownResult | undefined) => Head | undefined): Promise<Head | undefined> {
    const name = sha256Hex(key);
    let head = this.#byName.get(name);
    for (let attempt = 0; attempt < LIMITS.queueConflicts; attempt++) {
      // What this process does not know of is new most times: it is looked for only when a write finds it.
      let next = change(head);
      if (next === undefined) next = change(head = await this.#load(key));
      if (next === undefined) return undefined;
      const { bytes, usedAt, body, pieces } = next;
      const value = new TextEncoder().encode(JSON.stringify({ key, bytes, usedAt, body, pieces }));
      const revision = head === undefined
        ? await this.#bucket.create(`head.${name}`, value)
        : await this.#bucket.update(`head.${name}`, value, head.revision);
      if (revision !== undefined) {
        this.#apply(name, { key, bytes, usedAt, body, pieces }, revision);
        return head ?? next;
      }
      head = await this.#load(key);
    }
    throw new OutpostError("STORE_UNAVAILABLE", "Cannot keep a result: others change it all the time");
  }

  async #load(key: string): Promise<KnownResult | undefined> {
    const name = sha256Hex(key);
    const entry = await this.#bucket.get(`head.${name}`);
    if (entry === undefined) return undefined;
    const head = JSON.parse(new TextDecoder().decode(entry.value)) as Head;
    this.#apply(name, head, entry.revision);
    return { ...head, name, revision: entry.revision };
  }

  #apply(name: string, head: Head, revision: number): void {
    if (revision <= Math.max(this.#byName.get(name)?.revision ?? 0, this.#removed.get(name) ?? 0)) return;
    const known = { ...head, name, revision };
    this.#byName.set(name, known);
    this.#byKey.set(head.key, known);
  }

  #drop(name: string): void {
    const known = this.#byName.get(name);
    this.#byName.delete(name);
    if (known !== undefined) this.#byKey.delete(known.key);
  }
}
