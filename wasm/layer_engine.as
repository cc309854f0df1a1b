// Inflate (RFC 1951) in AssemblyScript for one WebAssembly instance: resumable at any input byte, fixed memory, as
// strict as zlib.
//
// One table of 2048 entries answers most of what follows in the stream with a single load: one or two literals, or a
// whole match (the codes of length and distance together). Literals and matches then run through the same
// instructions: a copy of 16 bytes from wherever the entry says. What does not fit (end of block, codes of more than
// 11 bits together, lengths above 16, overlapping matches) takes a longer way in the same loop.

// Answers of inflate().
const NEED_INPUT: u32 = 0;
const OUTPUT_FULL: u32 = 1;
const DONE: u32 = 2;
const MALFORMED: u32 = 3;

const BITS: u32 = 11;
const ENTRIES: u32 = 1 << BITS;
const INDEX: u32 = ENTRIES - 1;
// Distances alone are looked up less often, and what their table leaves of the first-level cache serves the others.
const DISTANCE_BITS: u32 = 9;
const DISTANCE_INDEX: u32 = (1 << DISTANCE_BITS) - 1;
const HISTORY: u32 = 32768;
const INPUT_BYTES: u32 = 1 << 18;
const WINDOW_BYTES: u32 = 1 << 18;
// Room behind the window: copies write up to 16 bytes more than they should, and a match starts below the limit.
const SLACK: u32 = 512;
// Input that the loop leaves to the careful way: it reads three times 8 bytes, from up to 7 bytes further each.
const AHEAD: usize = 24;

// The map of the memory. The tables stand above the window, so that one comparison of a source address finds the
// distance that is too far.
const INPUT: usize = 0;
const WINDOW: usize = INPUT + INPUT_BYTES;
const OUT_FIRST: usize = WINDOW + HISTORY;
const OUT_LIMIT: usize = OUT_FIRST + WINDOW_BYTES;
// The table of the loop, and that of distances alone.
const FUSED: usize = OUT_LIMIT + SLACK;
const DISTANCES: usize = FUSED + 8 * ENTRIES;
// Entries of symbols, without the length of the code, which is still to be added to two fields.
const LITERAL_ENTRIES: usize = DISTANCES + (8 << DISTANCE_BITS);
const DISTANCE_ENTRIES: usize = LITERAL_ENTRIES + 8 * 288;
const LITERAL_CODE: usize = DISTANCE_ENTRIES + 8 * 32;
// A canonical code: counts by length, the first 15-bit code (left-aligned) above each length, the first symbol of each
// length, the symbols in order; and the next place for a symbol while it is made.
const AT_COUNT: usize = 0;
const AT_LIMIT: usize = 32;
const AT_FIRST: usize = 96;
const AT_SYMBOLS: usize = 128;
const AT_PLACE: usize = 704;
const CODE_BYTES: usize = 736;
const DISTANCE_CODE: usize = LITERAL_CODE + CODE_BYTES;
const LENGTHS: usize = DISTANCE_CODE + CODE_BYTES;
// By symbol, after its table was filled: the codeword, first bit lowest, where it fits the table.
const CODEWORDS: usize = LENGTHS + 336;
// By codeword of BITS bits: the same from its last bit to its first.
const REVERSED: usize = CODEWORDS + 2 * 288;
// By distance up to 16: which of 16 bytes make the next 16, as i8x16.swizzle takes it.
const PATTERNS: usize = REVERSED + 2 * ENTRIES;
// What the host reads: next input position, begin and end of the new output.
const STATE: usize = PATTERNS + 17 * 16;

// An entry, from the lowest bit:
//   literals  0 bits consumed · 8 one or two bytes · 40 how many
//   match     0 bits consumed · 6 set · 8 mask of the distance's extra bits · 32 bits before those, plus GUARD
//             · 40 length · 48 distance base
//   slow      the same for a length, without its distance · 40 kind · 63 set
const AT_VALUE: u64 = 8;
const AT_SHIFT: u64 = 32;
const AT_PRODUCED: u64 = 40;
const AT_KIND: u64 = 40;
const AT_BASE: u64 = 48;
const IS_MATCH: u32 = 1 << 6;
const SLOW: u64 = 1 << 63;
const ONE_BIT: u64 = 1 | (1 << AT_SHIFT);
const LONG_CODE: u32 = 0;
const END_OF_BLOCK: u32 = 1;
const LENGTH: u32 = 2;
const INVALID: u32 = 3;
// A number of the literal code that no stream may use.
const NO_SYMBOL: u32 = 287;
// The bit buffer stands this much higher in the loop, so that masking it gives the offset of an 8-byte entry.
const GUARD: u32 = 3;

