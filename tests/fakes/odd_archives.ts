/**
 * Odd tar archives: each is read by Go's archive/tar once (tests/fixtures/tar), and by our parser in every test run.
 *
 * @module
 */
import {
  base256,
  concat,
  gnuLong,
  octal,
  oldSparseMap,
  padded,
  pax,
  paxRecord,
  tar,
  tarEnd,
  tarHeader,
  type TarMember,
  tarMember,
} from "./tar_builder.ts";

const A: TarMember = { name: "a", body: "content of a" };
const B: TarMember = { name: "b", body: "content of b" };
const LONG = `${"long/".repeat(40)}name`;
const LATIN1 = Uint8Array.of(0x63, 0x61, 0x66, 0xe9);

/** Archive bytes by name. Add a row, then run tests/fixtures/tar/generate.ts. */
export function oddArchives(): Readonly<Record<string, Uint8Array<ArrayBuffer>>> {
  return { ...ends(), ...headers(), ...numbers(), ...extensions(), ...smuggling(), ...gnuSparse(), ...paxSparse() };
}

/** How an archive may end. */
function ends(): Record<string, Uint8Array<ArrayBuffer>> {
  return {
    "empty": new Uint8Array(0),
    "end-only": tarEnd(),
    "end-missing": tarMember(A),
    "end-one-block": concat(tarMember(A), new Uint8Array(512)),
    "end-half-block": concat(tarMember(A), new Uint8Array(100)),
    "end-one-block-and-half": concat(tarMember(A), new Uint8Array(700)),
    "end-one-zero-then-member": concat(tarMember(A), new Uint8Array(512), tarMember(B), tarEnd()),
    "end-then-member": concat(tar(A), tar(B)),
    "end-then-garbage": concat(tar(A), "garbage"),
    "cut-in-header": concat(tarMember(A), tarHeader(B).slice(0, 300)),
    "cut-in-body": concat(tarMember(A), tarHeader(B), "cont"),
    "cut-in-padding": concat(tarMember(A), tarHeader(B), "content of b", new Uint8Array(7)),
    "cut-before-padding": concat(tarMember(A), tarHeader(B), "content of b"),
    "cut-before-body": concat(tarMember(A), tarHeader(B)),
    "pax-then-end": concat(pax({ path: "p" }), tarEnd()),
    "pax-cut": concat(tarHeader({ name: "x", type: "x", size: 100 }), "12 path="),
    "garbage": new Uint8Array(1024).fill(0x41),
  };
}

/** Header forms and types. */
function headers(): Record<string, Uint8Array<ArrayBuffer>> {
  const dir = { type: "5", name: "d/" };
  return {
    "v7": tar({ ...A, format: "v7", type: "\0" }, { name: "dir/", format: "v7", type: "\0" }),
    "v7-directory-with-size": tar({ name: "dir/", format: "v7", type: "\0", size: 700 }, B),
    "ustar-prefix": tar({ ...A, prefix: "some/where" }),
    "ustar-full-prefix": tar({ ...A, name: "n".repeat(100), prefix: "p".repeat(155) }),
    "star-prefix": tar({
      ...A,
      format: "star",
      prefix: "some/where",
      fields: { 476: octal(1, 12), 488: octal(1, 12) },
    }),
    "star-bad-time": tar({ ...A, format: "star", fields: { 476: "notanumber!!" } }),
    "gnu": tar({ ...A, format: "gnu" }),
    "gnu-go17-prefix": tar({ ...A, format: "gnu", prefix: "some/where/else/is/long" }),
    "gnu-times": tar({ ...A, format: "gnu", fields: { 345: octal(1, 12), 357: octal(1, 12) } }),
    "regular-with-slash": tar({ ...A, name: "file/" }),
    "types": tar(
      dir,
      { name: "l", type: "2", linkName: "a" },
      { name: "h", type: "1", linkName: "a" },
      { name: "c", type: "3" },
      { name: "k", type: "4" },
      { name: "f", type: "6" },
      { ...A, name: "contiguous", type: "7" },
      { ...A, name: "unknown", type: "Z" },
    ),
    "directory-with-size": tar({ ...dir, size: 700 }, A),
    "symlink-with-size": tar({ name: "l", type: "2", linkName: "a", size: 700 }, A),
    "hardlink-with-size": tar({ name: "h", type: "1", linkName: "a", size: 700 }, A),
    "name-empty": tar({ ...A, name: "" }),
    "name-not-utf8": tar({ ...A, name: LATIN1 }),
    "name-odd": tar({ ...A, name: "./a/../../b//c/." }, { ...A, name: "/abs" }, { ...A, name: "back\\slash" }),
    "name-twice": tar(A, { ...A, body: "second" }),
    "checksum-signed": tar({ ...A, name: LATIN1, checksum: "signed" }),
    "checksum-wrong": tar(A, { ...B, checksum: "wrong" }),
    "checksum-blank": concat(tarMember(A).fill(0x20, 148, 156), tarEnd()),
  };
}

