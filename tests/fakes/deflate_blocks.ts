/**
 * DEFLATE blocks that no encoder makes, written bit by bit (RFC 1951): valid ones in corners, and malformed ones.
 *
 * @module
 */

/** Writes bits, least significant first; prefix codes go most significant first. */
class BitWriter {
  readonly #bits: number[] = [];

  /** Appends a number. */
  number(value: number, bits: number): this {
    for (let bit = 0; bit < bits; bit++) this.#bits.push((value >> bit) & 1);
    return this;
  }

  /** Appends a prefix code written as zeros and ones. */
  code(code: string): this {
    for (const bit of code) this.#bits.push(Number(bit));
    return this;
  }

  /** Goes to a byte boundary and appends bytes. */
  bytes(...bytes: readonly number[]): this {
    while (this.#bits.length % 8 !== 0) this.#bits.push(0);
    for (const byte of bytes) this.number(byte, 8);
    return this;
  }

  done(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(Math.ceil(this.#bits.length / 8));
    for (const [at, bit] of this.#bits.entries()) bytes[at >> 3] = (bytes[at >> 3] ?? 0) | (bit << (at & 7));
    return bytes;
  }
}

const STORED = 0;
const FIXED = 1;
const DYNAMIC = 2;

function block(type: number, final = true): BitWriter {
  return begin(new BitWriter(), type, final);
}

function begin(writer: BitWriter, type: number, final: boolean): BitWriter {
  return writer.number(final ? 1 : 0, 1).number(type, 2);
}

/** A fixed code's bits for a symbol (RFC 1951, 3.2.6). */
function fixed(symbol: number): string {
  if (symbol < 144) return (0x30 + symbol).toString(2).padStart(8, "0");
  if (symbol < 256) return (0x190 + symbol - 144).toString(2);
  if (symbol < 280) return (symbol - 256).toString(2).padStart(7, "0");
  return (0xc0 + symbol - 280).toString(2);
}

function fixedDistance(symbol: number): string {
  return symbol.toString(2).padStart(5, "0");
}

const END = 256;
const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** What stands in the header of a dynamic block. */
interface DynamicHeader {
  /** Numbers of codes as they are written, when they are not those of `lengths`. */
  readonly literals?: number;
  readonly distances?: number;
  /** Bits of the code length code's codes, by symbol; by default all have 5 bits, with 0 to 12 having 4. */
  readonly lengthCode?: Readonly<Record<number, number>>;
  /** Code lengths, or the symbols 16 to 18 with their extra bits. */
  readonly lengths: readonly (number | readonly [symbol: number, extra: number])[];
}

const EXTRA_BITS: Readonly<Record<number, number>> = { 16: 2, 17: 3, 18: 7 };

/** Sixteen and three symbols: 13 codes of 4 bits and 6 of 5 bits are complete. */
const EVERY_LENGTH: Readonly<Record<number, number>> = Object.fromEntries(
  Array.from({ length: 19 }, (_, symbol) => [symbol, symbol < 13 ? 4 : 5]),
);

function dynamic(header: DynamicHeader): BitWriter {
  const { literals = 257, distances = 1, lengthCode = EVERY_LENGTH, lengths } = header;
  const writer = block(DYNAMIC).number(literals - 257, 5).number(distances - 1, 5).number(19 - 4, 4);
  for (const symbol of LENGTH_ORDER) writer.number(lengthCode[symbol] ?? 0, 3);
  const codes = canonical(lengthCode);
  for (const one of lengths) {
    const [symbol, extra] = typeof one === "number" ? [one, 0] : one;
    writer.code(codes[symbol] ?? "").number(extra, EXTRA_BITS[symbol] ?? 0);
  }
  return writer;
}

/** Canonical codes (RFC 1951, 3.2.2) by symbol. */
function canonical(lengths: Readonly<Record<number, number>>): Readonly<Record<number, string>> {
  const codes: Record<number, string> = {};
  let next = 0;
  for (let bits = 1; bits <= 15; bits++) {
    for (const [symbol, length] of Object.entries(lengths)) {
      if (length === bits) codes[Number(symbol)] = (next++).toString(2).padStart(bits, "0");
    }
    next <<= 1;
  }
  return codes;
}

/** `count` zeros as repetitions (symbol 18 and 17) and single lengths. */
function zeros(count: number): readonly (number | readonly [number, number])[] {
  const many = Math.floor(count / 138);
  return [...Array.from({ length: many }, () => [18, 127] as const), ...Array.from({ length: count % 138 }, () => 0)];
}

/** A literal 'a', matches of every kind that its distance code allows, and the end, in the codes a=0, 257=10, 256=11. */
const ONE_DISTANCE = { literals: 258, lengths: [...zeros(97), 1, ...zeros(158), 2, 2] } as const;

/** Valid streams. */
export const ODD_BLOCKS: readonly (readonly [string, Uint8Array<ArrayBuffer>])[] = [
  ["an empty stored block", block(STORED).bytes(0, 0, 0xff, 0xff).done()],
  ["an empty fixed block", block(FIXED).code(fixed(END)).done()],
  ["a dynamic block of one code", dynamic({ lengths: [...zeros(256), 1, 0] }).code("0").done()],
  ["no distance code", dynamic({ lengths: [...zeros(97), 1, ...zeros(158), 1, 0] }).code("0001").done()],
  [
    "one distance code",
    dynamic({ ...ONE_DISTANCE, lengths: [...ONE_DISTANCE.lengths, 1] }).code("0" + "110" + "10").done(),
  ],
  [
    "a repetition from the literal into the distance lengths",
    dynamic({ distances: 4, lengths: [...zeros(97), 1, ...zeros(157), 2, [16, 2]] }).code("011").done(),
  ],
  [
    "blocks of all kinds, none on a byte boundary",
    begin(
      begin(block(FIXED, false).code(fixed(97)).code(fixed(END)), STORED, false).bytes(1, 0, 0xfe, 0xff, 98),
      FIXED,
      true,
    ).code(fixed(257) + fixedDistance(1) + fixed(END)).done(),
  ],
  ["the fixed code's longest match", block(FIXED).code(fixed(120) + fixed(285) + fixedDistance(0) + fixed(END)).done()],
];

/** Malformed streams, each followed by enough bytes that its fault can be seen. */
export const MALFORMED_BLOCKS: readonly (readonly [string, Uint8Array<ArrayBuffer>])[] = ([
  ["the reserved block type", block(3)],
  ["stored lengths that differ", block(STORED).bytes(1, 0, 0xff, 0xff, 65)],
  ["the reserved length 286", block(FIXED).code(fixed(97) + fixed(286) + fixedDistance(0) + fixed(END))],
  ["the reserved length 287", block(FIXED).code(fixed(97) + fixed(287) + fixedDistance(0) + fixed(END))],
  ["the reserved distance 30", block(FIXED).code(fixed(97) + fixed(257) + fixedDistance(30) + fixed(END))],
  ["the reserved distance 31", block(FIXED).code(fixed(97) + fixed(257) + fixedDistance(31) + fixed(END))],
  ["a distance to before the beginning", block(FIXED).code(fixed(97) + fixed(257) + fixedDistance(1) + fixed(END))],
  ["a match with no distance code", dynamic({ ...ONE_DISTANCE, lengths: [...ONE_DISTANCE.lengths, 0] }).code("0110")],
  [
    "the unused half of a distance code",
    dynamic({ ...ONE_DISTANCE, lengths: [...ONE_DISTANCE.lengths, 1] }).code("0111"),
  ],
  ["the unused half of a code of one symbol", dynamic({ lengths: [...zeros(256), 1, 0] }).code("1")],
  ["287 literal codes", dynamic({ literals: 287, lengths: [...zeros(256), 1, ...zeros(30), 0] }).code("0")],
  ["31 distance codes", dynamic({ distances: 31, lengths: [...zeros(256), 1, ...zeros(31)] }).code("0")],
  ["no end-of-block code", dynamic({ lengths: [1, 1, ...zeros(254), 0, 0] }).code("01")],
  ["an over-subscribed literal code", dynamic({ lengths: [1, 1, ...zeros(254), 1, 0] }).code("1")],
  ["an incomplete literal code", dynamic({ lengths: [2, ...zeros(255), 2, 0] }).code("01")],
  ["an over-subscribed distance code", dynamic({ distances: 3, lengths: [...zeros(256), 1, 1, 1, 1] }).code("0")],
  ["an incomplete distance code", dynamic({ distances: 2, lengths: [...zeros(256), 1, 2, 2] }).code("0")],
  ["an incomplete code length code", dynamic({ lengthCode: { 0: 2, 1: 2 }, lengths: [...zeros(256), 1, 0] })],
  ["an over-subscribed code length code", dynamic({ lengthCode: { 0: 1, 1: 1, 2: 1 }, lengths: [0, 1] })],
  ["no code length code", dynamic({ lengthCode: {}, lengths: [] })],
  ["a repetition of nothing", dynamic({ lengths: [[16, 0], ...zeros(253), 1, 0] }).code("0")],
  ["a repetition past the end", dynamic({ lengths: [...zeros(256), 1, [18, 0]] }).code("0")],
] as const).map(([name, writer]) => [name, writer.bytes(...new Array(300).fill(0)).done()] as const);

/** Streams of many blocks: how many bytes they take is little, what they cost a decoder may be much. */
export const TINY_BLOCK_KINDS: readonly (readonly [string, (count: number) => Uint8Array<ArrayBuffer>])[] = [
  ["empty", (count) => repeated(count, (writer, final) => begin(writer, FIXED, final).code(fixed(END)))],
  [
    "one literal",
    (count) => repeated(count, (writer, final) => begin(writer, FIXED, final).code(fixed(97) + fixed(END))),
  ],
  [
    "stored and empty",
    (count) => repeated(count, (writer, final) => begin(writer, STORED, final).bytes(0, 0, 0xff, 0xff)),
  ],
];

function repeated(count: number, add: (writer: BitWriter, final: boolean) => void): Uint8Array<ArrayBuffer> {
  const writer = new BitWriter();
  for (let at = 1; at <= count; at++) add(writer, at === count);
  return writer.done();
}