// What the next bits are.
const BLOCK: u32 = 0;
const STORED_HEAD: u32 = 1;
const STORED: u32 = 2;
const DYNAMIC_HEAD: u32 = 3;
const DYNAMIC_LENGTHS: u32 = 4;
const DYNAMIC_CODES: u32 = 5;
const SYMBOLS: u32 = 6;
const END: u32 = 7;
const FAILED: u32 = 8;

let mode: u32 = BLOCK;
let lastBlock: bool = false;
// The position in both windows, and the bits that were read ahead.
let next: usize = 0;
let end: usize = 0;
let out: usize = 0;
let bits: u64 = 0;
let count: u32 = 0;
// First byte that a distance may reach.
let history: usize = 0;
// A length whose distance is still to be read; bytes of a stored block that are still to come.
let pending: u32 = 0;
let stored: u32 = 0;
// Of the dynamic block whose head is being read: numbers of codes, and lengths so far.
let literalCodes: u32 = 0;
let distanceCodes: u32 = 0;
let lengthCodes: u32 = 0;
let have: u32 = 0;
let fixedTables: bool = false;

const CODE_ORDER = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]);

@inline
function used(entry: u64): u32 {
  return <u32>entry & 63;
}

@inline
function kindOf(entry: u64): u32 {
  return <u32>(entry >> AT_KIND) & 3;
}

// Base and extra bits, of a distance or of the length of a slow entry. The bit buffer stands at GUARD.
@inline
function extraOf(entry: u64, buffer: u64): u32 {
  return (<u32>(entry >> AT_BASE) & 0x7fff) + (<u32>(buffer >> (entry >> AT_SHIFT)) & (<u32>entry >> <u32>AT_VALUE));
}

@inline
function copy16(to: usize, from: usize): void {
  v128.store(to, v128.load(from));
}

// The same of an entry that is known not to be slow.
@inline
function distanceOf(entry: u64, buffer: u64): u32 {
  return <u32>(entry >> AT_BASE) + (<u32>(buffer >> (entry >> AT_SHIFT)) & (<u32>entry >> <u32>AT_VALUE));
}

function extraBits(extra: u32, base: u32): u64 {
  return <u64>extra | (((<u64>1 << extra) - 1) << AT_VALUE) | (<u64>GUARD << AT_SHIFT) | (<u64>base << AT_BASE);
}

// RFC 1951, 3.2.5.
function makeEntries(): void {
  for (let symbol: u32 = 0; symbol < 256; symbol++) {
    store<u64>(LITERAL_ENTRIES + (symbol << 3), (<u64>symbol << AT_VALUE) | (<u64>1 << AT_PRODUCED));
  }
  store<u64>(LITERAL_ENTRIES + 8 * 256, SLOW | (<u64>END_OF_BLOCK << AT_KIND));
  for (let i: u32 = 0; i < 29; i++) {
    const extra: u32 = i < 8 || i == 28 ? 0 : (i >> 2) - 1;
    const base: u32 = i == 28 ? 258 : i < 8 ? 3 + i : 3 + ((4 + (i & 3)) << extra);
    store<u64>(LITERAL_ENTRIES + ((257 + i) << 3), SLOW | (<u64>LENGTH << AT_KIND) | extraBits(extra, base));
  }
  for (let i: u32 = 0; i < 30; i++) {
    const extra: u32 = i < 4 ? 0 : (i >> 1) - 1;
    const base: u32 = i < 4 ? 1 + i : 1 + ((2 + (i & 1)) << extra);
    store<u64>(DISTANCE_ENTRIES + (i << 3), <u64>IS_MATCH | extraBits(extra, base));
  }
  store<u16>(REVERSED, 0);
  for (let codeword: u32 = 1; codeword < ENTRIES; codeword++) {
    const half: u32 = load<u16>(REVERSED + ((codeword >> 1) << 1));
    store<u16>(REVERSED + (codeword << 1), <u16>((half >> 1) | ((codeword & 1) << (BITS - 1))));
  }
  for (let distance: u32 = 1; distance <= 16; distance++) {
    for (let i: u32 = 0; i < 16; i++) store<u8>(PATTERNS + (distance << 4) + i, <u8>(i % distance));
  }
  const invalid = SLOW | (<u64>INVALID << AT_KIND);
  store<u64>(LITERAL_ENTRIES + 8 * 286, invalid);
  store<u64>(LITERAL_ENTRIES + 8 * NO_SYMBOL, invalid);
  store<u64>(DISTANCE_ENTRIES + 8 * 30, invalid);
  store<u64>(DISTANCE_ENTRIES + 8 * 31, invalid);
}

