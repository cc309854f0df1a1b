/**
 * The layer engine against its peers: `deno run -A bench/engine.ts [--data DIR] [--runs N] [--write]`.
 *
 * Every row reads the same stored bytes with two engines in turn, in one process on one core, and compares the medians:
 * the ratio holds on a busy machine, where megabytes per second do not. Data that is not in DIR is made from this
 * machine's own files by tar and gzip. `--write` puts the result into docs/BENCHMARKS.json.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createGunzip } from "node:zlib";
import { Gunzip } from "fflate";
import type { InflaterFactory } from "../src/core/ports.ts";
import { Decompressor } from "../src/layers/decompress.ts";
import { layerFail } from "../src/layers/fail.ts";
import { compileWants } from "../src/layers/matcher.ts";
import { TarParser } from "../src/layers/tar.ts";
import { cleanPath } from "../src/layers/tar_path.ts";
import { wasmInflaters } from "../src/wasm/mod.ts";

const CHUNK_BYTES = 256 * 1024;
const fail = layerFail("bench");
const wants = compileWants([
  { paths: ["etc/os-release", "usr/lib/os-release", "var/lib/dpkg/status", "lib/apk/db/installed"], maxBytes: 2 ** 26 },
  { directories: ["var/lib/dpkg/status.d/"], names: ["package.json", "package-lock.json"], maxBytes: 2 ** 24 },
]);

/** What a reading gave, so that two engines can be seen to do the same. */
interface Reading {
  readonly tarBytes: number;
  readonly entries: number;
  readonly wantedBytes: number;
}

/** Reads gzip-compressed tar bytes to filtered entries; with `hash`, it digests the stored bytes too. */
type Engine = (stored: Uint8Array<ArrayBuffer>, hash: boolean) => Promise<Reading>;

/** The tar parser and the path filter that the extractor uses, with counters. */
function tarScan(): { push(bytes: Uint8Array): void; finish(): Reading } {
  let tarBytes = 0;
  let entries = 0;
  let wantedBytes = 0;
  const parser = new TarParser({
    fail,
    sink: {
      header: ({ name, size }): boolean => {
        entries++;
        return size > 0 && wants(cleanPath(name)).limit >= size;
      },
      data: (bytes): void => void (wantedBytes += bytes.length),
      end: (): void => {},
    },
  });
  return {
    push(bytes): void {
      tarBytes += bytes.length;
      parser.push(bytes);
    },
    finish: () => ({ tarBytes, entries, wantedBytes }),
  };
}

/** The chunks of the stored bytes, digested on the way when asked for. */
function* chunksOf(stored: Uint8Array<ArrayBuffer>, hash: boolean): Generator<Uint8Array<ArrayBuffer>> {
  const digest = createHash("sha256");
  for (let at = 0; at < stored.length; at += CHUNK_BYTES) {
    const chunk = stored.subarray(at, at + CHUNK_BYTES);
    if (hash) digest.update(chunk);
    yield chunk;
  }
  if (hash) digest.digest("hex");
}

/** The road of the extractor: framing and CRC on the host, the given DEFLATE decoder below it. */
function extractorWith(inflater: InflaterFactory): Engine {
  return async (stored, hash) => {
    const scan = tarScan();
    const decompressor = new Decompressor({ emit: scan.push, fail, inflater });
    for (const chunk of chunksOf(stored, hash)) await decompressor.push(chunk);
    await decompressor.finish();
    decompressor.close();
    return scan.finish();
  };
}

/** node:zlib's gunzip at its best chunk size, CRC by zlib itself. */
const nodeGunzip: Engine = (stored, hash) =>
  new Promise((resolve, reject) => {
    const scan = tarScan();
    const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
    const chunks = chunksOf(stored, hash);
    const pull = (): void => {
      // Not for-of: leaving it would finish the generator.
      for (let step = chunks.next(); !step.done; step = chunks.next()) {
        if (!gunzip.write(step.value)) {
          gunzip.once("drain", pull);
          return;
        }
      }
      gunzip.end();
    };
    gunzip.on("data", (bytes: Uint8Array) => scan.push(bytes));
    gunzip.on("end", () => resolve(scan.finish()));
    gunzip.on("error", reject);
    pull();
  });

