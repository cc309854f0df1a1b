/**
 * How long so many images take: the bounds of a closed queueing network (Denning and Buzen, "The Operational Analysis of
 * Queueing Network Models", 1978). Each resource needs a time for the whole work; the longest of these times is the answer,
 * and its resource the bottleneck.
 *
 * @module
 */
import { LIMITS } from "../src/core/limits.ts";

/** What is to be scanned. */
export interface Workload {
  /** Images that were not scanned before as they are now. */
  readonly newImages: number;
  /** Images whose stored result still holds: their manifest is looked at, and the result is sent again. */
  readonly retests: number;
  /** Scan requests; one is the work of one daemon, image after image. */
  readonly jobs: number;
  /** Different layers whose facts are not known yet: each is read once. */
  readonly distinctLayers: number;
  /** Their bytes in the registry, in 10⁹. */
  readonly storedGB: number;
  /** Their bytes unpacked, in 10⁹. */
  readonly tarGB: number;
}

/** Where it is scanned. */
export interface Site {
  readonly daemons: number;
  /** Cores that the daemons share; each uses one at most, whatever it scans at once. */
  readonly cores: number;
  /** Images that each daemon scans at once; MAX_ACTIVE_OPERATIONS. */
  readonly atOnce: number;
  /** What the registry delivers to all daemons together, in 10⁶ bytes a second. */
  readonly registryMBPerSecond: number;
  /** From a request to the registry to the first byte of its answer, in seconds. */
  readonly registryLatencySeconds: number;
  /** From a callback to its acknowledgement by Snyk, in seconds. */
  readonly callbackSeconds: number;
  /** Acknowledged writes that NATS takes in a second; Infinity without a shared queue. */
  readonly queueWritesPerSecond: number;
}

/** What the work costs; each figure of one daemon on one core. */
export interface Costs {
  /** Seconds to read 10⁹ bytes of tar: decompression, digests, packages. Fitted. */
  readonly secondsPerTarGB: number;
  /** Seconds for a new image besides its layers. Fitted. */
  readonly secondsPerNewImage: number;
  /** Seconds for an image whose stored result holds. Measured. */
  readonly secondsPerRetest: number;
  /** Seconds that the shared queue costs the daemon for each job; 0 without. Measured. */
  readonly secondsPerJob: number;
  /** Seconds that each daemon takes to follow a job of another; 0 without. Measured. */
  readonly secondsPerFollowedJob: number;
  /** Acknowledged writes of each job. Measured. */
  readonly writesPerJob: number;
}

/** Waits for the registry of a new image: connections, its manifest and its config. Chosen to fit, as the next. */
export const TRIPS_PER_IMAGE = 4;
/** Waits for a layer: a connection and its request. */
export const TRIPS_PER_LAYER = 2;
/** Layers of an image that are read at once (docs/adr/014). */
export const LAYERS_AT_ONCE = 3;
/** Waits for an image that was scanned before: a connection, and its manifest's digest. Not measured. */
export const TRIPS_PER_RETEST = 2;

/** What bounds the work. */
export type Bottleneck = "cores" | "registry latency" | "registry bandwidth" | "callbacks" | "queue";

/** What the model says. */
export interface Capacity {
  readonly hours: number;
  readonly imagesPerHour: number;
  readonly bottleneck: Bottleneck;
  /** Seconds that each resource needs for the whole; those of waiting are shared by the images that a daemon has at once. */
  readonly seconds: Readonly<Record<Bottleneck, number>>;
}

/**
 * The time that the work takes.
 *
 * A daemon with `atOnce` images under way is bound by its core, or, when that waits for the registry, by the whole time of
 * each image divided by those at once.
 *
 * @throws {RangeError} when there is no daemon, no core, or a figure that is negative or no number.
 */