// Counts lengths and orders symbols by code. Answers -1 for an over-subscribed code, else the unused code space.
function orderCode(code: usize, lengths: usize, n: u32): i32 {
  memory.fill(code, 0, 32);
  for (let i: u32 = 0; i < n; i++) {
    const at = code + (<usize>load<u8>(lengths + i) << 1);
    store<u16>(at, load<u16>(at) + 1);
  }
  store<u16>(code, 0);
  let left: i32 = 1;
  let word: u32 = 0;
  let symbol: u32 = 0;
  for (let len: u32 = 1; len <= 15; len++) {
    const coded: u32 = load<u16>(code + (len << 1));
    left = (left << 1) - <i32>coded;
    if (left < 0) return -1;
    store<u16>(code + (len << 1), <u16>symbol, AT_PLACE);
    store<u16>(code + (len << 1), <u16>symbol, AT_FIRST);
    symbol += coded;
    word = (word + load<u16>(code + ((len - 1) << 1))) << 1;
    store<u32>(code + (len << 2), (word + coded) << (15 - len), AT_LIMIT);
  }
  for (let i: u32 = 0; i < n; i++) {
    const len: usize = load<u8>(lengths + i);
    if (len == 0) continue;
    const place: u32 = load<u16>(code + (len << 1), AT_PLACE);
    store<u16>(code + (place << 1), <u16>i, AT_SYMBOLS);
    store<u16>(code + (len << 1), <u16>(place + 1), AT_PLACE);
  }
  return left;
}

// A codeword of up to BITS bits, its first bit lowest.
@inline
function reversedOf(codeword: u32, len: u32): u32 {
  return load<u16>(REVERSED + (<usize>codeword << (BITS - len) << 1));
}

// Fills a table so that the lowest bits of the stream find their symbol. Codewords come in order and the table grows by
// doubling, so every entry is written about once, most of them in long runs.
function fillTable(table: usize, bits: u32, code: usize, entries: usize): void {
  let codeword: u32 = 0;
  let size: u32 = 1;
  let symbol: usize = code + AT_SYMBOLS;
  store<u64>(table, SLOW | (<u64>LONG_CODE << AT_KIND) | 15);
  for (let len: u32 = 1; len <= bits; len++) {
    memory.copy(table + (size << 3), table, size << 3);
    size <<= 1;
    const length = <u64>len * ONE_BIT;
    for (let n: u32 = load<u16>(code + (len << 1)); n > 0; n--) {
      const value: usize = load<u16>(symbol);
      symbol += 2;
      const reversed = reversedOf(codeword++, len);
      store<u64>(table + (reversed << 3), load<u64>(entries + (value << 3)) + length);
      store<u16>(CODEWORDS + (value << 1), <u16>reversed);
    }
    codeword <<= 1;
  }
}

// The unused half of a code with a single symbol, or all of one without any: zlib fails when such a code is read.
function fillUnused(table: usize, bits: u32): void {
  for (let at = table; at < table + (8 << bits); at += 8) {
    const entry = load<u64>(at);
    if (<i64>entry < 0 && kindOf(entry) == LONG_CODE) store<u64>(at, SLOW | (<u64>INVALID << AT_KIND) | 1);
  }
}