/** fflate's streaming gunzip, which checks no CRC. */
const fflateGunzip: Engine = (stored, hash) => {
  const scan = tarScan();
  const gunzip = new Gunzip((bytes) => scan.push(bytes));
  for (const chunk of chunksOf(stored, hash)) gunzip.push(chunk, false);
  gunzip.push(new Uint8Array(0), true);
  return Promise.resolve(scan.finish());
};

const wasm = extractorWith(wasmInflaters());

/** One comparison. */
interface Row {
  readonly name: string;
  readonly data: string;
  readonly peer: string;
  readonly engine: Engine;
  readonly hash: boolean;
  /** Least ratio that is accepted. */
  readonly target: number;
}

const ZLIB = "node:zlib gunzip + tar scan";
const ROWS: readonly Row[] = [
  { name: "filtered entries with CRC", data: "rootfs", peer: ZLIB, engine: nodeGunzip, hash: false, target: 1.75 },
  { name: "the same with sha256", data: "rootfs", peer: ZLIB, engine: nodeGunzip, hash: true, target: 1.6 },
  { name: "against fflate", data: "rootfs", peer: "fflate + tar scan", engine: fflateGunzip, hash: false, target: 7 },
  { name: "node_modules", data: "node_modules", peer: ZLIB, engine: nodeGunzip, hash: false, target: 1 },
  { name: "binaries", data: "binaries", peer: ZLIB, engine: nodeGunzip, hash: false, target: 1 },
  { name: "incompressible", data: "incompressible", peer: ZLIB, engine: nodeGunzip, hash: false, target: 1 },
  { name: "Huffman codes only", data: "huffman-only", peer: ZLIB, engine: nodeGunzip, hash: false, target: 1 },
];

/** Which files of this machine stand for which data: relative to the root, cut after so many bytes of tar. */
const SOURCES: Readonly<Record<string, { paths: readonly string[]; bytes: number }>> = {
  rootfs: {
    paths: ["etc", "usr/bin", "usr/lib/x86_64-linux-gnu", "usr/share", "usr/include", "var/lib/dpkg"],
    bytes: 626e6,
  },
  node_modules: { paths: ["usr/lib/node_modules"], bytes: 200e6 },
  binaries: { paths: ["usr/bin", "usr/lib/x86_64-linux-gnu"], bytes: 250e6 },
};

async function shell(script: string): Promise<void> {
  const { success } = await new Deno.Command("sh", { args: ["-c", script], stderr: "null" }).output();
  if (!success) throw new Error(`Cannot make the data: ${script}`);
}

