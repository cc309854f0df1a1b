// Inflate (RFC 1951) for one WebAssembly instance: resumable at any input byte, fixed memory, as strict as zlib.
//
// One table of 2048 entries answers most of what follows in the stream with a single load: one or two literals, a
// whole match (length and distance code together), or a length whose distance comes from the second table. Literals
// and matches then run through the same instructions: a copy of 16 bytes from wherever the entry says. What does not
// fit (end of block, codes of more than 11 bits, lengths above 16, overlapping matches) leaves the loop.

#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define INLINE static inline __attribute__((always_inline))
#define EXPORT(name) __attribute__((export_name(name))) 
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

// Answers of inflate_run.
enum { NEED_INPUT = 0, OUTPUT_FULL = 1, DONE = 2, MALFORMED = 3 };

enum { BITS = 11, ENTRIES = 1 << BITS, INDEX = ENTRIES - 1 };
enum { HISTORY = 32768, INPUT = 1 << 18, WINDOW = 1 << 18, SLACK = 512 };
// Input bytes that the loop may read ahead of the one it is at.
enum { AHEAD = 24 };

// An entry, from the lowest bit:
//   literals  0 bits consumed · 8 one or two bytes · 40 how many
//   match     0 bits consumed · 6 set · 8 mask of the distance's extra bits · 32 bits before those, plus GUARD
//             · 40 length · 48 distance base
//   slow      the same for a length, without its distance · 40 kind · 63 set
enum { AT_VALUE = 8, AT_SHIFT = 32, AT_PRODUCED = 40, AT_BASE = 48, IS_MATCH = 1 << 6 };
enum { AT_KIND = 40, LONG_CODE = 0, END_OF_BLOCK = 1, LENGTH = 2, INVALID = 3 };
// Matches up to this length are copied by the loop.
enum { COPIED = 16 };
// In the loop the bit buffer stands this much higher, so that masking it gives the offset of an 8-byte entry.
enum { GUARD = 3 };
#define SLOW (1ULL << 63)

// What the next bits are.
enum { BLOCK, STORED_HEAD, STORED, DYNAMIC_HEAD, DYNAMIC_LENGTHS, DYNAMIC_CODES, SYMBOLS, END, FAILED };

// A canonical code: what is needed to read codes of more than BITS bits.
typedef struct {
  u16 count[16];
  u32 limit[17];  // first 15-bit code (left-aligned) above those of this length
  u16 first[16];  // index of the first symbol of this length
  u16 symbols[288];
} Code;

static struct {
  u8 input[INPUT];
  // History, new output, and room for copies that write more than they should.
  u8 window[HISTORY + WINDOW + SLACK];
  // The table of the loop, and what it is made of: one symbol per entry. It stands above the window, so that one
  // comparison of a source address finds the distance that is too far.
  u64 fused[ENTRIES], literals[ENTRIES], distances[ENTRIES];
} memory __attribute__((aligned(64)));
#define input memory.input
#define window memory.window
#define fused memory.fused
#define literals memory.literals
#define distances memory.distances
static Code literal_code, distance_code;
static u8 lengths[320 + 16];

static struct {
  // The face to the host: position in the input, and the new output.
  u32 next_in, out_start, out_end;
  u64 bits;
  u32 bit_count;
  u32 mode, last_block, pending;
  u32 history;  // start of the bytes that a distance may reach
  u32 stored;
  u32 litlens, dists, codes, have;
  u32 fixed_ready;
} state;

