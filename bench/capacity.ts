/**
 * The capacity model on the figures of docs/BENCHMARKS.json: its constants, how far it is from what was measured, and what
 * it says of a million images. `deno run -R bench/capacity.ts` prints the tables of docs/SCALE.md, and
 * `deno run -RW bench/capacity.ts --write` puts them there.
 *
 * @module
 */
import { capacity, type Costs, fitCosts, type Measurement, type Site, type Workload } from "./capacity_model.ts";

const BENCHMARKS = new URL("../docs/BENCHMARKS.json", import.meta.url);
const DOCUMENT = new URL("../docs/SCALE.md", import.meta.url);
/** Between these lines are the tables. */
const MARKS = ["<!-- begin: deno run -R bench/capacity.ts -->\n", "<!-- end -->\n"] as const;

interface Row {
  readonly name: string;
  readonly ours: number;
}

interface LatencyRow {
  readonly what: string;
  readonly front: string;
  readonly ours: { readonly seconds: number };
}

/** Of all rounds of bench/scale.ts. */
interface ScaleSeconds {
  readonly secondsOfOne: readonly number[];
  readonly secondsOfTwo: readonly number[];
  /** On the same cores while two daemons worked: of registry, NATS and the program that asks. */
  readonly secondsOfOthers: readonly number[];
}

/** What is read of docs/BENCHMARKS.json. */
export interface Benchmarks {
  readonly fleet: { readonly fleet: string; readonly coldMedianSeconds: number; readonly rows: readonly Row[] };
  readonly scan: { readonly images: { readonly usual: string }; readonly rows: readonly Row[] };
  readonly archive: { readonly rows: readonly Row[] };
  readonly latency: { readonly method: string; readonly rows: readonly LatencyRow[] };
  readonly queue: {
    readonly perJob: {
      readonly writes: number;
      readonly seconds: number;
      readonly cpuSeconds: number;
      readonly followerCpuSeconds: number;
    };
  };
  /** Of bench/scale.ts; absent until it was run. */
  readonly scale?: ScaleSeconds & {
    readonly fleet: string;
    /** The same with the registry so far away. */
    readonly away: ScaleSeconds & { readonly ms: number };
    /** The first one's note has the seconds on the cores. */
    readonly rows: readonly { readonly note?: string }[];
  };
}

/** A measured time beside the model's. */
export interface Point {
  readonly name: string;
  readonly measuredSeconds: number;
  readonly modelSeconds: number;
  /** How the model's constants depend on it. */
  readonly use: "fitted" | "measured" | "check";
  /** Whether the model claims to be right about it: the work is like that which it was fitted to. */
  readonly claimed: boolean;
}

/** The model with its constants, and the fleet that they come from. */
export interface Model {
  readonly costs: Costs;
  /** Acknowledged writes in a second, one after the other. */
  readonly queueWritesPerSecond: number;
  /** Of an image of the fleet: bytes of new layers, and of all of its layers, stored, in 10⁹. */
  readonly newStoredGB: number;
  readonly imageStoredGB: number;
  readonly newLayersPerImage: number;
  /** Unpacked bytes by stored ones. */
  readonly expansion: number;
  readonly points: readonly Point[];
}

/** Names and sizes of the images of bench/latency.ts: layers, and 10⁹ bytes of tar. */
const FAR_IMAGES: Readonly<Record<string, readonly [layers: number, tarGB: number]>> = {
  "12 layers of 0.5 MB": [12, 0.006],
  "10 layers of 4 MB": [10, 0.04],
  "one of 120 MB, 8 of 3 MB": [9, 0.144],
};
/** Unpacked bytes of the archive of bench/archive.ts: Debian packages alone, in one layer. */
const ARCHIVE_TAR_GB = 0.626;

const NOTHING: Workload = { newImages: 0, retests: 0, jobs: 0, distinctLayers: 0, storedGB: 0, tarGB: 0 };
/** One daemon beside its registry, without a queue. */
const NEAR: Site = {
  daemons: 1,
  cores: 1,
  atOnce: 1,
  registryMBPerSecond: Infinity,
  registryLatencySeconds: 0,
  callbackSeconds: 0,
  queueWritesPerSecond: Infinity,
};

