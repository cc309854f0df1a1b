/**
 * The whole command on an archive of one large layer, beside node:zlib's gunzip of that layer alone, which neither
 * verifies a digest nor reads a package: `deno run -A bench/archive.ts [--runs N] [--write]`.
 *
 * One layer is made of this machine's own files, another is that of bench/daemon.ts, which is stored in more bytes. All run
 * on one core, in turn; wall time, median of the ratios. Beside them, what both digests and decompression alone take.
 * `--write` puts the result into docs/BENCHMARKS.json.
 *
 * @module
 */
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { ROOT } from "../tests/e2e/daemon.ts";
import { LARGE_GZIP, largeTar } from "../tests/peers/large_image.ts";
import { run } from "../tests/peers/process.ts";
import { build } from "../tools/build.ts";
import {
  load,
  machine,
  measure,
  median,
  printRows,
  rounded,
  type Row,
  say,
  taskWords,
  timesBelow,
  writeBenchmark,
} from "./measure.ts";

const TAR_BYTES = 626e6;
const TARGET = 1;
const FOLDERS = ["etc", "usr/bin", "usr/lib/x86_64-linux-gnu", "usr/share", "usr/include", "var/lib/dpkg"];

const GUNZIP = `import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
const options = { highWaterMark: 262144 };
createReadStream(Deno.args[0], options).pipe(createGunzip({ chunkSize: 262144 })).resume();
`;

async function shell(script: string, folder: string): Promise<void> {
  const { code, stderr } = await run("bash", ["-ec", script], { cwd: folder });
  if (code !== 0) throw new Error(stderr);
}

/** A layer: its name, and what makes layer.tar and layer.tar.gz of it. */
interface Layer {
  readonly name: string;
  readonly make: (folder: string) => Promise<void>;
}

const LAYERS: readonly Layer[] = [
  { name: "scan of a one-layer archive, against gunzip of its layer alone", make: machineLayer },
  { name: "the same with the layer of bench/daemon.ts", make: modelLayer },
];

async function machineLayer(folder: string): Promise<void> {
  const find = `cd / && find ${FOLDERS.join(" ")} -xdev -type f -printf '%s %p\\n'`;
  const cut = `awk '{ bytes += $1 + 1024; if (bytes > ${TAR_BYTES}) exit; sub(/^[0-9]+ /, ""); print }'`;
  await shell(
    `(${find} 2>/dev/null || true) | ${cut} > list; tar cf layer.tar -C / -T list; gzip -6 -n -k layer.tar`,
    folder,
  );
}

async function modelLayer(folder: string): Promise<void> {
  using tar = await Deno.create(`${folder}/layer.tar`);
  for (const chunk of largeTar(TAR_BYTES)) for (let at = 0; at < chunk.length;) at += tar.writeSync(chunk.subarray(at));
  // Not gzip(1), which makes other bytes of it.
  const gzip = createGzip(LARGE_GZIP);
  await pipeline(createReadStream(`${folder}/layer.tar`), gzip, createWriteStream(`${folder}/layer.tar.gz`));
}

/** An OCI archive of layer.tar.gz, which stays beside it. */
async function makeArchive(folder: string): Promise<void> {
  const digest = (file: string): string => `$(sha256sum ${file} | cut -d' ' -f1)`;
  await shell(
    `mkdir -p image/blobs/sha256
put() { d=${
      digest('"$1"')
    }; cp "$1" "image/blobs/sha256/$d"; echo "\\"digest\\":\\"sha256:$d\\",\\"size\\":$(stat -c %s "$1")"; }
layer=$(put layer.tar.gz)
echo "{\\"architecture\\":\\"amd64\\",\\"os\\":\\"linux\\",\\"config\\":{},\\"rootfs\\":{\\"type\\":\\"layers\\",\\"diff_ids\\":[\\"sha256:${
      digest("layer.tar")
    }\\"]}}" > config
config=$(put config)
t=application/vnd.oci.image
echo "{\\"schemaVersion\\":2,\\"mediaType\\":\\"$t.manifest.v1+json\\",\\"config\\":{\\"mediaType\\":\\"$t.config.v1+json\\",$config},\\"layers\\":[{\\"mediaType\\":\\"$t.layer.v1.tar+gzip\\",$layer}]}" > manifest
echo "{\\"schemaVersion\\":2,\\"manifests\\":[{\\"mediaType\\":\\"$t.manifest.v1+json\\",$(put manifest)}]}" > image/index.json
echo '{"imageLayoutVersion":"1.0.0"}' > image/oci-layout
tar cf image.tar -C image .; rm -r image layer.tar`,
    folder,
  );
}

function option(name: string): string | undefined {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Deno.args[at + 1];
}

/** Seconds of the scan, of gunzip, and of what the scan cannot do without. */
type Turn = readonly [ours: number, peer: number, least: number];

async function measureLayer(folder: string, runs: number): Promise<readonly Turn[]> {
  const [command = "", ...scan] = [...await taskWords("scan:built"), "--quiet", "--format", "json"];
  const layer = `${folder}/layer.tar.gz`;
  const turns: Turn[] = [];
  for (let turn = 0; turn <= runs; turn++) {
    const ours = await measure(command, [...scan, `oci-archive:${folder}/image.tar`]);
    const peer = await measure(Deno.execPath(), ["run", "-q", "-A", "--no-config", `${folder}/gunzip.ts`, layer]);
    const least = await measure(Deno.execPath(), ["run", "-q", "-A", "bench/archive_digests.ts", layer]);
    const ended = [0, 3].includes(ours.code) && peer.code === 0 && least.code === 0;
    if (!ended) throw new Error(ours.stderr + peer.stderr + least.stderr);
    const seconds: Turn = [ours.seconds, peer.seconds, least.seconds];
    say(`${turn}/${runs} scan, gunzip, digests and decompression: ${seconds.map((s) => s.toFixed(2)).join(", ")} s`);
    if (turn > 0) turns.push(seconds);
  }
  return turns;
}

async function measureArchive({ name, make }: Layer, runs: number): Promise<Row> {
  const folder = await Deno.makeTempDir({ prefix: "outpost-bench-" });
  try {
    await make(folder);
    await makeArchive(folder);
    await Deno.writeTextFile(`${folder}/gunzip.ts`, GUNZIP);
    const turns = await measureLayer(folder, runs);
    const least = rounded(median(turns.map(([, , seconds]) => seconds)));
    const megabytes = Math.round((await Deno.stat(`${folder}/layer.tar.gz`)).size / 1e6);
    const row = timesBelow(name, "s", turns.map(([ours, peer]) => [ours, peer]), TARGET);
    return { ...row, note: `${megabytes} MB of gzip; both digests and decompression alone: ${least} s` };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function main(): Promise<number> {
  const before = load();
  const runs = Number(option("--runs") ?? 9);
  await build(`${ROOT}dist`);
  const rows: Row[] = [];
  for (const layer of LAYERS) rows.push(await measureArchive(layer, runs));
  printRows(rows);
  if (Deno.args.includes("--write")) {
    await writeBenchmark("archive", {
      command: "deno run -A bench/archive.ts --write",
      date: new Date().toISOString().slice(0, 10),
      machine: machine(before),
      method:
        `wall time of whole processes in turn, median of the ratios of ${runs} rounds; ours also computes the digests of the stored and of the unpacked bytes and reports packages`,
      rows,
    });
  }
  return rows.every(({ met }) => met) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