// Whether two literals fit into one entry often enough to pay for finding them, as in data without matches.
function pairsPay(literals: u32): bool {
  const byLength = LITERAL_CODE + AT_PLACE;
  v128.store(byLength, v128.load(LITERAL_CODE));
  v128.store(byLength, v128.load(LITERAL_CODE, 16), 16);
  for (let at = LENGTHS + 256; at < LENGTHS + literals; at++) {
    const place = byLength + (<usize>load<u8>(at) << 1);
    store<u16>(place, load<u16>(place) - 1);
  }
  let within: u32 = 0;
  let paired: u32 = 0;
  for (let len: u32 = BITS - 1; len >= 1; len--) {
    // `within` becomes the share of literals that fit after one of this length, in 1 / ENTRIES.
    within += <u32>load<u16>(byLength + ((BITS - len) << 1)) << len;
    paired += (<u32>load<u16>(byLength + (len << 1)) * within) >> len;
  }
  return paired >= ENTRIES / 16;
}

// Joins what fits into BITS bits together in the table of single symbols: two literals, or length and distance.
function fuseTables(literals: u32): void {
  if (pairsPay(literals)) fuseLiterals();
  fuseLengths(literals);
}

// Branch-free over the whole table: symbols of unlike lengths cost more to tell apart. From its end, since what follows a
// symbol stands below it and must be a single one still.
function fuseLiterals(): void {
  for (let x: isize = INDEX; x >= 0; x--) {
    const first = load<u64>(FUSED + (x << 3));
    const second = load<u64>(FUSED + ((x >> used(first)) << 3));
    const both = first + (second & 63) + ((second & 0xff00) << 8) + (<u64>1 << AT_PRODUCED);
    const fits = i32(<i64>(first | second) >= 0) & i32(used(both) <= BITS);
    store<u64>(FUSED + (x << 3), select<u64>(both, first, fits));
  }
}

// Lengths up to 16: those have one extra bit at most, which becomes a part of the codeword.
function fuseLengths(literals: u32): void {
  const last = min<u32>(257 + 11, literals);
  for (let value: u32 = 257; value < last; value++) {
    const len: u32 = load<u8>(LENGTHS + value);
    if (len == 0) continue;
    const codeword: u32 = load<u16>(CODEWORDS + (value << 1));
    const single = load<u64>(LITERAL_ENTRIES + (value << 3));
    const base = <u32>(single >> AT_BASE) & 0x7fff;
    if (used(single) == 0) {
      fuseLength(base, codeword, len);
    } else {
      fuseLength(base, codeword, len + 1);
      fuseLength(base + 1, codeword | (1 << len), len + 1);
    }
  }
}

// Joins a length of `bits` bits to each distance that fits: its sixteen bits of shift are at most what is left, and its
// sixteen bits of base (negative in a slow entry) not below the length, which would mean an overlap.
function fuseLength(length: u32, codeword: u32, bits: u32): void {
  if (bits >= BITS) return;
  const room = BITS - bits;
  const single = i64x2.splat(load<u64>(FUSED + (codeword << 3)));
  const head = i64x2.splat((<u64>bits * ONE_BIT) + (<u64>length << AT_PRODUCED));
  const least = i64x2.splat((<u64>length << AT_BASE) | 0x800080008000);
  const most = i64x2.splat(0x7fff00007fff7fff | (<u64>(room + GUARD) << AT_SHIFT));
  const stride: usize = 8 << bits;
  let at = FUSED + (codeword << 3);
  const stop = FUSED + 8 * ENTRIES;
  // Above DISTANCE_BITS the distances repeat.
  for (let offset: usize = 0; at < stop; offset = (offset + 16) & (8 * DISTANCE_INDEX)) {
    const distances = v128.load(DISTANCES + offset);
    const fits = i64x2.eq(v128.and(i16x8.ge_s(distances, least), i16x8.le_s(distances, most)), i64x2.splat(-1));
    const both = v128.bitselect(i64x2.add(distances, head), single, fits);
    store<u64>(at, i64x2.extract_lane(both, 0));
    store<u64>(at + stride, i64x2.extract_lane(both, 1));
    at += stride << 1;
  }
}