/** Number fields. */
function numbers(): Record<string, Uint8Array<ArrayBuffer>> {
  const field = (offset: number, value: string | Uint8Array, member = A): Uint8Array<ArrayBuffer> =>
    tar({ ...member, fields: { [offset]: value } }, B);
  return {
    "size-base256": field(124, base256(12n, 12)),
    "size-base256-negative": field(124, new Uint8Array(12).fill(0xff)),
    "size-base256-overflow": field(124, concat(Uint8Array.of(0x80, 1), new Uint8Array(10))),
    "size-base256-2-to-62": field(124, base256(2n ** 62n, 12)),
    "size-spaces": field(124, "        14 \0"),
    "size-nul-padded": field(124, "\0\0\0\0\0\0\0\x0014\0 "),
    "size-nul-inside": field(124, "14\x00999999999"),
    "size-blank": field(124, " ".repeat(12), { name: "a" }),
    "size-not-octal": field(124, "00000000019\0"),
    "size-garbage": field(124, "hello world\0"),
    "size-full-width": field(124, "000000000014"),
    "mode-garbage": field(100, "zzzzzzz\0"),
    "mode-base256": field(100, base256(0o755n, 8)),
    "uid-garbage": field(108, "-1\0\0\0\0\0\0"),
    "uid-base256": field(108, base256(5_000_000n, 8)),
    "mtime-negative": field(136, new Uint8Array(12).fill(0xff)),
    "device-garbage": field(329, "abc\0\0\0\0\0"),
    "device-garbage-v7": field(329, "abc\0\0\0\0\0", { ...A, format: "v7" }),
  };
}

/** pax and GNU extension headers. */
function extensions(): Record<string, Uint8Array<ArrayBuffer>> {
  const raw = (records: string): Uint8Array<ArrayBuffer> => tar(pax(records), A, B);
  return {
    "pax-path": tar(pax({ path: LONG }), A, B),
    "pax-linkpath": tar(pax({ linkpath: LONG }), { name: "l", type: "2", linkName: "x" }),
    "pax-utf8": tar(pax({ path: "größe/ファイル" }), A),
    "pax-size": tar(pax({ size: "12" }), tarHeader({ ...A, size: 0 }), padded("content of a"), B),
    "pax-size-plus": tar(pax({ size: "+12" }), tarHeader({ ...A, size: 0 }), padded("content of a"), B),
    "pax-size-on-directory": tar(pax({ size: "700" }), { name: "d", type: "5" }, B),
    "pax-size-negative": tar(pax({ size: "-1" }), A),
    "pax-size-exponent": tar(pax({ size: "1e3" }), A),
    "pax-size-overflow": tar(pax({ size: "9223372036854775808" }), A),
    "pax-size-zeros": tar(pax({ size: `${"0".repeat(30)}12` }), A),
    "pax-empty-values": tar(pax({ path: "", size: "", linkpath: "" }), A),
    "pax-empty": tar(pax(""), A),
    "pax-twice": tar(pax({ path: "first", linkpath: "kept?" }), pax({ mtime: "1" }), A),
    "pax-key-twice": tar(pax([["path", "one"], ["path", "two"]]), A),
    "pax-times": tar(pax({ mtime: "1.5", atime: "-1.25", ctime: "1." }), A),
    "pax-time-bad": tar(pax({ mtime: "1.x" }), A),
    "pax-time-empty-seconds": tar(pax({ mtime: ".5" }), A),
    "pax-uid-bad": tar(pax({ uid: "0x10" }), A),
    "pax-path-nul": tar(pax({ path: "a\0b" }), A),
    "pax-key-nul": tar(pax({ "SCHILY.\0x": "v" }), A),
    "pax-value-nul": tar(pax({ "SCHILY.xattr.user": "a\0b" }), A),
    "pax-value-newline": tar(pax({ path: "a\nb" }), A),
    "pax-value-equals": tar(pax({ path: "a=b=c" }), A),
    "pax-length-short": raw("8 path=abcdef\n"),
    "pax-length-long": raw("99 path=abcdef\n"),
    "pax-length-negative": raw("-5 path=x\n"),
    "pax-length-plus": raw("+11 path=x\n"),
    "pax-length-zeros": raw("0012 path=x\n"),
    "pax-length-missing": raw("path=x\n"),
    "pax-no-equals": raw("8 pathx\n"),
    "pax-no-key": raw("5 =x\n"),
    "pax-no-newline": raw("9 path=xy"),
    "pax-zeros-after": raw(`${paxRecord("path", "x")}\0\0\0`),
    "pax-global-path": tar(pax({ path: "global" }, "g"), A, B),
    "pax-global-between": tar(pax({ path: "lost" }), pax({ comment: "c" }, "g"), A),
    "pax-global-bad-number": tar(pax({ size: "x" }, "g"), A),
    "pax-large": tar(pax({ comment: "c".repeat(1024 * 1024) }), A),
    "pax-v7-typed": tar({ name: "x", type: "x", format: "v7", body: paxRecord("path", "q") }, A),
    "gnu-long-name": tar(gnuLong("L", LONG), { ...A, format: "gnu" }, B),
    "gnu-long-link": tar(gnuLong("K", LONG), { name: "l", type: "2", format: "gnu" }),
    "gnu-long-both": tar(gnuLong("K", LONG), gnuLong("L", `${LONG}2`), { name: "l", type: "2", format: "gnu" }),
    "gnu-long-name-twice": tar(gnuLong("L", "first"), gnuLong("L", "second"), A),
    "gnu-long-name-empty": tar(gnuLong("L", ""), A),
    "gnu-long-name-nul": tar(gnuLong("L", "before\0after"), A),
    "gnu-long-name-directory": tar(gnuLong("L", "dir/"), { ...A, type: "\0", body: "" }, B),
    "gnu-long-name-at-end": concat(gnuLong("L", "x"), tarEnd()),
    "gnu-volume-label": tar({ name: "label", type: "V", format: "gnu" }, A),
    "gnu-dumpdir": tar({ name: "d/", type: "D", format: "gnu", body: "Ya\0\0" }, A),
  };
}

