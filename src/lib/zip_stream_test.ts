import { zipSync } from "fflate";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fflateInflater, wasmInflaters } from "../../tests/fakes/file_reading.ts";
import { concat } from "../../tests/fakes/tar_builder.ts";
import { zip, type ZipMember, type ZipOptions } from "../../tests/fakes/zip_builder.ts";
import { ZipStream } from "./zip_stream.ts";

const text = (length: number, seed = 1): string =>
  Array.from({ length }, (_, at) => String.fromCharCode(97 + (at * at * seed + at * 7 + seed) % 26)).join("");
/** Content that does not compress and is full of what looks like signatures. */
const noise = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => [0x50, 0x4b, 3, 4, at][at % 5] ?? 0);

interface Read {
  readonly files: Readonly<Record<string, string>>;
  readonly problem: string | undefined;
}

/** Reads an archive in chunks, by the directory: a name leads to the content, or to why it was not read. */
function read(bytes: Uint8Array, chunk = 64, inflater = fflateInflater): Read {
  const found = new Map<number, string>();
  const wanted = (name: string): boolean => !name.startsWith("skip");
  let listed: { readonly name: string; readonly offset: number; readonly crc: number }[] = [];
  const crcs = new Map<number, number>();
  const stream = new ZipStream({
    file({ name }, offset) {
      if (!wanted(name)) return undefined;
      const parts: Uint8Array[] = [];
      return {
        data: (part) => void parts.push(part.slice()),
        end(problem, crc): void {
          crcs.set(offset, crc);
          found.set(
            offset,
            problem === undefined ? new TextDecoder("latin1").decode(concat(...parts)) : `! ${problem}`,
          );
        },
      };
    },
    listed: (header) => void listed.push(header),
    restarted: () => void (listed = []),
  }, inflater);
  try {
    for (let at = 0; at < bytes.length; at += chunk) stream.push(bytes.subarray(at, at + chunk));
    const { problem, shift } = stream.finish();
    const entries = listed.filter(({ name }) => wanted(name)).map(({ name, offset, crc }) => {
      const content = found.get(offset + shift) ?? "! not found";
      return [name, content.startsWith("!") || crcs.get(offset + shift) === crc ? content : "! checksum"];
    });
    return { files: Object.fromEntries(entries), problem };
  } finally {
    stream.close();
  }
}

const BODY = text(3000);
const ROWS: readonly (readonly [name: string, members: readonly ZipMember[], options?: ZipOptions])[] = [
  ["sizes in front", [{ name: "a", body: BODY }, { name: "b", body: "b", method: "stored" }]],
  ["sizes in descriptors", [{ name: "a", body: BODY, sizes: "descriptor" }, {
    name: "b",
    body: "b",
    sizes: "descriptor",
  }]],
  ["stored content with descriptors", [
    { name: "a", body: noise(500), method: "stored", sizes: "descriptor" },
    { name: "b", body: "", method: "stored", sizes: "descriptor" },
    { name: "c", body: noise(7), method: "stored", sizes: "unsigned" },
  ]],
  ["files that nobody wants before those that somebody does", [
    { name: "skip1", body: BODY, sizes: "descriptor" },
    { name: "skip2", body: noise(400), method: "stored", sizes: "unsigned64" },
    { name: "skip3", body: BODY, sizes: "descriptor64" },
    { name: "skip4", body: BODY },
    { name: "a", body: "here", sizes: "unsigned" },
  ]],
  ["zip64 sizes and end", [{ name: "a", body: BODY, sizes: "zip64" }, { name: "b", body: "b" }], { zip64: true }],
  ["a script in front that offsets count", [{ name: "a", body: BODY }], { prefix: "#!/bin/sh\nPK\n", counted: true }],
  ["a script in front that offsets do not count", [{ name: "a", body: BODY }], { prefix: "#!/bin/sh\nPPPK\n" }],
  ["a signing block in front of the directory", [{ name: "a", body: BODY }], { gap: noise(3) }],
  ["a comment that looks like an archive", [{ name: "a", body: BODY }], { comment: "PK\u0003\u0004PK\u0001\u0002" }],
  ["an archive in the archive, stored", [
    { name: "skip.jar", method: "stored", body: zip([{ name: "a", body: "in" }]) },
    {
      name: "a",
      body: "out",
    },
  ]],
  ["no files", []],
];