/** The stored bytes of a data set, made on the first call. */
async function load(name: string, folder: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = `${folder}/${name}.tar.gz`;
  const exists = await Deno.stat(file).then(() => true, () => false);
  const source = SOURCES[name];
  if (!exists && source !== undefined) {
    // tar may complain of unreadable files, and of the pipe that head closes.
    await shell(`tar cf - -C / ${source.paths.join(" ")} | head -c ${source.bytes} | gzip -6 > ${file}`);
  } else if (!exists) {
    const { constants, gzipSync } = await import("node:zlib");
    const { mixedData, randomOf } = await import("../tests/fakes/deflate_streams.ts");
    const { tar } = await import("../tests/fakes/tar_builder.ts");
    const random = randomOf(1);
    const body = name === "incompressible"
      ? Uint8Array.from({ length: 120e6 }, () => random() * 256)
      : mixedData(120e6, random);
    const strategy = name === "incompressible" ? constants.Z_DEFAULT_STRATEGY : constants.Z_HUFFMAN_ONLY;
    await Deno.writeFile(file, gzipSync(tar({ name: "data", body }), { strategy }));
  }
  return await Deno.readFile(file);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

async function seconds(engine: Engine, stored: Uint8Array<ArrayBuffer>, hash: boolean): Promise<[number, Reading]> {
  const start = performance.now();
  const reading = await engine(stored, hash);
  return [(performance.now() - start) / 1000, reading];
}

async function measure(row: Row, stored: Uint8Array<ArrayBuffer>, runs: number): Promise<Record<string, unknown>> {
  const ours: number[] = [];
  const peers: number[] = [];
  let tarBytes = 0;
  // One more than is counted: the first compiles.
  for (let run = 0; run <= runs; run++) {
    const [a, mine] = await seconds(wasm, stored, row.hash);
    const [b, theirs] = await seconds(row.engine, stored, row.hash);
    if (JSON.stringify(mine) !== JSON.stringify(theirs)) throw new Error(`The engines differ: ${row.name}`);
    tarBytes = mine.tarBytes;
    if (run > 0) ours.push(a), peers.push(b);
  }
  const round = (value: number): number => Number(value.toPrecision(4));
  return {
    name: row.name,
    data: row.data,
    storedMB: round(stored.length / 1e6),
    tarMB: round(tarBytes / 1e6),
    unit: "seconds, median",
    ours: round(median(ours)),
    peer: round(median(peers)),
    peerName: row.peer,
    ratio: Number((median(peers) / median(ours)).toFixed(2)),
    target: row.target,
  };
}

/** Runs this program again on one core, where `taskset` exists; undefined where not. */
async function onOneCore(): Promise<number | undefined> {
  if (Deno.env.get("BENCH_PINNED") !== undefined) return undefined;
  const args = ["-c", "0", Deno.execPath(), "run", "-A", import.meta.filename ?? "", ...Deno.args];
  try {
    return (await new Deno.Command("taskset", { args, env: { BENCH_PINNED: "1" } }).spawn().status).code;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function option(name: string): string | undefined {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Deno.args[at + 1];
}

async function cpuModel(): Promise<string> {
  const info = await Deno.readTextFile("/proc/cpuinfo").catch(() => "");
  return /model name\s*: (.*)/.exec(info)?.[1] ?? Deno.build.arch;
}

async function main(): Promise<number> {
  const pinned = await onOneCore();
  if (pinned !== undefined) return pinned;
  const folder = option("--data") ?? await Deno.makeTempDir();
  await Deno.mkdir(folder, { recursive: true });
  const runs = Number(option("--runs") ?? 9);
  const rows: Record<string, unknown>[] = [];
  const print = (line: string): number => Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
  for (const row of ROWS) {
    const result = await measure(row, await load(row.data, folder), row.peer === ZLIB ? runs : Math.min(runs, 5));
    rows.push(result);
    print(
      `${row.name.padEnd(28)} ${String(result.ratio).padStart(6)} x  (at least ${row.target})  ` +
        `${result.ours} s against ${result.peer} s, ${result.tarMB} MB of tar`,
    );
  }
  if (option("--data") === undefined) await Deno.remove(folder, { recursive: true });
  if (Deno.args.includes("--write")) await write(rows, runs);
  return rows.every((row) => (row.ratio as number) >= (row.target as number)) ? 0 : 1;
}

async function write(rows: readonly Record<string, unknown>[], runs: number): Promise<void> {
  const file = new URL("../docs/BENCHMARKS.json", import.meta.url);
  const all = JSON.parse(await Deno.readTextFile(file).catch(() => "{}")) as Record<string, unknown>;
  const engine = {
    command: "deno run -A bench/engine.ts --write",
    date: new Date().toISOString().slice(0, 10),
    machine: `${await cpuModel()}, one core, Deno ${Deno.version.deno}`,
    method: `two engines in turn in one process, ratio of the medians of ${runs} runs (of 5 against fflate)`,
    rows,
  };
  await Deno.writeTextFile(file, `${JSON.stringify({ ...all, engine }, null, 2)}\n`);
}

if (import.meta.main) Deno.exitCode = await main();