function codedSymbols(code: usize): u32 {
  return <u32>load<u16>(code + 30, AT_FIRST) + load<u16>(code + 30);
}

// Whether zlib takes a code with so much unused space: only one that has no more than a single symbol of one bit.
function spaceHolds(code: usize, left: i32, least: u32): bool {
  if (left <= 0) return left == 0;
  const coded = codedSymbols(code);
  return coded == 0 ? least == 0 : coded == 1 && load<u16>(code + 2) == 1;
}

function buildTables(literals: u32, distances: u32): bool {
  const left = orderCode(LITERAL_CODE, LENGTHS, literals);
  if (!spaceHolds(LITERAL_CODE, left, 1)) return false;
  const spare = orderCode(DISTANCE_CODE, LENGTHS + literals, distances);
  if (!spaceHolds(DISTANCE_CODE, spare, 0)) return false;
  fillTable(DISTANCES, DISTANCE_BITS, DISTANCE_CODE, DISTANCE_ENTRIES);
  if (spare > 0) fillUnused(DISTANCES, DISTANCE_BITS);
  fillTable(FUSED, BITS, LITERAL_CODE, LITERAL_ENTRIES);
  if (left > 0) fillUnused(FUSED, BITS);
  fuseTables(literals);
  return true;
}

// RFC 1951, 3.2.6. Streams of many small blocks use the same tables again.
function buildFixed(): void {
  if (fixedTables) return;
  memory.fill(LENGTHS, 8, 144);
  memory.fill(LENGTHS + 144, 9, 112);
  memory.fill(LENGTHS + 256, 7, 24);
  memory.fill(LENGTHS + 280, 8, 8);
  memory.fill(LENGTHS + 288, 5, 32);
  buildTables(288, 32);
  fixedTables = true;
}

// Reads a code of more bits than its table has, from at least 15 bits. Answers symbol << 4 | length. In a code with a
// single symbol, of literals and without its table, the other bit is a symbol that is none.
function longCode(code: usize, tableBits: u32, buffer: u64): u32 {
  let word = <u32>buffer;
  word = ((word >> 1) & 0x55555555) | ((word & 0x55555555) << 1);
  word = ((word >> 2) & 0x33333333) | ((word & 0x33333333) << 2);
  word = ((word >> 4) & 0x0f0f0f0f) | ((word & 0x0f0f0f0f) << 4);
  word = bswap<u32>(word) >> 17;
  let len = tableBits + 1;
  while (len < 15 && word >= load<u32>(code + (len << 2), AT_LIMIT)) len++;
  if (word >= load<u32>(code + (len << 2), AT_LIMIT)) return (NO_SYMBOL << 4) | 1;
  const above = (load<u32>(code + (len << 2), AT_LIMIT) - word - 1) >> (15 - len);
  const last = <u32>load<u16>(code + (len << 1), AT_FIRST) + load<u16>(code + (len << 1)) - 1;
  return (<u32>load<u16>(code + ((last - above) << 1), AT_SYMBOLS) << 4) | len;
}

function entryOf(entries: usize, found: u32): u64 {
  return load<u64>(entries + ((found >> 4) << 3)) + <u64>(found & 15) * ONE_BIT;
}

// Copies a match of any length and distance; may write up to 63 bytes more.
@inline
function copyMatch(to: usize, length: u32, distance: u32): usize {
  const stop = to + length;
  const from = to - distance;
  // What a short distance repeats is one vector.
  const row = PATTERNS + (<usize>min<u32>(distance, 16) << 4);
  const first = i8x16.swizzle(v128.load(from), v128.load(row));
  v128.store(to, first);
  if (distance >= min<u32>(length, 16)) {
    copy16(to + 16, from + 16);
    copy16(to + 32, from + 32);
    copy16(to + 48, from + 48);
    for (let at = to + 64; at < stop; at += 32) {
      copy16(at, at - distance);
      copy16(at + 16, at + 16 - distance);
    }
  } else {
    const step: usize = 16 - (<usize>16 % distance);
    for (let at = to + step; at < stop; at += step) v128.store(at, first);
  }
  return stop;
}