/** Forms by which readers have been made to see different members. */
function smuggling(): Record<string, Uint8Array<ArrayBuffer>> {
  const hidden = tar({ name: "hidden", body: "hidden" });
  const carrier = { name: "carrier", body: hidden };
  return {
    "smuggle-pax-size-then-long-name": tar(pax({ size: "2048" }), gnuLong("L", "renamed"), { ...carrier, size: 0 }, B),
    "smuggle-long-name-then-pax-size": tar(gnuLong("L", "renamed"), pax({ size: "2048" }), { ...carrier, size: 0 }, B),
    "smuggle-pax-size-zero": tar(pax({ size: "0" }), carrier, B),
    "smuggle-pax-path-long-name": tar(pax({ path: "by-pax" }), gnuLong("L", "by-gnu"), A),
    "smuggle-long-name-pax-path": tar(gnuLong("L", "by-gnu"), pax({ path: "by-pax" }), A),
    "smuggle-directory-body": tar({ ...carrier, type: "5" }, B),
    "smuggle-symlink-body": tar({ ...carrier, type: "2", linkName: "a" }, B),
    "smuggle-hardlink-body": tar({ ...carrier, type: "1", linkName: "a" }, B),
    "smuggle-after-end": concat(tar(A), hidden),
    "smuggle-pax-size-directory": tar(pax({ size: "2048" }), { ...carrier, type: "5", size: 0 }, B),
  };
}

/** The sparse format of GNU tar before pax. */
function gnuSparse(): Record<string, Uint8Array<ArrayBuffer>> {
  const member = (
    map: Uint8Array,
    real: number,
    body: string,
    extra: readonly Uint8Array[] = [],
  ): Uint8Array<ArrayBuffer> =>
    tar(
      tarHeader({ name: "s", type: "S", format: "gnu", size: body.length, fields: { 386: map, 483: octal(real, 12) } }),
      ...extra,
      padded(body),
      B,
    );
  const six = [[0, 1], [10, 1], [20, 1], [30, 1]] as const;
  return {
    "sparse-old": member(oldSparseMap([[0, 5], [100, 5]], false), 200, "firstlater"),
    "sparse-old-empty": member(oldSparseMap([], false), 1000, ""),
    "sparse-old-zero-region": member(oldSparseMap([[0, 5], [1000, 0]], false), 1000, "first"),
    "sparse-old-extended": member(oldSparseMap(six, true), 60, "abcdef", [
      padded(oldSparseMap([[40, 1], [50, 1], [60, 0], [60, 0], [60, 0]], false)),
    ]),
    "sparse-old-overlap": member(oldSparseMap([[0, 5], [3, 5]], false), 200, "firstlater"),
    "sparse-old-beyond": member(oldSparseMap([[0, 5], [198, 5]], false), 200, "firstlater"),
    "sparse-old-too-little-data": member(oldSparseMap([[0, 5], [100, 5]], false), 200, "firstla"),
    "sparse-old-too-much-data": member(oldSparseMap([[0, 5], [100, 5]], false), 200, "firstlaterrest"),
    "sparse-old-bad-number": member(concat("zzzzzzzzzzz\0", new Uint8Array(85)), 200, "firstlater"),
    "sparse-old-in-ustar": tar({ name: "s", type: "S", body: "first" }, B),
    "sparse-old-cut": concat(
      tarHeader({
        name: "s",
        type: "S",
        format: "gnu",
        size: 4,
        fields: { 386: oldSparseMap(six, true), 483: octal(60, 12) },
      }),
    ),
  };
}