function figure(rows: readonly Row[], name: string): number {
  const found = rows.find((row) => row.name === name)?.ours;
  if (found === undefined) throw new RangeError(`docs/BENCHMARKS.json has no row "${name}"`);
  return found;
}

function numbers(text: string, pattern: RegExp): readonly number[] {
  const found = pattern.exec(text);
  if (found === null) throw new RangeError(`docs/BENCHMARKS.json has "${text}", which is not ${pattern}`);
  return found.slice(1).map(Number);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

/**
 * The model of these figures.
 *
 * @throws {RangeError} when one that it needs is missing.
 */
export function modelOf(benchmarks: Benchmarks): Model {
  const { fleet, scan, queue } = benchmarks;
  const [images = NaN, imageTarMB = NaN, imageStoredMB = NaN, layers = NaN, storedMB = NaN] = numbers(
    fleet.fleet,
    /^(\d+) images of (\d+) MB on average \((\d+) MB gzip\), (\d+) distinct layers of (\d+) MB gzip$/,
  );
  const expansion = imageTarMB / imageStoredMB;
  const [usualTarMB = NaN] = numbers(scan.images.usual, /^(\d+) MB in \d+ gzip layers/);
  const fleetSeconds = figure(fleet.rows, `fleet of ${images}, wall`);
  const usualSeconds = figure(scan.rows, "usual image, wall");
  const fitted: readonly Measurement[] = [
    { tarGB: storedMB * expansion / 1000, newImages: images, seconds: fleetSeconds },
    { tarGB: imageTarMB / 1000, newImages: 1, seconds: fleet.coldMedianSeconds },
    { tarGB: usualTarMB / 1000, newImages: 1, seconds: usualSeconds },
  ];
  const costs: Costs = {
    ...fitCosts(fitted),
    secondsPerRetest: figure(fleet.rows, "the fleet again, an image"),
    secondsPerJob: queue.perJob.cpuSeconds,
    secondsPerFollowedJob: queue.perJob.followerCpuSeconds,
    writesPerJob: queue.perJob.writes,
  };
  const queueWritesPerSecond = queue.perJob.writes / queue.perJob.seconds;
  const point = (
    name: string,
    measuredSeconds: number,
    work: Partial<Workload>,
    use: Point["use"],
    { claimed = true, site = {} }: { readonly claimed?: boolean; readonly site?: Partial<Site> } = {},
  ): Point => {
    // What is accepted by one request of a daemon without a queue costs the queue nothing.
    const said = capacity({ ...NOTHING, ...work }, { ...NEAR, ...site }, costs);
    return { name, measuredSeconds, modelSeconds: said.hours * 3600, use, claimed };
  };
  const fittedNames = [`fleet of ${images}, cold`, "one cold image", "one image of an archive"];
  return {
    costs,
    queueWritesPerSecond,
    newStoredGB: storedMB / 1000 / images,
    imageStoredGB: imageStoredMB / 1000,
    newLayersPerImage: layers / images,
    expansion,
    points: [
      ...fitted.map(({ seconds, ...work }, at) => point(fittedNames[at] ?? "", seconds, work, "fitted")),
      point("the fleet again", costs.secondsPerRetest * images, { retests: images }, "measured"),
      ...scalePoints(benchmarks, expansion, queueWritesPerSecond, point),
      ...farPoints(benchmarks, point),
      point(
        "one layer of Debian packages",
        figure(benchmarks.archive.rows, "scan of a one-layer archive, against gunzip of its layer alone"),
        { newImages: 1, tarGB: ARCHIVE_TAR_GB },
        "check",
        { claimed: false },
      ),
    ],
  };
}

type MakePoint = (
  name: string,
  measuredSeconds: number,
  work: Partial<Workload>,
  use: Point["use"],
  options?: { readonly claimed?: boolean; readonly site?: Partial<Site> },
) => Point;

/** Of the machine of bench/scale.ts. */
const CORES = 2;

/** One daemon and two on a queue, each with a core that it shares with registry, NATS and the program that asks. */
function scalePoints(
  { scale }: Benchmarks,
  expansion: number,
  queueWritesPerSecond: number,
  point: MakePoint,
): readonly Point[] {
  if (scale === undefined) return [];
  const [images = NaN, layers = NaN, storedMB = NaN] = numbers(
    scale.fleet,
    /^(\d+) images, (\d+) distinct layers of (\d+) MB gzip$/,
  );
  const work: Partial<Workload> = {
    newImages: images,
    jobs: images,
    distinctLayers: layers,
    storedGB: storedMB / 1000,
    tarGB: storedMB * expansion / 1000,
  };
  const [coresOfTwo = NaN, coresOfOne = NaN] = numbers(
    scale.rows[0]?.note ?? "",
    /; on the cores ([\d.]+) s after ([\d.]+) s$/,
  );
  const { away } = scale;
  const runs = [["one daemon", 1, "secondsOfOne", coresOfOne], ["two daemons", 2, "secondsOfTwo", coresOfTwo]] as const;
  return runs.flatMap(([name, daemons, seconds, onCores]) => {
    const site = { daemons, cores: CORES, queueWritesPerSecond };
    const alone = point(`${images} images, ${name} on a queue`, median(scale[seconds]), work, "check", { site });
    const distant = point(
      `${images} images, ${name} on a queue, ${away.ms} ms away`,
      median(away[seconds]),
      work,
      "check",
      {
        site: { ...site, registryLatencySeconds: away.ms / 1000 },
      },
    );
    const daemonSeconds = alone.modelSeconds * daemons;
    // Nobody is done before the cores are done with everybody's work.
    const shared = (others: readonly number[]): number => (daemonSeconds + median(others)) / CORES;
    const wall = { ...alone, modelSeconds: Math.max(alone.modelSeconds, shared(scale.secondsOfOthers)) };
    // Where the two differ, the daemons waited: for each other, or for a core that others used. The costs are fitted to
    // whole times, so nothing is claimed of seconds on the cores.
    const cores = { ...wall, claimed: false, measuredSeconds: onCores, modelSeconds: daemonSeconds };
    return [
      wall,
      { ...cores, name: `${images} images, ${name} on a queue: seconds on the cores` },
      { ...distant, modelSeconds: Math.max(distant.modelSeconds, shared(away.secondsOfOthers)) },
    ];
  });
}

/** Images of a registry that is far away, which the numbers of waits were chosen to fit. */
function farPoints({ latency }: Benchmarks, point: MakePoint): readonly Point[] {
  const [delayMs = NaN] = numbers(latency.method, /delayed by (\d+) ms/);
  return latency.rows.filter(({ front }) => front === "daemon").map(({ what, ours }) => {
    const [distinctLayers, tarGB] = FAR_IMAGES[what] ?? [NaN, NaN];
    const site = { registryLatencySeconds: delayMs / 1000 };
    return point(`${what}, ${delayMs} ms away`, ours.seconds, { newImages: 1, distinctLayers, tarGB }, "fitted", {
      site,
    });
  });
}

/** How far the model is from a measurement, in hundredths of it. */
export function errorPercent({ measuredSeconds, modelSeconds }: Point): number {
  return (modelSeconds / measuredSeconds - 1) * 100;
}

const IMAGES = 1_000_000;
const GBIT_MB = 125;
const LATENCY_SECONDS = 0.02;
const CALLBACK_SECONDS = 0.1;
const FLEETS = [1, 4, 16] as const;

/** The million: name, bytes stored of new layers and new layers for each image, and whether nothing has changed. */
function millions(model: Model): readonly (readonly [name: string, work: Workload])[] {
  const fresh = (storedGB: number, layers: number): Workload => ({
    newImages: IMAGES,
    retests: 0,
    jobs: IMAGES,
    distinctLayers: IMAGES * layers,
    storedGB: IMAGES * storedGB,
    tarGB: IMAGES * storedGB * model.expansion,
  });
  const mb = (gb: number): string => shown(gb * 1000);
  return [
    [
      `new, sharing layers as the fleet does (${mb(model.newStoredGB)} MB of new layers each)`,
      fresh(
        model.newStoredGB,
        model.newLayersPerImage,
      ),
    ],
    ["new, 50 MB of new layers each", fresh(0.05, 2)],
    [`new, nothing shared (${mb(model.imageStoredGB)} MB in 5 layers each)`, fresh(model.imageStoredGB, 5)],
    ["unchanged since their last scan", { ...NOTHING, retests: IMAGES, jobs: IMAGES }],
  ];
}

/** The tables of docs/SCALE.md. */
export function tables(model: Model): string {
  const { costs, queueWritesPerSecond } = model;
  const constants = [
    ["| constant | value | how |", "|---|---|---|"],
    [`| seconds for 10⁹ bytes of tar | ${shown(costs.secondsPerTarGB)} | fitted |`],
    [`| seconds for a new image besides its layers | ${shown(costs.secondsPerNewImage)} | fitted |`],
    [`| seconds for an unchanged image | ${shown(costs.secondsPerRetest)} | measured |`],
    [`| seconds of a daemon for a job in the queue | ${shown(costs.secondsPerJob)} | measured |`],
    [`| seconds of each other daemon for that job | ${shown(costs.secondsPerFollowedJob)} | measured |`],
    [`| acknowledged writes for a job of one image | ${shown(costs.writesPerJob)} | measured |`],
    [`| acknowledged writes in a second, one at a time | ${shown(queueWritesPerSecond)} | measured |`],
    [`| bytes of tar for a stored byte | ${shown(model.expansion)} | measured |`],
  ].flat();
  const points = [
    "| work | measured, s | model, s | error | |",
    "|---|---|---|---|---|",
    ...model.points.map((point) => {
      const use = point.claimed ? point.use : `${point.use}; not claimed`;
      const error = Math.round(errorPercent(point));
      const signed = `${error > 0 ? "+" : error < 0 ? "−" : ""}${Math.abs(error)} %`;
      return `| ${point.name} | ${shown(point.measuredSeconds)} | ${shown(point.modelSeconds)} | ${signed} | ${use} |`;
    }),
  ];
  return [constants, points, projection(model)].map((lines) => `${lines.join("\n")}\n`).join("\n");
}

function projection(model: Model): readonly string[] {
  const site = (daemons: number, gbit: number): Site => ({
    daemons,
    cores: daemons,
    atOnce: 4,
    registryMBPerSecond: gbit * GBIT_MB,
    registryLatencySeconds: LATENCY_SECONDS,
    callbackSeconds: CALLBACK_SECONDS,
    queueWritesPerSecond: daemons === 1 ? Infinity : model.queueWritesPerSecond,
  });
  const cell = (work: Workload, place: Site): string => {
    const costs = place.daemons === 1 ? { ...model.costs, secondsPerJob: 0 } : model.costs;
    const { hours, imagesPerHour, bottleneck } = capacity(work, place, costs);
    return `${shown(hours)} h, ${shown(imagesPerHour)}/h, ${bottleneck}`;
  };
  return [
    `| a million images | registry | ${
      FLEETS.map((count) => count === 1 ? "1 daemon" : `${count} daemons`).join(" | ")
    } |`,
    `|---|---|${FLEETS.map(() => "---|").join("")}`,
    ...millions(model).flatMap(([name, work]) =>
      (work.storedGB === 0 ? [1] : [1, 10]).map((gbit) =>
        `| ${name} | ${gbit} Gbit/s | ${FLEETS.map((count) => cell(work, site(count, gbit))).join(" | ")} |`
      )
    ),
  ];
}

/** Three digits at least, thousands set apart: what a model can tell. */
function shown(value: number): string {
  const rounded = Number(value.toPrecision(3));
  return rounded >= 1000 ? rounded.toLocaleString("en-US") : String(rounded);
}

/** The document with other tables. */
export function withTables(document: string, text: string): string {
  const [begin, end] = MARKS.map((mark) => document.indexOf(mark));
  if (begin === undefined || end === undefined || begin < 0 || end < begin) {
    throw new RangeError("docs/SCALE.md has no place for the tables");
  }
  return `${document.slice(0, begin + MARKS[0].length)}\n${text}\n${document.slice(end)}`;
}

/** Reads the figures. */
export async function readBenchmarks(): Promise<Benchmarks> {
  return JSON.parse(await Deno.readTextFile(BENCHMARKS)) as Benchmarks;
}

/** Reads docs/SCALE.md. */
export async function readDocument(): Promise<string> {
  return await Deno.readTextFile(DOCUMENT);
}

if (import.meta.main) {
  const text = tables(modelOf(await readBenchmarks()));
  Deno.stdout.writeSync(new TextEncoder().encode(text));
  if (Deno.args.includes("--write")) await Deno.writeTextFile(DOCUMENT, withTables(await readDocument(), text));
}
