import { gzipSync, inflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { sourceOf, streamOf } from "../../tests/fakes/layer.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import type { FilePattern, InflaterFactory, LayerHandle } from "../core/ports.ts";
import { createLayerEngine } from "./engine.ts";
import { INFLATERS } from "./inflaters.ts";

const patterns: readonly FilePattern[] = [{ names: ["wanted"], maxBytes: 1 << 20 }];
const signal = new AbortController().signal;

function layer(stored: Uint8Array<ArrayBuffer>): LayerHandle {
  const open = (): ReturnType<LayerHandle["open"]> => Promise.resolve(sourceOf(streamOf(stored)));
  return { name: "layer", digest: undefined, size: undefined, mediaType: undefined, diffId: undefined, open };
}

describe("createLayerEngine()", () => {
  it("extracts layers and assembles them to a view", async () => {
    const engine = createLayerEngine({ patterns, version: "table-1" });
    const bottom = await engine.extract(
      layer(tar({ name: "a/wanted", body: "old" }, { name: "b/wanted", body: "kept" })),
      { signal },
    );
    const top = await engine.extract(
      layer(tar({ name: "a/wanted", body: "new" }, { name: "c/wanted", body: "gone" })),
      { signal },
    );
    const last = await engine.extract(layer(tar({ name: "c/.wh.wanted" })), { signal });
    const view = engine.assemble([bottom, top, last]);
    const found = [...view.files()].map(({ path, content }) => [path, new TextDecoder().decode(content)]);
    expect(found).toEqual([["a/wanted", "new"], ["b/wanted", "kept"]]);
  });

  it("names what links lead to, and finds it when the layers are read for it", async () => {
    const engine = createLayerEngine({
      patterns: [{ paths: ["db", "dir/list"], directories: ["all/"], maxBytes: 1 << 20 }],
      version: "1",
    });
    const handle = layer(tar(
      { name: "srv/real", body: "content" },
      { name: "srv/more/list", body: "more" },
      { name: "srv/all/one", body: "1" },
      { name: "db", type: "2", linkName: "/srv/real" },
      { name: "dir", type: "2", linkName: "srv/more" },
      { name: "all", type: "2", linkName: "srv/all" },
      { name: "dangling", type: "2", linkName: "nowhere" },
    ));
    const first = await engine.extract(handle, { signal });
    const view = engine.assemble([first]);
    expect(view.linkedPaths()).toBeUndefined();
    for (const path of ["db", "dir/list", "dangling", "plain"]) expect(view.file(path)).toBeUndefined();
    expect(view.filesIn("all/")).toEqual([]);
    const also = view.linkedPaths();
    expect(also).toMatchObject({ paths: ["nowhere", "srv/more/list", "srv/real"], directories: ["srv/all/"] });
    const second = await engine.extract(handle, { signal, also });
    expect(second.extractor).not.toBe(first.extractor);
    const whole = engine.assemble([second], also);
    const read = (path: string): string => new TextDecoder().decode(whole.file(path)?.content);
    expect([read("db"), read("dir/list"), whole.filesIn("all/").map((file) => file.path)]).toEqual([
      "content",
      "more",
      ["srv/all/one"],
    ]);
    expect(whole.file("dangling")).toBeUndefined();
    expect(whole.linkedPaths()).toBeUndefined();
    expect(whole.problems).toEqual([]);
  });

  it("does not ask for the layers again where a link leads to files that were wanted anyway", async () => {
    const paths = ["var/lib/rpm/Packages", "usr/lib/sysimage/rpm/Packages", "usr/lib/sysimage/rpm/rpmdb.sqlite"];
    const engine = createLayerEngine({
      patterns: [{ paths, directories: ["etc/all/"], maxBytes: 1 << 20 }],
      version: "1",
    });
    const handle = layer(tar(
      { name: "usr/lib/sysimage/rpm/rpmdb.sqlite", body: "database" },
      { name: "var/lib/rpm", type: "2", linkName: "../../usr/lib/sysimage/rpm" },
      { name: "srv/link", type: "2", linkName: "/etc/all" },
    ));
    const view = engine.assemble([await engine.extract(handle, { signal })]);
    expect(view.file("var/lib/rpm/Packages")).toBeUndefined();
    expect(view.file("var/lib/rpm/rpmdb.sqlite")?.path).toBe("usr/lib/sysimage/rpm/rpmdb.sqlite");
    expect(view.filesIn("srv/link/")).toEqual([]);
    expect(view.linkedPaths()).toBeUndefined();
    expect(view.problems).toEqual([]);
    expect(view.file("var/lib/rpm/other")).toBeUndefined();
    expect(view.linkedPaths()).toMatchObject({ paths: ["usr/lib/sysimage/rpm/other"] });
  });

  it("has a version that names extractor and table, and marks facts with it", async () => {
    const [one, two] = ["table-1", "table-2"].map((version) => createLayerEngine({ patterns, version }));
    expect(one?.version).not.toBe(two?.version);
    expect((await one?.extract(layer(tar()), { signal }))?.extractor).toBe(one?.version);
  });

  it("decodes gzip with the inflater it is given, several members too", async () => {
    let made = 0;
    const collected: number[] = [];
    const inflater: InflaterFactory = (emit) => {
      made++;
      return {
        push(input): number {
          collected.push(...input);
          // A decoder that decodes when it has seen everything: enough to tell that the port is all that gzip needs.
          const whole = tryInflate(Uint8Array.from(collected));
          if (whole === undefined) return input.length;
          emit(whole.bytes);
          return input.length - (collected.length - whole.used);
        },
        reset: () => void (collected.length = 0),
        close: () => {},
      };
    };
    const archive = tar({ name: "wanted", body: "content" });
    const stored = Uint8Array.from([...gzipSync(archive.slice(0, 700)), ...gzipSync(archive.slice(700))]);
    const facts = await createLayerEngine({ patterns, version: "1", inflater }).extract(layer(stored), { signal });
    expect(made).toBe(1);
    expect(facts.entries).toEqual([expect.objectContaining({ path: "wanted", size: 7 })]);
  });

  it("finds the same in a layer whatever decodes it", async () => {
    const files = Array.from(
      { length: 300 },
      (_, at) => ({ name: `${at}/${at % 7 ? "other" : "wanted"}`, body: "x".repeat(at * 9) }),
    );
    const stored = Uint8Array.from(gzipSync(tar(...files)));
    const expected = await createLayerEngine({ patterns, version: "1" }).extract(layer(stored), { signal });
    expect(expected.entries.length).toBe(43);
    for (const load of Object.values(INFLATERS)) {
      const engine = createLayerEngine({ patterns, version: "1", inflater: await load() });
      expect(await engine.extract(layer(stored), { signal })).toEqual(expected);
    }
  });

  it("runs layers at the same time", async () => {
    const engine = createLayerEngine({ patterns, version: "1" });
    const stored = Uint8Array.from(gzipSync(tar({ name: "wanted", body: "x".repeat(100_000) })));
    const all = await Promise.all(Array.from({ length: 8 }, () => engine.extract(layer(stored), { signal })));
    for (const facts of all) expect(facts).toEqual(all[0]);
  });
});

function tryInflate(input: Uint8Array): { readonly bytes: Uint8Array; readonly used: number } | undefined {
  try {
    // With `info` node:zlib tells how much input the stream took.
    const { buffer, engine } = inflateRawSync(input, { info: true }) as unknown as {
      buffer: Uint8Array;
      engine: { bytesWritten: number };
    };
    return { bytes: buffer, used: engine.bytesWritten };
  } catch {
    return undefined;
  }
}