describe("ZipStream", () => {
  for (const [name, members, options] of ROWS) {
    it(`reads ${name}, whatever the chunks`, () => {
      const bytes = zip(members, options);
      const expected = Object.fromEntries(
        members.filter((member) => !member.name.startsWith("skip")).map((member) => [
          member.name,
          typeof member.body === "string" ? member.body : new TextDecoder("latin1").decode(member.body),
        ]),
      );
      for (const chunk of [1, 2, 3, 5, 7, 29, 64, 1000, bytes.length]) {
        expect(read(bytes, chunk)).toEqual({ files: expected, problem: undefined });
      }
    });
  }

  it("reads what fflate writes, with the WASM decoder too", () => {
    const files = { "a.txt": new TextEncoder().encode(BODY), "dir/b.bin": noise(5000), "c": new Uint8Array(0) };
    const bytes = zipSync(files);
    const expected = Object.entries(files).map(([name, body]) => [name, new TextDecoder("latin1").decode(body)]);
    for (const inflater of [fflateInflater, wasmInflaters()]) {
      expect(Object.entries(read(bytes, 333, inflater).files)).toEqual(expected);
    }
  });

  it("reads the last of archives that follow one another", () => {
    const bytes = concat(zip([{ name: "a", body: "old" }]), zip([{ name: "b", body: "new" }]));
    expect(read(bytes).files).toEqual({ b: "new" });
  });

  it("leaves out what the directory leaves out", () => {
    expect(read(zip([{ name: "a", body: "gone", unlisted: true }, { name: "b", body: "b" }])).files).toEqual({
      b: "b",
    });
  });

  it("says why content is not whole, and goes on", () => {
    const damaged = new Uint8Array(20).fill(0xff);
    const { files, problem } = read(zip([
      { name: "encrypted", body: "a", encrypted: true },
      { name: "bzip2", body: "a", method: 12 },
      { name: "damaged", body: "a", stored: damaged },
      { name: "damaged2", body: "a", stored: damaged, sizes: "descriptor" },
      { name: "short", body: BODY, stored: new Uint8Array([0x4b]) },
      { name: "checksum", body: "a", listedCrc: 1 },
      { name: "fine", body: "fine" },
    ]));
    expect(problem).toBeUndefined();
    expect(files).toEqual({
      encrypted: "! it is encrypted",
      bzip2: "! its compression method 12 is not known",
      damaged: "! its content is damaged",
      damaged2: "! its content is damaged",
      short: "! its content is damaged",
      checksum: "! checksum",
      fine: "fine",
    });
  });

  it("tells an archive without its end, and one whose directory is not whole", () => {
    const bytes = zip([{ name: "a", body: BODY }]);
    for (const end of [0, 1, 40, bytes.length - 22]) {
      expect(read(bytes.subarray(0, end)).problem).toMatch("It is no zip archive, or its end is missing");
    }
    expect(read(zip([{ name: "a" }], { entries: 2 })).problem).toBe("Its directory lists 1 entries instead of 2");
  });

  it("either reads or refuses whatever bytes it gets, in linear time", () => {
    const base = zip(ROWS.flatMap(([, members]) => members));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 12 }),
        fc.nat(base.length),
        fc.integer({ min: 1, max: 900 }),
        (changes, end, chunk) => {
          const bytes = base.slice(0, end % 4 === 0 ? end : base.length);
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const { files } = read(bytes, chunk);
          expect(Object.values(files).join("").length).toBeLessThan(1032 * base.length);
        },
      ),
      { numRuns: 400 },
    );
  });
});
