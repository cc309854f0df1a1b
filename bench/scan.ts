/**
 * One image, scanned by Snyk's plugin and by the command line as the task `scan:built` runs it:
 * `deno run -A bench/scan.ts [--rounds N] [--write]`.
 *
 * The image is a Debian with Python, Node.js and Java, a virtual environment, node_modules, jars and Go programs, in gzip
 * layers, and a second one a fat jar of 200 MB. Both read the same oci-archive from the page cache, on the same core, in
 * turn; a first round is not counted, so that nothing is transpiled or read from the disk.
 *
 * @module
 */
import { ROOT } from "../tests/e2e/daemon.ts";
import { PEERS_DIR } from "../tests/peers/mod.ts";
import { build as buildProgram } from "../tools/build.ts";
import { Content } from "./image_content.ts";
import { imageOf, type LayerFile, writeArchive } from "./image_files.ts";
import {
  atMost,
  line,
  load,
  machine,
  measure,
  median,
  printRows,
  type Row,
  type Sample,
  say,
  taskWords,
  timesBelow,
  writeBenchmark,
} from "./measure.ts";
import { installPlugin, type Plugin } from "./plugin.ts";

const MB = 1e6;
const ROUNDS = 5;
const FOLDER = `${PEERS_DIR}/bench`;
const FAT_JAR_BYTES = 200 * MB;

/** One round of both. */
interface Round {
  readonly ours: Sample;
  readonly peer: Sample;
}

/** What an image is made of, in numbers. */
interface Built {
  readonly file: string;
  readonly layers: number;
  readonly tarMB: number;
  readonly storedMB: number;
}

async function build(name: string, layers: readonly LayerFile[]): Promise<Built> {
  const file = `${FOLDER}/${name}.tar`;
  await writeArchive(imageOf(layers), file);
  const sum = (of: (layer: LayerFile) => number): number =>
    Math.round(layers.reduce((total, layer) => total + of(layer), 0) / MB);
  return { file, layers: layers.length, tarMB: sum((layer) => layer.tarBytes), storedMB: sum((layer) => layer.size) };
}

async function usualLayers(content: Content): Promise<readonly LayerFile[]> {
  return [
    ...await content.groups(["base", "shell", "python"]),
    await content.nodeRuntime(),
    await content.python("web"),
    await content.node("web"),
    await content.java("maven"),
    await content.go("registry"),
    await content.files("application-files", { "srv/app/server.js": "require('express')().listen(8080)\n" }),
  ];
}

/** Both, in turn; who is first changes with the round. */
async function rounds(plugin: Plugin, { file }: Built, count: number): Promise<readonly Round[]> {
  const source = `oci-archive:${file}`;
  const [command = "", ...args] = await taskWords("scan:built");
  const ours = (): Promise<Sample> =>
    succeeded(measure(command, [...args, "--format", "snyk", "--image-name", "bench/image:1", source]));
  const peer = (): Promise<Sample> => succeeded(measure(plugin.command, plugin.args(source, "bench/image:1")));
  const all: Round[] = [];
  for (let turn = 0; turn <= count; turn++) {
    const first = turn % 2 === 0 ? await ours() : undefined;
    const theirs = await peer();
    const round = { ours: first ?? await ours(), peer: theirs };
    const told = (sample: Sample): string =>
      `${sample.seconds.toFixed(2)} s, CPU ${sample.cpuSeconds.toFixed(2)} s, ${Math.round(sample.peakRssMB)} MB`;
    say(`${turn}/${count} ours ${told(round.ours)}; peer ${told(round.peer)}; load ${load()}`);
    if (turn > 0) all.push(round);
  }
  return all;
}

async function succeeded(run: Promise<Sample>): Promise<Sample> {
  const sample = await run;
  if (sample.code !== 0) throw new Error(`A scan ended with ${sample.code}: ${sample.stderr.slice(-2000)}`);
  return sample;
}

/** How much each found: a scan that finds less is no faster one. */
function found(sample: Sample): { readonly results: number; readonly packages: number } {
  interface Fact {
    readonly type: string;
    readonly data: { readonly pkgs?: readonly unknown[] } & readonly unknown[];
  }
  const results = JSON.parse(sample.stdout) as readonly { readonly facts: readonly Fact[] }[];
  const count = ({ type, data }: Fact): number =>
    type === "depGraph" ? (data.pkgs?.length ?? 1) - 1 : type === "jarFingerprints" ? 1 : 0;
  const packages = results.flatMap(({ facts }) => facts).reduce((total, fact) => total + count(fact), 0);
  return { results: results.length, packages };
}

function pairs(all: readonly Round[], of: (sample: Sample) => number): readonly (readonly [number, number])[] {
  return all.map(({ ours, peer }) => [of(ours), of(peer)]);
}

function peak(all: readonly Round[], whose: keyof Round): number {
  return median(all.map((round) => round[whose].peakRssMB));
}

function judge(usual: readonly Round[], fat: readonly Round[]): readonly Row[] {
  return [
    timesBelow("usual image, wall", "s", pairs(usual, (sample) => sample.seconds), 5),
    timesBelow("usual image, CPU", "s", pairs(usual, (sample) => sample.cpuSeconds), 5),
    atMost("usual image, peak RSS", "MB", peak(usual, "ours"), 140, peak(usual, "peer")),
    timesBelow("fat jar of 200 MB, wall", "s", pairs(fat, (sample) => sample.seconds), 1),
    timesBelow("fat jar of 200 MB, CPU", "s", pairs(fat, (sample) => sample.cpuSeconds), 1),
    atMost("fat jar of 200 MB, peak RSS", "MB", peak(fat, "ours"), 160, peak(fat, "peer")),
  ];
}

async function main(count: number, write: boolean): Promise<void> {
  const began = load();
  const plugin = await installPlugin();
  const content = new Content(FOLDER);
  await buildProgram(`${ROOT}dist`);
  const usual = await build("usual", await usualLayers(content));
  const fat = await build("fat-jar", [...await content.groups(["base"]), await content.fatJar(FAT_JAR_BYTES)]);
  const described = ({ layers, tarMB, storedMB }: Built): string =>
    `${tarMB} MB in ${layers} gzip layers of ${storedMB} MB`;
  line(`usual image: ${described(usual)}; fat jar: ${described(fat)}`);
  const usualRounds = await rounds(plugin, usual, count);
  const fatRounds = await rounds(plugin, fat, count);
  const rows = judge(usualRounds, fatRounds);
  printRows(rows);
  const last = usualRounds.at(-1);
  const lastFat = fatRounds.at(-1);
  if (last === undefined || lastFat === undefined) throw new Error("At least one round is needed");
  const results = {
    usual: { ours: found(last.ours), peer: found(last.peer) },
    fatJar: { ours: found(lastFat.ours), peer: found(lastFat.peer) },
  };
  line(`found: ${JSON.stringify(results)}`);
  if (!write) return;
  await writeBenchmark("scan", {
    command: "deno run -A bench/scan.ts --write",
    date: new Date().toISOString().slice(0, 10),
    machine: machine(began),
    peer: plugin.name,
    method: `medians of ${count} rounds, and of their ratios (the peer's figure by ours); in turn, one core, the ` +
      "same oci-archive in the page cache; ours is the task scan:built with --format snyk",
    images: { usual: described(usual), fatJar: described(fat) },
    found: results,
    rows,
  });
}

if (import.meta.main) {
  const at = Deno.args.indexOf("--rounds");
  await main(at < 0 ? ROUNDS : Number(Deno.args[at + 1]), Deno.args.includes("--write"));
}