// Decodes symbols while the input is below `fast` and there is room for output. The state is in local variables here.
// Answers the mode that follows.
function decodeSymbols(fast: usize): u32 {
  const lowest = history;
  let from = next;
  let to = out;
  let buffer = bits << GUARD;
  let filled = count + GUARD;
  let after = SYMBOLS;
  buffer |= load<u64>(from) << filled;
  from += (63 ^ filled) >> 3;
  filled |= 56;
  do {
    // The first look-up does not wait for the refill: of 64 bits, GUARD and two times 24 can be gone.
    let at: usize = <u32>buffer & (INDEX << GUARD);
    let entry = load<u64>(at, FUSED);
    buffer |= load<u64>(from) << filled;
    from += (63 ^ filled) >> 3;
    filled |= 56;
    if (<i64>entry >= 0) {
      // A literal's source is the entry itself. Both sources are there before one is selected: a branch would cost more.
      let source = select<usize>(to - distanceOf(entry, buffer), at + FUSED + 1, <u32>entry & IS_MATCH);
      if (source < lowest) {
        after = FAILED;
        break;
      }
      copy16(to, source);
      let taken = used(entry);
      buffer >>= entry;
      filled -= taken;
      to += <u32>(entry >> AT_PRODUCED) & 31;
      at = <u32>buffer & (INDEX << GUARD);
      entry = load<u64>(at, FUSED);
      if (<i64>entry >= 0) {
        source = select<usize>(to - distanceOf(entry, buffer), at + FUSED + 1, <u32>entry & IS_MATCH);
        if (source < lowest) {
          after = FAILED;
          break;
        }
        copy16(to, source);
        taken = used(entry);
        buffer >>= entry;
        filled -= taken;
        to += <u32>(entry >> AT_PRODUCED) & 31;
        continue;
      }
    }
    buffer |= load<u64>(from) << filled;
    from += (63 ^ filled) >> 3;
    filled |= 56;
    let kind = kindOf(entry);
    if (kind == LONG_CODE) {
      entry = entryOf(LITERAL_ENTRIES, longCode(LITERAL_CODE, BITS, buffer >> GUARD));
      if (<i64>entry >= 0) {
        store<u8>(to++, <u8>(entry >> AT_VALUE));
        buffer >>= entry;
        filled -= used(entry);
        continue;
      }
      kind = kindOf(entry);
    }
    if (kind != LENGTH) {
      if (kind == INVALID) {
        after = FAILED;
        break;
      }
      buffer >>= entry;
      filled -= used(entry);
      after = BLOCK;
      break;
    }
    const length = extraOf(entry, buffer);
    buffer >>= entry;
    filled -= used(entry);
    entry = load<u64>(<usize>(<u32>buffer & (DISTANCE_INDEX << GUARD)), DISTANCES);
    if (<i64>entry < 0) {
      if (kindOf(entry) == INVALID) {
        after = FAILED;
        break;
      }
      entry = entryOf(DISTANCE_ENTRIES, longCode(DISTANCE_CODE, DISTANCE_BITS, buffer >> GUARD));
      if (<i64>entry < 0) {
        after = FAILED;
        break;
      }
    }
    const distance = extraOf(entry, buffer);
    buffer >>= entry;
    filled -= used(entry);
    if (distance > <u32>(to - lowest)) {
      after = FAILED;
      break;
    }
    to = copyMatch(to, length, distance);
  } while (from < fast && to < OUT_LIMIT);
  next = from;
  out = to;
  count = filled - GUARD;
  bits = (buffer >> GUARD) & ((<u64>1 << count) - 1);
  return after;
}

// Whether so many bits are there, after reading bytes as far as there are any. At most 56 are held.
function need(n: u32): bool {
  while (count < n) {
    if (next == end) return false;
    bits |= <u64>load<u8>(next++) << count;
    count += 8;
  }
  return true;
}