/** The three sparse formats of GNU tar in pax records. */
function paxSparse(): Record<string, Uint8Array<ArrayBuffer>> {
  const v1 = { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "real" };
  const v1File = (map: string, data: string, size: string): Uint8Array<ArrayBuffer> =>
    tar(
      pax({ ...v1, "GNU.sparse.realsize": size }),
      { name: "GNUSparseFile.0/real", body: concat(padded(map), data) },
      B,
    );
  const v01 = (records: Record<string, string>): Uint8Array<ArrayBuffer> =>
    tar(pax({ "GNU.sparse.size": "200", "GNU.sparse.name": "real", ...records }), { name: "s", body: "firstlater" }, B);
  return {
    "sparse-0.0": tar(
      pax([
        ["GNU.sparse.size", "200"],
        ["GNU.sparse.numblocks", "2"],
        ["GNU.sparse.offset", "0"],
        ["GNU.sparse.numbytes", "5"],
        ["GNU.sparse.offset", "100"],
        ["GNU.sparse.numbytes", "5"],
      ]),
      { name: "s", body: "firstlater" },
      B,
    ),
    "sparse-0.0-order": tar(pax([["GNU.sparse.numbytes", "5"], ["GNU.sparse.offset", "0"]]), A),
    "sparse-0.1": v01({ "GNU.sparse.numblocks": "2", "GNU.sparse.map": "0,5,100,5" }),
    "sparse-0.1-versioned": v01({
      "GNU.sparse.major": "0",
      "GNU.sparse.minor": "1",
      "GNU.sparse.numblocks": "2",
      "GNU.sparse.map": "0,5,100,5",
    }),
    "sparse-0.1-count": v01({ "GNU.sparse.numblocks": "3", "GNU.sparse.map": "0,5,100,5" }),
    "sparse-0.1-no-count": v01({ "GNU.sparse.map": "0,5,100,5" }),
    "sparse-0.1-bad-map": v01({ "GNU.sparse.numblocks": "2", "GNU.sparse.map": "0,5,x,5" }),
    "sparse-0.1-on-link": tar(pax({ "GNU.sparse.numblocks": "0", "GNU.sparse.major": "0", "GNU.sparse.minor": "1" }), {
      name: "l",
      type: "2",
      linkName: "a",
    }),
    "sparse-1.0": v1File("2\n0\n5\n100\n5\n", "firstlater", "200"),
    "sparse-1.0-empty": v1File("0\n", "", "1000"),
    "sparse-1.0-two-blocks": v1File(
      `60\n${Array.from({ length: 60 }, (_, i) => `${i * 1000}\n1\n`).join("")}`,
      "x".repeat(60),
      "60000",
    ),
    "sparse-1.0-bad-map": v1File("2\n0\nfive\n100\n5\n", "firstlater", "200"),
    "sparse-1.0-no-newline": v1File("2", "firstlater", "200"),
    "sparse-1.0-short-map": tar(pax({ ...v1, "GNU.sparse.realsize": "200" }), { name: "s", body: "1\n0\n5\n" }, B),
    "sparse-1.0-huge-count": v1File("9223372036854775807\n0\n5\n", "first", "200"),
    "sparse-1.0-no-size": tar(pax(v1), { name: "s", body: concat(padded("1\n0\n5\n"), "first") }, B),
    "sparse-1.0-bad-size": v1File("1\n0\n5\n", "first", "x"),
    "sparse-unknown-version": tar(pax({ "GNU.sparse.major": "2", "GNU.sparse.minor": "0" }), A),
    "sparse-1.0-directory": tar(pax(v1), { name: "d", type: "5" }),
  };
}