export function capacity(work: Workload, site: Site, costs: Costs): Capacity {
  for (const part of [work, site, costs]) requireFigures(part as unknown as Readonly<Record<string, number>>);
  for (const name of ["daemons", "cores", "atOnce", "registryMBPerSecond", "queueWritesPerSecond"] as const) {
    if (site[name] === 0) throw new RangeError(`${name} must be more than 0`);
  }
  const { newImages, retests, jobs, distinctLayers, storedGB, tarGB } = work;
  const onCore = tarGB * costs.secondsPerTarGB + newImages * costs.secondsPerNewImage +
    retests * costs.secondsPerRetest + jobs * costs.secondsPerJob;
  const trips = newImages * TRIPS_PER_IMAGE + distinctLayers * TRIPS_PER_LAYER / LAYERS_AT_ONCE +
    retests * TRIPS_PER_RETEST;
  const followed = jobs * (site.daemons - 1) * costs.secondsPerFollowedJob;
  const seconds: Record<Bottleneck, number> = {
    "cores": (onCore + followed) / Math.min(site.daemons, site.cores),
    "registry latency": trips * site.registryLatencySeconds / site.daemons,
    "registry bandwidth": storedGB * 1000 / site.registryMBPerSecond,
    "callbacks": (newImages + retests) * site.callbackSeconds / (site.daemons * LIMITS.callbacksInFlight),
    "queue": jobs * costs.writesPerJob / site.queueWritesPerSecond,
  };
  const { cores, "registry latency": waiting } = seconds;
  const daemons = Math.max(cores, (cores + waiting) / site.atOnce);
  const total = Math.max(daemons, seconds["registry bandwidth"], seconds.callbacks, seconds.queue);
  const images = newImages + retests;
  return {
    hours: total / 3600,
    imagesPerHour: total === 0 ? Infinity : images / (total / 3600),
    bottleneck: bottleneckOf(seconds, daemons),
    seconds,
  };
}

function bottleneckOf(seconds: Readonly<Record<Bottleneck, number>>, daemons: number): Bottleneck {
  const beside = (["registry bandwidth", "callbacks", "queue"] as const).toSorted((a, b) => seconds[b] - seconds[a]);
  const [slowest] = beside;
  if (slowest !== undefined && seconds[slowest] > daemons) return slowest;
  const { cores, "registry latency": waiting } = seconds;
  return daemons > cores && waiting > cores ? "registry latency" : "cores";
}

function requireFigures(figures: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(figures)) {
    if (Number.isNaN(value) || value < 0) throw new RangeError(`${name} must not be ${value}`);
  }
}

/** A measured time of work that only the daemon's core bounds. */
export interface Measurement {
  readonly tarGB: number;
  readonly newImages: number;
  /** Less what is measured by itself. */
  readonly seconds: number;
}

/**
 * The two costs that are fitted: those with the least sum of squared relative errors, neither below 0.
 *
 * @throws {RangeError} when the measurements do not tell the two apart.
 */
export function fitCosts(
  measurements: readonly Measurement[],
): Pick<Costs, "secondsPerTarGB" | "secondsPerNewImage"> {
  const rows = measurements.map(({ tarGB, newImages, seconds }) => [tarGB / seconds, newImages / seconds] as const);
  const sum = (of: (row: readonly [number, number]) => number): number =>
    rows.reduce((total, row) => total + of(row), 0);
  const [aa, ab, bb] = [sum(([a]) => a * a), sum(([a, b]) => a * b), sum(([, b]) => b * b)];
  const [ay, by] = [sum(([a]) => a), sum(([, b]) => b)];
  const determinant = aa * bb - ab * ab;
  if (!(determinant > 1e-9 * aa * bb)) throw new RangeError("The measurements do not tell bytes and images apart");
  const secondsPerTarGB = (ay * bb - by * ab) / determinant;
  const secondsPerNewImage = (by * aa - ay * ab) / determinant;
  if (secondsPerNewImage < 0) return { secondsPerTarGB: ay / aa, secondsPerNewImage: 0 };
  if (secondsPerTarGB < 0) return { secondsPerTarGB: 0, secondsPerNewImage: by / bb };
  return { secondsPerTarGB, secondsPerNewImage };
}
