/**
 * The tar parser against two libraries that are not ours: what they write is read as they meant it, and of the odd
 * archives (whose judge is Go's archive/tar, see tar_test.ts) each difference is a known one.
 */
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { packTar } from "modern-tar";
import tarStream from "tar-stream";
import { describe, expect, it } from "vitest";
import { differences, ours, type Reading, sha256 } from "./fakes/tar_oracles.ts";
import known from "./fixtures/tar/oracles.json" with { type: "json" };

/** What the writers are given: files with any content, directories and links, with short and very long names. */
const segment = fc.stringMatching(/^[\p{L}\p{N}_.+ -]{1,40}$/u).filter((text) =>
  !/^\.{1,2}$/.test(text) && text.trim() === text
);
const path = fc.array(segment, { minLength: 1, maxLength: 9 }).map((parts) => parts.join("/"));
const given = fc.uniqueArray(
  fc.record({
    name: path,
    body: fc.uint8Array({ maxLength: 1500 }),
    kind: fc.constantFrom("file" as const, "directory" as const, "symlink" as const),
    target: path,
  }),
  { selector: ({ name }) => name, maxLength: 12 },
);

type Given = ReturnType<typeof given.generate>["value"];

const meant = (entries: Given): Reading =>
  entries.map(({ name, body, kind }) => {
    const content = kind === "file" ? body : new Uint8Array(0);
    return { name, size: content.length, content: sha256(content) };
  });

async function writtenByStream(entries: Given): Promise<Uint8Array> {
  const pack = tarStream.pack();
  for (const { name, body, kind, target } of entries) {
    if (kind === "file") pack.entry({ name }, Buffer.from(body));
    else pack.entry({ name, type: kind, ...(kind === "symlink" ? { linkname: target } : {}) });
  }
  pack.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of pack) parts.push(part as Uint8Array);
  return Buffer.concat(parts);
}

function writtenByModern(entries: Given): Promise<Uint8Array> {
  return packTar(entries.map(({ name, body, kind, target }) => ({
    header: {
      name: kind === "directory" ? `${name}/` : name,
      size: kind === "file" ? body.length : 0,
      type: kind,
      ...(kind === "symlink" ? { linkname: target } : {}),
    },
    ...(kind === "file" ? { body } : {}),
  })));
}

describe("TarParser and the archives of other libraries", () => {
  it.each([["tar-stream", writtenByStream], ["modern-tar", writtenByModern]] as const)(
    "reads what %s writes as it was meant, in pieces of any size",
    async (_name, write) => {
      await fc.assert(
        fc.asyncProperty(given, fc.integer({ min: 1, max: 2000 }), async (entries, piece) => {
          expect(ours(await write(entries), piece)).toEqual(meant(entries));
        }),
        { numRuns: 150, seed: 7 },
      );
    },
  );

  it("differs from them in the odd archives of tests/fixtures/tar/oracles.json, as it says there", async () => {
    expect(await differences()).toEqual(known);
  });
});