// Reads as many whole bytes ahead as can be held, at once where there are eight.
function refill(): void {
  if (end - next < 8) {
    need(49);
    return;
  }
  const taken = (56 - count) >> 3;
  bits |= load<u64>(next) << count;
  next += taken;
  count += taken << 3;
  bits &= (<u64>1 << count) - 1;
}

@inline
function drop(n: u32): void {
  bits >>= n;
  count -= n;
}

// One symbol near the end of the input, taken only when all of its bits are there. Answers false when they are not.
function decodeCarefully(): bool {
  need(49);
  if (pending == 0) {
    // The table may hold two symbols where the input has only one.
    const entry = entryOf(LITERAL_ENTRIES, longCode(LITERAL_CODE, 0, bits));
    if (used(entry) > count) return false;
    if (<i64>entry >= 0) {
      store<u8>(out++, <u8>(entry >> AT_VALUE));
      drop(used(entry));
      return true;
    }
    if (kindOf(entry) == LENGTH) pending = extraOf(entry, bits << GUARD);
    else mode = kindOf(entry) == END_OF_BLOCK ? BLOCK : FAILED;
    drop(used(entry));
    if (pending == 0) return true;
  }
  let entry = load<u64>(DISTANCES + ((<u32>bits & DISTANCE_INDEX) << 3));
  if (<i64>entry < 0 && kindOf(entry) == LONG_CODE) {
    const found = longCode(DISTANCE_CODE, DISTANCE_BITS, bits);
    if ((found & 15) > count) return false;
    entry = entryOf(DISTANCE_ENTRIES, found);
  }
  if (used(entry) > count) return false;
  const distance = extraOf(entry, bits << GUARD);
  drop(used(entry));
  if (<i64>entry < 0 || distance > <u32>(out - history)) {
    mode = FAILED;
    return true;
  }
  out = copyMatch(out, pending, distance);
  pending = 0;
  return true;
}

function readBlockHead(): bool {
  if (lastBlock) {
    mode = END;
    return true;
  }
  if (!need(3)) return false;
  lastBlock = (bits & 1) != 0;
  const type = (<u32>bits >> 1) & 3;
  drop(3);
  if (type == 0) {
    drop(count & 7);
    mode = STORED_HEAD;
  } else if (type == 1) {
    buildFixed();
    mode = SYMBOLS;
  } else {
    mode = type == 2 ? DYNAMIC_HEAD : FAILED;
  }
  return true;
}

function readStoredHead(): bool {
  if (!need(32)) return false;
  stored = <u32>bits & 0xffff;
  mode = (stored ^ 0xffff) == (<u32>(bits >> 16) & 0xffff) ? STORED : FAILED;
  drop(32);
  return true;
}

function copyStored(): bool {
  while (count > 0 && stored > 0) {
    store<u8>(out++, <u8>bits);
    drop(8);
    stored--;
  }
  const room: u32 = out < OUT_LIMIT ? <u32>(OUT_LIMIT - out) : 0;
  const n = min<u32>(min<u32>(stored, <u32>(end - next)), room);
  memory.copy(out, next, n);
  next += n;
  out += n;
  stored -= n;
  if (stored > 0) return false;
  mode = BLOCK;
  return true;
}

function readDynamicHead(): bool {
  if (!need(14)) return false;
  literalCodes = (<u32>bits & 31) + 257;
  distanceCodes = (<u32>(bits >> 5) & 31) + 1;
  lengthCodes = (<u32>(bits >> 10) & 15) + 4;
  drop(14);
  fixedTables = false;
  have = 0;
  memory.fill(LENGTHS, 0, 19);
  mode = literalCodes > 286 || distanceCodes > 30 ? FAILED : DYNAMIC_LENGTHS;
  return true;
}