static const u8 CODE_ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
static const u16 LENGTH_BASE[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                    31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const u8 LENGTH_EXTRA[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const u16 DISTANCE_BASE[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                      193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

INLINE u64 load64(const u8* at) {
  u64 value;
  __builtin_memcpy(&value, at, 8);
  return value;
}

INLINE void copy16(u8* to, const u8* from) { wasm_v128_store(to, wasm_v128_load(from)); }

// Counts lengths and orders symbols by code. Answers -1 for an over-subscribed code, else the unused code space.
static int order_code(Code* code, const u8* lens, u32 n) {
  for (u32 i = 0; i < 16; i++) code->count[i] = 0;
  for (u32 i = 0; i < n; i++) code->count[lens[i]]++;
  int left = 1;
  u16 offset[16];
  u32 next = 0, symbol = 0;
  offset[0] = 0;
  code->count[0] = 0;
  for (u32 len = 1; len <= 15; len++) {
    left = (left << 1) - code->count[len];
    if (left < 0) return -1;
    offset[len] = code->first[len] = (u16)symbol;
    symbol += code->count[len];
    next = (next + code->count[len - 1]) << 1;
    code->limit[len] = (next + code->count[len]) << (15 - len);
  }
  for (u32 i = 0; i < n; i++) {
    if (lens[i] != 0) code->symbols[offset[lens[i]]++] = (u16)i;
  }
  return left;
}

// Entries of symbols, without the length of the code, which is still to be added to two fields.
static u64 literal_entries[288], distance_entries[32];
#define ONE_BIT (1 | 1ULL << AT_SHIFT)

INLINE u64 extra_bits(u32 extra, u32 base) {
  return extra | ((1u << extra) - 1) << AT_VALUE | (u64)GUARD << AT_SHIFT | (u64)base << AT_BASE;
}

static void make_entries(void) {
  for (u32 symbol = 0; symbol < 256; symbol++) literal_entries[symbol] = symbol << AT_VALUE | 1ULL << AT_PRODUCED;
  literal_entries[256] = SLOW | (u64)END_OF_BLOCK << AT_KIND;
  for (u32 i = 0; i < 29; i++) {
    literal_entries[257 + i] = SLOW | (u64)LENGTH << AT_KIND | extra_bits(LENGTH_EXTRA[i], LENGTH_BASE[i]);
  }
  for (u32 symbol = 0; symbol < 30; symbol++) {
    u32 extra = symbol < 4 ? 0 : (symbol >> 1) - 1;
    distance_entries[symbol] = IS_MATCH | extra_bits(extra, DISTANCE_BASE[symbol]);
  }
  literal_entries[286] = literal_entries[287] = SLOW | (u64)INVALID << AT_KIND;
  distance_entries[30] = distance_entries[31] = SLOW | (u64)INVALID << AT_KIND;
}

INLINE u64 distance_entry(u32 symbol, u32 len) { return distance_entries[symbol] + len * ONE_BIT; }
INLINE u64 literal_entry(u32 symbol, u32 len) { return literal_entries[symbol] + len * ONE_BIT; }

// The next codeword of a length, its first bit lowest: `mask` has as many bits.
INLINE u32 next_codeword(u32 reversed, u32 mask) {
  u32 bit = 0x80000000u >> __builtin_clz(reversed ^ mask);
  return (reversed & (bit - 1)) | bit;
}

// Fills a table so that the lowest bits of the stream find their symbol. Codewords come in order and the table grows by
// doubling, so every entry is written about once, most of them in long runs.
INLINE void fill_table(u64* table, u32 table_bits, const Code* code, const u64* entries) {
  u32 reversed = 0, size = 1, symbol = 0;
  table[0] = SLOW | (u64)LONG_CODE << AT_KIND | 15;
  for (u32 len = 1; len <= table_bits; len++) {
    __builtin_memcpy(table + size, table, size * 8);
    size <<= 1;
    for (u32 n = code->count[len]; n > 0; n--) {
      table[reversed] = entries[code->symbols[symbol++]] + len * ONE_BIT;
      reversed = next_codeword(reversed, size - 1);
    }
  }
}

// The unused half of a code with a single symbol, or all of one without any: zlib fails when such a code is read.
static void fill_unused(u64* table) {
  for (u32 i = 0; i < ENTRIES; i++) {
    if ((table[i] & SLOW) && (table[i] >> AT_KIND & 3) == LONG_CODE) table[i] = SLOW | 1 | (u64)INVALID << AT_KIND;
  }
}

// Whether two literals fit into one entry often enough to pay for finding them, as in data without matches.
static u32 pairs_pay(void) {
  u32 by_length[16] = {0}, paired = 0;
  for (u32 i = 0; i < 256; i++) by_length[lengths[i]]++;
  u32 within = 0;
  for (u32 len = BITS - 1; len >= 1; len--) {
    // `within` becomes the share of literals that fit after one of this length, in 1 / 2^BITS.
    within += by_length[BITS - len] << len;
    paired += by_length[len] * within >> len;
  }
  return paired >= ENTRIES / 16;
}

// Joins what fits into BITS bits together: two literals, or length and distance.
static void fuse_tables(void) {
  __builtin_memcpy(fused, literals, sizeof fused);
  u32 pairs = pairs_pay(), reversed = 0, symbol = 0;
  for (u32 len = 1; len < BITS; len++) {
    u32 room = BITS - len, others = 1u << room;
    for (u32 n = literal_code.count[len]; n > 0; n--) {
      u32 value = literal_code.symbols[symbol++];
      u64* to = fused + reversed;
      reversed = next_codeword(reversed, (1u << len) - 1);
      if (value < 256) {
        if (!pairs) continue;
        u64 first = len + (value << AT_VALUE) + (2ULL << AT_PRODUCED);
        for (u32 x = 0; x < others; x++) {
          u64 second = literals[x], old = to[x << len];
          u64 both = first + (second & 63) + ((second & 0xff00) << 8);
          u32 fits = ((int64_t)second >= 0) & ((second & 63) <= room);
          to[x << len] = fits ? both : old;
        }
      } else if (value > 256 && value < 257 + 11) {
        u32 extra = LENGTH_EXTRA[value - 257], base = LENGTH_BASE[value - 257], used = len + extra;
        u64 first = used * ONE_BIT;
        for (u32 x = 0; x < others; x++) {
          u32 length = base + (x & extra);
          u64 second = distances[x >> extra], old = to[x << len];
          u32 shift = ((u32)(second >> AT_SHIFT) & 63) - GUARD;
          u64 both = second + first + ((u64)length << AT_PRODUCED);
          // A distance that may be below the length means an overlap.
          u32 fits = ((int64_t)second >= 0) & (shift + extra <= room) & ((u32)(second >> AT_BASE) >= length);
          to[x << len] = fits ? both : old;
        }
      }
    }
  }
}

static int build_tables(u32 litlens, u32 dists) {
  int left = order_code(&literal_code, lengths, litlens);
  if (left < 0) return 0;
  // zlib takes an incomplete code only when its single symbol has one bit.
  u32 coded = 0, used = 0;
  for (u32 len = 1; len <= 15; len++) coded += literal_code.count[len];
  if (left > 0 && !(coded == 1 && literal_code.count[1] == 1)) return 0;
  int spare = order_code(&distance_code, lengths + litlens, dists);
  if (spare < 0) return 0;
  for (u32 len = 1; len <= 15; len++) used += distance_code.count[len];
  if (spare > 0 && used > 0 && !(used == 1 && distance_code.count[1] == 1)) return 0;
  fill_table(literals, BITS, &literal_code, literal_entries);
  if (left > 0) fill_unused(literals);
  fill_table(distances, BITS, &distance_code, distance_entries);
  if (spare > 0) fill_unused(distances);
  fuse_tables();
  return 1;
}

static void build_fixed(void) {
  for (u32 i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  for (u32 i = 0; i < 32; i++) lengths[288 + i] = 5;
  build_tables(288, 32);
}

// Reads a code of more than BITS bits from at least 15 bits. Answers symbol << 4 | length.
static __attribute__((noinline)) u32 long_code(const Code* code, u64 bits) {
  u32 left_aligned = __builtin_bitreverse32((u32)bits) >> 17;
  u32 len = BITS + 1;
  while (len < 15 && left_aligned >= code->limit[len]) len++;
  u32 above = (code->limit[len] - left_aligned - 1) >> (15 - len);
  return (u32)code->symbols[code->first[len] + code->count[len] - 1 - above] << 4 | len;
}

// Copies a match of any length and distance; may write up to 15 bytes more.
static __attribute__((noinline)) u8* copy_match(u8* out, u32 length, u32 distance) {
  u8* end = out + length;
  const u8* from = out - distance;
  if (distance >= 16) {
    do {
      copy16(out, from);
      out += 16;
      from += 16;
    } while (out < end);
    return end;
  }
  if (distance == 1) {
    v128_t run = wasm_i8x16_splat(*from);
    do {
      wasm_v128_store(out, run);
      out += 16;
    } while (out < end);
    return end;
  }
  // The pattern repeats: what has been written once can be copied from twice as far back.
  while (distance < 16 && out < end) {
    u64 word = load64(from);
    __builtin_memcpy(out, &word, 8);
    if (distance >= 8) {
      out += 8;
      from += 8;
    } else {
      out += distance;
      distance += distance;
    }
  }
  while (out < end) {
    copy16(out, from);
    out += 16;
    from += 16;
  }
  return end;
}

EXPORT("input") u8* input_address(void) { return input; }
EXPORT("input_size") u32 input_size(void) { return INPUT; }
EXPORT("state") void* state_address(void) { return &state; }

EXPORT("reset") void reset(void) {
  if (literal_entries[256] == 0) make_entries();
  __builtin_memset(&state, 0, sizeof state);
  state.out_start = state.out_end = (u32)window + HISTORY;
  state.history = (u32)window + HISTORY;
}

#define REFILL() (bits |= load64(in) << count, in += (63 ^ count) >> 3, count |= 56)
#define DROP(n) (bits >>= (n), count -= (n))
#define USED(entry) ((u32)(entry) & 63)
#define KIND(entry) ((u32)((entry) >> AT_KIND) & 3)
// Base and extra bits, of a distance or of the length of a slow entry. The bit buffer stands at GUARD.
#define EXTRA_OF(entry)                     \
  (((u32)((entry) >> AT_BASE) & 0x7fff) +   \
   ((u32)(bits >> ((entry) >> AT_SHIFT & 63)) & (u32)(entry) >> AT_VALUE))
#define DISTANCE_OK(d) ((d) <= (u32)out - state.history)

// Keeps the compiler from computing a value only where a branch needs it: a select is meant.
#define ALREADY(value) __asm__("" : "+r"(value))

#define LOOK_UP() (at = (const u8*)fused + ((u32)bits & INDEX << GUARD), entry = *(const u64*)at)

// Does what a fast entry says; see its layout. A literal's source is the entry itself, above all of the window.
#define STEP()                                       \
  {                                                  \
    if (UNLIKELY((int64_t)entry < 0)) goto slow;     \
    source = out - EXTRA_OF(entry);                  \
    ALREADY(source);                                 \
    source = entry & IS_MATCH ? source : at + 1;     \
    if (UNLIKELY(source < history)) goto failed;     \
    copy16(out, source);                             \
    u32 used = USED(entry);                          \
    DROP(used);                                      \
    out += (u32)(entry >> AT_PRODUCED) & 31;         \
  }

// Decodes symbols while `in` is below `in_fast` and there is room for output. A function of its own, because V8 keeps
// all of its few variables in registers. Answers the mode that follows.
static __attribute__((noinline)) u32 decode_symbols(const u8* const in_fast) {
  const u8 *in = (const u8*)state.next_in, *at, *source, *const history = (const u8*)state.history;
  u8* out = (u8*)state.out_end;
  u64 bits = state.bits << GUARD, entry;
  u32 count = state.bit_count + GUARD, mode = SYMBOLS;
  REFILL();
  do {
    // The first look-up does not wait for the refill: of 64 bits, GUARD and two times 24 can be gone.
    LOOK_UP();
    REFILL();
    STEP()
    LOOK_UP();
    STEP()
    continue;

  slow:
    REFILL();
    if (KIND(entry) == LONG_CODE) {
      u32 found = long_code(&literal_code, bits >> GUARD);
      entry = literal_entry(found >> 4, found & 15);
      if ((int64_t)entry >= 0) {
        *out++ = (u8)(entry >> AT_VALUE);
        DROP(USED(entry));
        continue;
      }
    }
    if (UNLIKELY(KIND(entry) != LENGTH)) {
      if (KIND(entry) == INVALID) goto failed;
      DROP(USED(entry));
      mode = BLOCK;
      break;
    }
    u32 length = EXTRA_OF(entry);
    DROP(USED(entry));
    entry = distances[bits >> GUARD & INDEX];
    if (UNLIKELY((int64_t)entry < 0)) {
      if (KIND(entry) == INVALID) goto failed;
      u32 found = long_code(&distance_code, bits >> GUARD);
      entry = distance_entry(found >> 4, found & 15);
      if ((int64_t)entry < 0) goto failed;
    }
    u32 distance = EXTRA_OF(entry);
    DROP(USED(entry));
    if (UNLIKELY(!DISTANCE_OK(distance))) goto failed;
    if (LIKELY(distance >= 16 && length <= 32)) {
      copy16(out, out - distance);
      copy16(out + 16, out + 16 - distance);
      out += length;
    } else {
      out = copy_match(out, length, distance);
    }
  } while (in < in_fast && out < window + HISTORY + WINDOW);
  goto done;

failed:
  mode = FAILED;
done:
  state.next_in = (u32)in;
  state.out_end = (u32)out;
  state.bit_count = count - GUARD;
  state.bits = bits >> GUARD & ((1ULL << state.bit_count) - 1);
  return mode;
}

// Decodes up to `length` bytes at `input`.
EXPORT("inflate") u32 inflate_run(u32 from, u32 length) {
  const u8* in = input + from;
  const u8* const in_end = in + length;
  u8* out = (u8*)state.out_end;
  if (out >= window + HISTORY + WINDOW) {
    u32 shift = (u32)(out - HISTORY - window);
    __builtin_memcpy(window, out - HISTORY, HISTORY);
    out = window + HISTORY;
    state.history = state.history > (u32)window + shift ? state.history - shift : (u32)window;
  }
  state.out_start = (u32)out;
  u8* const out_limit = window + HISTORY + WINDOW;
  u64 bits = state.bits;
  u32 count = state.bit_count;
  u32 pending = state.pending;
  u32 answer = NEED_INPUT;

#define NEED(n)                                                  \
  while (count < (n)) {                                          \
    if (in == in_end) goto leave;                                \
    bits |= (u64)*in++ << count;                                 \
    count += 8;                                                  \
  }
#define FAIL() do { state.mode = FAILED; goto leave; } while (0)

  for (;;) switch (state.mode) {
    case BLOCK: {
      if (state.last_block) {
        state.mode = END;
        break;
      }
      NEED(3);
      state.last_block = bits & 1;
      u32 type = (u32)bits >> 1 & 3;
      DROP(3);
      if (type == 3) FAIL();
      if (type == 0) {
        DROP(count & 7);
        state.mode = STORED_HEAD;
      } else if (type == 1) {
        build_fixed();
        state.mode = SYMBOLS;
      } else {
        state.mode = DYNAMIC_HEAD;
      }
      break;
    }
    case STORED_HEAD:
      NEED(32);
      if ((bits & 0xffff) != ((bits >> 16 & 0xffff) ^ 0xffff)) FAIL();
      state.stored = bits & 0xffff;
      DROP(32);
      state.mode = STORED;
      break;
    case STORED: {
      while (count > 0 && state.stored > 0) {
        *out++ = (u8)bits;
        DROP(8);
        state.stored--;
      }
      u32 n = state.stored;
      if (n > (u32)(in_end - in)) n = (u32)(in_end - in);
      if (out >= out_limit) n = 0;
      else if (n > (u32)(out_limit - out)) n = (u32)(out_limit - out);
      __builtin_memcpy(out, in, n);
      in += n;
      out += n;
      state.stored -= n;
      if (state.stored == 0) {
        state.mode = BLOCK;
        break;
      }
      if (out >= out_limit) answer = OUTPUT_FULL;
      goto leave;
    }
    case DYNAMIC_HEAD:
      NEED(14);
      state.litlens = (bits & 31) + 257;
      state.dists = (bits >> 5 & 31) + 1;
      state.codes = (bits >> 10 & 15) + 4;
      DROP(14);
      if (state.litlens > 286 || state.dists > 30) FAIL();
      state.have = 0;
      __builtin_memset(lengths, 0, 19);
      state.mode = DYNAMIC_LENGTHS;
      break;
    case DYNAMIC_LENGTHS:
      while (state.have < state.codes) {
        NEED(3);
        lengths[CODE_ORDER[state.have++]] = bits & 7;
        DROP(3);
      }
      if (order_code(&literal_code, lengths, 19) != 0) FAIL();
      // The code's table goes where the distances will be: (symbol, length) in the low bits.
      {
        u32 reversed = 0, size = 1, symbol = 0;
        u64* table = distances;
        table[0] = 0;
        for (u32 len = 1; len <= 7; len++) {
          __builtin_memcpy(table + size, table, size * 8);
          size <<= 1;
          for (u32 n = literal_code.count[len]; n > 0; n--) {
            table[reversed] = literal_code.symbols[symbol++] | len << 8;
            reversed = next_codeword(reversed, size - 1);
          }
        }
      }
      state.have = 0;
      state.mode = DYNAMIC_CODES;
      break;
    case DYNAMIC_CODES: {
      u32 total = state.litlens + state.dists;
      while (state.have < total) {
        u32 entry = (u32)distances[bits & 127], len = entry >> 8;
        while (count < len) {
          if (in == in_end) goto leave;
          bits |= (u64)*in++ << count;
          count += 8;
          entry = (u32)distances[bits & 127], len = entry >> 8;
        }
        u32 symbol = entry & 0xff;
        if (symbol < 16) {
          DROP(len);
          lengths[state.have++] = (u8)symbol;
          continue;
        }
        u32 extra = symbol == 16 ? 2 : symbol == 17 ? 3 : 7;
        NEED(len + extra);
        DROP(len);
        u32 times = (u32)(bits & ((1 << extra) - 1)) + (symbol == 18 ? 11 : 3);
        DROP(extra);
        u8 value = 0;
        if (symbol == 16) {
          if (state.have == 0) FAIL();
          value = lengths[state.have - 1];
        }
        if (state.have + times > total) FAIL();
        __builtin_memset(lengths + state.have, value, times);
        state.have += times;
      }
      if (lengths[256] == 0) FAIL();
      if (!build_tables(state.litlens, state.dists)) FAIL();
      state.mode = SYMBOLS;
      break;
    }
    case SYMBOLS: {
      if (in_end - in > AHEAD && out < out_limit && pending == 0) {
        state.bits = bits;
        state.bit_count = count;
        state.next_in = (u32)in;
        state.out_end = (u32)out;
        state.mode = decode_symbols(in_end - AHEAD);
        bits = state.bits;
        count = state.bit_count;
        in = (const u8*)state.next_in;
        out = (u8*)state.out_end;
        break;
      }

      u32 length, distance;
      u64 entry;
      // Near the end of the input: one symbol at a time, each only when all of its bits are there.
      if (out >= out_limit) {
        answer = OUTPUT_FULL;
        goto leave;
      }
      while (count <= 48 && in < in_end) {
        bits |= (u64)*in++ << count;
        count += 8;
      }
      if (pending == 0) {
        entry = literals[bits & INDEX];
        if ((int64_t)entry < 0 && KIND(entry) == LONG_CODE) {
          u32 found = long_code(&literal_code, bits);
          if ((found & 15) > count) goto leave;
          entry = literal_entry(found >> 4, found & 15);
        }
        u32 used = (u32)entry & 63;
        if (used > count) goto leave;
        if ((int64_t)entry >= 0) {
          *out++ = (u8)(entry >> AT_VALUE);
          DROP(used);
          break;
        }
        u32 kind = (u32)(entry >> AT_KIND) & 3;
        if (kind == INVALID) FAIL();
        if (kind == END_OF_BLOCK) {
          DROP(used);
          state.mode = BLOCK;
          break;
        }
        bits <<= GUARD;
        pending = EXTRA_OF(entry);
        bits >>= GUARD;
        DROP(used);
      }
      entry = distances[bits & INDEX];
      if (entry & SLOW) {
        if (KIND(entry) == INVALID) {
          if ((entry & 63) > count) goto leave;
          FAIL();
        }
        u32 found = long_code(&distance_code, bits);
        if ((found & 15) > count) goto leave;
        entry = distance_entry(found >> 4, found & 15);
        if (entry & SLOW) FAIL();
      }
      if ((entry & 63) > count) goto leave;
      bits <<= GUARD;
      distance = EXTRA_OF(entry);
      bits >>= GUARD;
      DROP(entry & 63);
      length = pending;
      pending = 0;
      if (!DISTANCE_OK(distance)) FAIL();
      out = copy_match(out, length, distance);
      break;
    }
    case END:
      // Whole bytes that were read ahead belong to whatever follows.
      in -= count >> 3;
      bits = count = 0;
      answer = DONE;
      goto leave;
    default:
      answer = MALFORMED;
      goto leave;
  }

leave:
  if (state.mode == FAILED) answer = MALFORMED;
  state.bits = bits;
  state.bit_count = (u32)count;
  state.pending = pending;
  state.next_in = (u32)(in - input);
  state.out_end = (u32)out;
  return answer;
}
