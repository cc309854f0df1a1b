/**
 * What {@link LayerFiles} does, whatever its files are kept in.
 *
 * @module
 */
import { describe, expect, it } from "vitest";
import { layer } from "../../tests/fakes/layer_facts.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import type { FileStore } from "../core/store.ts";
import type { LayerFacts } from "../core/types.ts";
import { LayerFiles } from "./layer_files.ts";

/** Facts with every kind of entry. */
export const FACTS: LayerFacts = {
  ...layer("etc/os-release=ID=debian", "bin -> usr/bin", "-gone", "opt/**", "!usr/bin/ls", "usr/", "big>7"),
  problems: [{ code: "LIMIT_EXCEEDED", subject: "big", message: "too big" }],
};

/** Facts whose file has at least so many bytes. */
function bulky(bytes: number): LayerFacts {
  const content = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(content.subarray(at, at + 65_536));
  return { ...FACTS, entries: [{ kind: "file", path: "a", size: bytes, mode: 0, content }] };
}

/** A store on files, and what it logs. */
export function setUp(
  files: FileStore,
  maxBytes: number = 1 << 20,
): { readonly store: LayerFiles; readonly logger: RecordingLogger } {
  const logger = new RecordingLogger();
  const store = new LayerFiles({ files, maxBytes, logger, pause: () => Promise.resolve() });
  return { store, logger };
}

/** Defines the suite; `open` makes a store of files, in the directory if it needs one. */
export function layerFilesSuite(name: string, open: (directory: string) => FileStore): void {
  describe(`LayerFiles on ${name}`, () => {
    async function inDirectory(run: (files: FileStore) => Promise<void>): Promise<void> {
      const directory = await Deno.makeTempDir();
      try {
        await run(open(directory));
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    }

    it("gives back what was put, to any process, by its key alone", () =>
      inDirectory(async (files) => {
        const { store } = setUp(files);
        expect(await store.get("key")).toBeUndefined();
        await store.put("key", FACTS);
        expect(await store.get("key")).toEqual(FACTS);
        expect(await setUp(files).store.get("key")).toEqual(FACTS);
        expect(await store.get("other")).toBeUndefined();
      }));

    it("takes a file that is damaged, cut off or another layer's for none, and takes it away", () =>
      inDirectory(async (files) => {
        const { store, logger } = setUp(files);
        await store.put("other", FACTS);
        const [other] = await files.list();
        const bytes = await files.read(other?.name ?? "") ?? new Uint8Array();
        await store.put("key", FACTS);
        const name = (await files.list()).find((file) => file.name !== other?.name)?.name ?? "";
        const flipped = bytes.slice();
        flipped[60] = (flipped[60] ?? 0) ^ 1;
        for (const bad of [bytes, bytes.slice(0, -1), flipped, new Uint8Array(), new Uint8Array(30).fill(255)]) {
          await files.write(name, bad);
          expect(await store.get("key")).toBeUndefined();
          expect((await files.list()).map((file) => file.name)).toEqual([other?.name]);
        }
        expect(logger.lines).toHaveLength(5);
      }));

    it("stays below its bound: what was used longest ago goes first", () =>
      inDirectory(async (files) => {
        const { store } = setUp(files, 100_000);
        for (const key of ["a", "b", "c"]) {
          await store.put(key, bulky(30_000));
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        expect(await store.get("a")).toBeDefined();
        await store.put("d", bulky(30_000));
        const kept = await Promise.all(["a", "b", "c", "d"].map((key) => store.get(key)));
        expect(kept.map((facts) => facts !== undefined)).toEqual([true, false, false, true]);
        await store.put("e", bulky(200_000));
        expect(await store.get("e")).toBeUndefined();
        const total = (await files.list()).reduce((sum, { bytes }) => sum + bytes, 0);
        expect(total).toBeLessThanOrEqual(100_000);
      }));
  });
}