// The code of the code lengths. Its table, (symbol | length << 8) by 7 bits, stands where the distances will be.
function readLengthCode(): bool {
  while (have < lengthCodes) {
    if (!need(3)) return false;
    store<u8>(LENGTHS + load<u8>(CODE_ORDER + have++), <u8>bits & 7);
    drop(3);
  }
  have = 0;
  mode = FAILED;
  if (orderCode(LITERAL_CODE, LENGTHS, 19) != 0) return true;
  mode = DYNAMIC_CODES;
  let codeword: u32 = 0;
  let symbol: usize = LITERAL_CODE + AT_SYMBOLS;
  for (let len: u32 = 1; len <= 7; len++) {
    for (let n: u32 = load<u16>(LITERAL_CODE + (len << 1)); n > 0; n--) {
      const entry = <u16>(<u32>load<u16>(symbol) | (len << 8));
      symbol += 2;
      for (let at = reversedOf(codeword++, len); at < 128; at += 1 << len) store<u16>(DISTANCES + (at << 1), entry);
    }
    codeword <<= 1;
  }
  return true;
}

function readLengths(): bool {
  const total = literalCodes + distanceCodes;
  while (have < total) {
    // A symbol and its extra bits have 14 bits at most; near the end of the input there may be fewer.
    if (count < 14) refill();
    const entry: u32 = load<u16>(DISTANCES + ((<u32>bits & 127) << 1));
    const symbol = entry & 0xff;
    const len = entry >> 8;
    const extra: u32 = symbol < 16 ? 0 : symbol == 18 ? 7 : symbol - 14;
    if (len + extra > count) return false;
    drop(len);
    if (symbol < 16) {
      store<u8>(LENGTHS + have++, <u8>symbol);
      continue;
    }
    const times = (<u32>bits & ((1 << extra) - 1)) + (symbol == 18 ? 11 : 3);
    drop(extra);
    if (have + times > total || (symbol == 16 && have == 0)) {
      mode = FAILED;
      return true;
    }
    memory.fill(LENGTHS + have, symbol == 16 ? load<u8>(LENGTHS + have - 1) : 0, times);
    have += times;
  }
  mode = load<u8>(LENGTHS + 256) != 0 && buildTables(literalCodes, distanceCodes) ? SYMBOLS : FAILED;
  return true;
}

// Makes one step. Answers false when it needs more input or more room.
function step(): bool {
  switch (mode) {
    case BLOCK:
      return readBlockHead();
    case STORED_HEAD:
      return readStoredHead();
    case STORED:
      return copyStored();
    case DYNAMIC_HEAD:
      return readDynamicHead();
    case DYNAMIC_LENGTHS:
      return readLengthCode();
    case DYNAMIC_CODES:
      return readLengths();
    case SYMBOLS:
      if (out >= OUT_LIMIT) return false;
      if (pending != 0 || next + AHEAD >= end) return decodeCarefully();
      mode = decodeSymbols(end - AHEAD);
      return true;
    default:
      return false;
  }
}

// Keeps the last 32 KB in front of what follows.
function slide(): void {
  const by = out - HISTORY - WINDOW;
  memory.copy(WINDOW, out - HISTORY, HISTORY);
  out = OUT_FIRST;
  history = max<usize>(history, WINDOW + by) - by;
}

/** Address of the input window. */
export function input(): usize {
  return INPUT;
}

/** Size of the input window in bytes. */
export function input_size(): u32 {
  return INPUT_BYTES;
}

/** Address of three 32-bit numbers: next input position, begin and end of the new output. */
export function state(): usize {
  return STATE;
}

/** Forgets the stream and all history. */
export function reset(): void {
  if (load<u64>(LITERAL_ENTRIES) == 0) makeEntries();
  mode = BLOCK;
  lastBlock = false;
  bits = 0;
  count = 0;
  pending = 0;
  out = OUT_FIRST;
  history = OUT_FIRST;
}

/** Decodes up to `length` bytes from position `from` of the input window, until one of the windows is through. */
export function inflate(from: u32, length: u32): u32 {
  next = INPUT + from;
  end = next + length;
  if (out >= OUT_LIMIT) slide();
  store<u32>(STATE, <u32>out, 4);
  while (step());
  if (mode == END) {
    // Whole bytes that were read ahead belong to whatever follows.
    next -= count >> 3;
    bits = 0;
    count = 0;
  }
  store<u32>(STATE, <u32>(next - INPUT));
  store<u32>(STATE, <u32>out, 8);
  if (mode == END) return DONE;
  if (mode == FAILED) return MALFORMED;
  return out >= OUT_LIMIT ? OUTPUT_FULL : NEED_INPUT;
}
