/**
 * Frames that are almost right: recorded ones, cut, spliced, repeated and sprinkled with what parsers trip over. A seed
 * repeats a run.
 *
 * @module
 */

/** Pieces that mean something to one of the four layers of a frame. */
const SCRAPS: readonly string[] = [
  ..."0123456{}[]\"':,\\",
  "null",
  "true",
  "-1",
  "1e999",
  "9007199254740993",
  "{}",
  "[]",
  '"type":0',
  '"type":1',
  '"id":1',
  '"data":["request",',
  '{"$binary":"',
  '{"$date":',
  '{"$InfNaN":1}',
  '{"$escape":{',
  '{"$type":"a","$value":1}',
  '"__proto__":',
  '"constructor":',
  '"toString"',
  '"streamingID":""',
  '"url":"//evil"',
  '"method":"CONNECT"',
  '"headers":null',
  "primus::ping::",
  "primus::server::close",
  "identify",
  "service",
  "notification",
  "\\u0000",
  "\\ud800",
  "\ud800",
  "\u0000",
  "\u2028",
  "\r\n",
  "[".repeat(70),
  '{"a":'.repeat(70),
];

/** A small random number generator whose run a seed repeats. */
export function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** `count` frames made from those of the corpus. */
export function* fuzzFrames(corpus: readonly string[], count: number, seed: number): Generator<string, void, void> {
  const random = mulberry32(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const pick = (from: readonly string[]): string => from[below(from.length)] ?? "";
  const changes: readonly ((text: string) => string)[] = [
    (text) => text.slice(0, below(text.length + 1)),
    (text) => text.slice(below(text.length + 1)),
    (text) => insert(text, below(text.length + 1), 0, pick(SCRAPS)),
    (text) => insert(text, below(text.length + 1), below(8), pick(SCRAPS)),
    (text) => insert(text, below(text.length + 1), 1, String.fromCharCode(below(random() < 0.9 ? 128 : 65_536))),
    (text) => insert(text, below(text.length + 1), below(40), ""),
    (text) => {
      const at = below(text.length + 1);
      return insert(text, at, 0, text.slice(at, at + below(60)));
    },
    (text) => {
      const other = pick(corpus);
      return text.slice(0, below(text.length + 1)) + other.slice(below(other.length + 1));
    },
    () => Array.from({ length: below(12) }, () => pick(SCRAPS)).join(""),
  ];
  /** Some JSON values for others: what comes out is still JSON. */
  const exchange = (text: string): string =>
    text.replace(/"(?:[^"\\]|\\.)*"|\d+|null/g, (value) => random() < 0.1 ? pick(VALUES) : value);
  for (let n = 0; n < count; n++) {
    let text = pick(corpus);
    if (random() < 0.4) {
      yield exchange(text);
      continue;
    }
    for (let change = 1 + below(3); change > 0; change--) text = changes[below(changes.length)]?.(text) ?? text;
    yield text;
  }
}

const VALUES: readonly string[] = [
  "null",
  "0",
  "-1",
  "1e308",
  '""',
  '"x"',
  "[]",
  "{}",
  '{"$binary":"AAAA"}',
  '{"$binary":null}',
  '"__proto__"',
  '"request"',
  '"identify"',
  '"/list"',
  '"GET"',
  "true",
];

function insert(text: string, at: number, replaced: number, scrap: string): string {
  return text.slice(0, at) + scrap + text.slice(at + replaced);
}
