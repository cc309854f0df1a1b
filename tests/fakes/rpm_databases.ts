/**
 * Writes rpm databases in the two forms that no program on a test machine writes any more: Berkeley DB's hash (which
 * Debian's rpm still reads) and NDB.
 *
 * @module
 */

/** Options of {@link bdbDatabase}. */
export interface BdbOptions {
  /** @default 4096 */
  readonly pageSize?: number;
  /** False for a database of a big-endian machine. @default true */
  readonly little?: boolean;
  /** Key and value pairs of one hash page. @default 3 */
  readonly pairsPerPage?: number;
}

const HASH_HEADER = 26;

/**
 * A hash database with one value for each blob, in order, after the counter that rpm keeps under key 0. Values of more than
 * a quarter of a page stand on overflow pages, as Berkeley DB has it.
 */
export function bdbDatabase(blobs: readonly Uint8Array[], options: BdbOptions = {}): Uint8Array {
  const { pageSize = 4096, little = true, pairsPerPage = 3 } = options;
  const counter = new Uint8Array(4);
  new DataView(counter.buffer).setUint32(0, blobs.length, little);
  const pages: Uint8Array[] = [];
  const pairs = [counter, ...blobs];
  const hashPages = Math.ceil(pairs.length / pairsPerPage);
  let next = 1 + hashPages;
  const newPage = (number: number, type: number, entries: number): DataView => {
    const page = new DataView(new ArrayBuffer(pageSize));
    page.setUint32(8, number, little);
    page.setUint16(20, entries, little);
    page.setUint8(25, type);
    return page;
  };
  const overflow = (blob: Uint8Array): number => {
    const first = next;
    const room = pageSize - HASH_HEADER;
    for (let at = 0; at < blob.length; at += room) {
      const part = blob.subarray(at, at + room);
      const page = newPage(next, 7, 1);
      page.setUint32(12, at === 0 ? 0 : next - 1, little);
      page.setUint32(16, at + room < blob.length ? next + 1 : 0, little);
      page.setUint16(22, part.length, little);
      new Uint8Array(page.buffer).set(part, HASH_HEADER);
      pages[next++] = new Uint8Array(page.buffer);
    }
    return first;
  };
  for (let number = 1; number <= hashPages; number++) {
    const mine = pairs.slice((number - 1) * pairsPerPage, number * pairsPerPage);
    const page = newPage(number, 13, 2 * mine.length);
    const bytes = new Uint8Array(page.buffer);
    let end = pageSize;
    const put = (index: number, type: number, item: Uint8Array): void => {
      end -= 1 + item.length;
      bytes[end] = type;
      bytes.set(item, end + 1);
      page.setUint16(HASH_HEADER + 2 * index, end, little);
    };
    mine.forEach((blob, at) => {
      const key = new Uint8Array(4);
      new DataView(key.buffer).setUint32(0, (number - 1) * pairsPerPage + at, little);
      put(2 * at, 1, key);
      if (blob.length <= pageSize / 4) return put(2 * at + 1, 1, blob);
      const reference = new DataView(new ArrayBuffer(11));
      reference.setUint32(3, overflow(blob), little);
      reference.setUint32(7, blob.length, little);
      put(2 * at + 1, 3, new Uint8Array(reference.buffer));
    });
    page.setUint16(22, end, little);
    pages[number] = bytes;
  }
  pages[0] = bdbMeta(pageSize, little, { hashPages, lastPage: next - 1, pairs: pairs.length });
  return concat(pages);
}

function bdbMeta(
  pageSize: number,
  little: boolean,
  { hashPages, lastPage, pairs }: { hashPages: number; lastPage: number; pairs: number },
): Uint8Array {
  const meta = new DataView(new ArrayBuffer(pageSize));
  const set = (at: number, value: number): void => meta.setUint32(at, value, little);
  set(12, 0x061561);
  set(16, 9);
  set(20, pageSize);
  meta.setUint8(25, 8);
  set(32, lastPage);
  set(40, pairs);
  set(44, pairs);
  const highMask = 2 ** Math.ceil(Math.log2(Math.max(hashPages, 2))) - 1;
  set(72, hashPages - 1);
  set(76, highMask);
  set(80, highMask >> 1);
  set(88, pairs);
  // Bucket n is page n + spares[log2(n + 1)].
  for (let at = 0; at < 32; at++) set(96 + 4 * at, 1);
  return new Uint8Array(meta.buffer);
}

/** An NDB database with these blobs as packages 1, 2, …. */
export function ndbDatabase(blobs: readonly Uint8Array[]): Uint8Array {
  const slotPages = Math.max(1, Math.ceil((blobs.length + 2) / 256));
  const sizes = blobs.map((blob) => Math.ceil((16 + blob.length + 12) / 16));
  const bytes = new Uint8Array(slotPages * 4096 + 16 * sizes.reduce((sum, size) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  const put = (at: number, numbers: readonly number[]): void =>
    numbers.forEach((number, index) => view.setUint32(at + 4 * index, number, true));
  put(0, [0x506d7052, 0, 1, slotPages, blobs.length + 1, 0, 0, 0]);
  for (let slot = 2; slot < slotPages * 256; slot++) put(16 * slot, [0x746f6c53, 0, 0, 0]);
  let block = slotPages * 256;
  blobs.forEach((blob, at) => {
    const size = sizes[at] ?? 0;
    put(16 * (at + 2), [0x746f6c53, at + 1, block, size]);
    const start = 16 * block;
    const tail = start + 16 * size - 12;
    put(start, [0x53626c42, at + 1, 1, blob.length]);
    bytes.set(blob, start + 16);
    put(tail, [adler32(bytes.subarray(start, tail)), blob.length, 0x45626c42]);
    block += size;
  });
  return bytes;
}

/** Adler-32 by its definition (RFC 1950 §8.2). */
function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return b * 65536 + a;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
