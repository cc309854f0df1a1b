/**
 * The whole command on an archive of one large layer, beside node:zlib's gunzip of that layer alone, which neither
 * verifies a digest nor reads a package: `deno run -A bench/archive.ts [--runs N] [--write]`.
 *
 * The layer is made of this machine's own files. Both run on one core, in turn; wall time, median of the ratios. `--write`
 * puts the result into docs/BENCHMARKS.json.
 *
 * @module
 */
import { ROOT } from "../tests/e2e/daemon.ts";
import { run } from "../tests/peers/process.ts";
import { build } from "../tools/build.ts";
import { line, load, machine, measure, printRows, say, taskWords, timesBelow, writeBenchmark } from "./measure.ts";

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

/** An OCI archive of one gzip layer, and the layer beside it. */
async function makeArchive(folder: string): Promise<void> {
  const find = `cd / && find ${FOLDERS.join(" ")} -xdev -type f -printf '%s %p\\n'`;
  const cut = `awk '{ bytes += $1 + 1024; if (bytes > ${TAR_BYTES}) exit; sub(/^[0-9]+ /, ""); print }'`;
  await shell(
    `(${find} 2>/dev/null || true) | ${cut} > list; tar cf layer.tar -C / -T list; gzip -6 -n -k layer.tar`,
    folder,
  );
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

async function main(): Promise<number> {
  const before = load();
  const runs = Number(option("--runs") ?? 9);
  const folder = await Deno.makeTempDir({ prefix: "outpost-bench-" });
  await makeArchive(folder);
  await build(`${ROOT}dist`);
  await Deno.writeTextFile(`${folder}/gunzip.ts`, GUNZIP);
  const [command = "", ...scan] = [...await taskWords("scan:built"), "--quiet", "--format", "json"];
  const pairs: [number, number][] = [];
  for (let turn = 0; turn <= runs; turn++) {
    const ours = await measure(command, [...scan, `oci-archive:${folder}/image.tar`]);
    const peer = await measure(Deno.execPath(), [
      "run",
      "-q",
      "-A",
      "--no-config",
      `${folder}/gunzip.ts`,
      `${folder}/layer.tar.gz`,
    ]);
    if (![0, 3].includes(ours.code) || peer.code !== 0) throw new Error(ours.stderr + peer.stderr);
    say(`${turn}/${runs} scan ${ours.seconds.toFixed(2)} s, gunzip ${peer.seconds.toFixed(2)} s`);
    if (turn > 0) pairs.push([ours.seconds, peer.seconds]);
  }
  const rows = [timesBelow("scan of a one-layer archive, against gunzip of its layer alone", "s", pairs, TARGET)];
  line(`layer: ${((await Deno.stat(`${folder}/layer.tar.gz`)).size / 1e6).toFixed(0)} MB of gzip`);
  await Deno.remove(folder, { recursive: true });
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
