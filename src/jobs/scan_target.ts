/**
 * One image of a request: from the registry to a result, or to a result that is there already.
 *
 * @module
 */
import type { Clock, ImageHandle, Logger, Registry, RegistryCredentials, RegistryProvider } from "../core/ports.ts";
import type { Store, TargetOutcome } from "../core/store.ts";
import type { AnalysisOptions, ImageDigests } from "../core/types.ts";
import { pack, type Pause, unpackedLength } from "../lib/packed.ts";
import { resultBody, tooLarge } from "./callback_body.ts";
import type { ScanFunction } from "./scan_image.ts";
import { type ScanTarget, type StoredRequest, targetName } from "./scan_job.ts";

/** What {@link TargetScanner} works with. */
export interface TargetScannerOptions {
  readonly registries: RegistryProvider;
  readonly scan: ScanFunction;
  /** Changes whenever the same image would give another result. */
  readonly resultVersion: (analysis: AnalysisOptions | undefined) => Promise<string>;
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly maxImageBytes: number;
  readonly pause: Pause;
  /** A fresh random identifier. */
  readonly newId: () => string;
  readonly onScan?: ((outcome: TargetOutcome, milliseconds: number) => void) | undefined;
}

/** An image to scan. */
export interface TargetInput {
  readonly id: string;
  readonly requestId: string;
  readonly request: StoredRequest;
  readonly sequence: number;
  readonly target: ScanTarget;
  readonly credentials: RegistryCredentials;
}

/** How it ended, for {@link Store.complete}. */
export interface TargetEnd {
  readonly outcome: TargetOutcome;
  readonly resultKey?: string;
  readonly result?: Uint8Array;
  readonly error?: string;
}

interface Result {
  readonly outcome: "success" | "partial";
  readonly packed: Uint8Array;
  /** Length of the JSON text. */
  readonly bytes: number;
  readonly key: string;
  /** Whether the store has it. */
  readonly stored: boolean;
}

/** Scans images. The same image asked for twice, at once or one after the other, is scanned once. */
export class TargetScanner {
  readonly #options: TargetScannerOptions;
  readonly #underWay = new Map<string, Promise<Result>>();

  constructor(options: TargetScannerOptions) {
    this.#options = options;
  }

  /**
   * Scans an image.
   *
   * @throws {OutpostError} what the registry or the image was refused with, or the signal's reason.
   */
  async scan(input: TargetInput, signal: AbortSignal): Promise<TargetEnd> {
    const { clock, logger, onScan } = this.#options;
    const startedAt = clock.now();
    const result = await this.#result(input, signal);
    const milliseconds = clock.now() - startedAt;
    onScan?.(result.outcome, milliseconds);
    const { id, requestId, target, request, sequence } = input;
    const { outcome, stored } = result;
    logger.info("Scanned", { id, requestId, image: targetName(target), status: outcome, milliseconds, stored });
    const around = resultBody(request, target, "{}", { id, sequence }).length + 1;
    const error = tooLarge(around + result.bytes - 2);
    if (error !== undefined) return { outcome: "error", error };
    return { outcome, resultKey: result.key, ...(stored ? {} : { result: result.packed }) };
  }

  async #result(input: TargetInput, signal: AbortSignal): Promise<Result> {
    const { registries } = this.#options;
    const { target, credentials } = input;
    const registry = registries.open(credentials);
    const subject = await this.#subject(registry, target);
    const reference = target.digest ?? target.tag ?? "latest";
    const options = { platform: target.platform, signal };
    // Only where there is a result of an earlier scan: a registry may count requests for manifests.
    if (await this.#options.store.hasResults(subject)) {
      const { digests } = await registry.resolve(target.repository, reference, options);
      const known = await this.#known(subject + digestsText(digests), signal);
      if (known !== undefined) return known;
    }
    const image = await registry.image(target.repository, reference, options);
    const key = subject + digestsText(image.digests);
    const other = this.#underWay.get(key);
    const shared = await other?.catch(() => undefined);
    signal.throwIfAborted();
    // It has to be stored with this job too: the other one may never get so far.
    if (shared !== undefined) return shared;
    const scanning = this.#scanned(key, registry, image, input, signal);
    this.#underWay.set(key, scanning);
    try {
      return await scanning;
    } finally {
      if (this.#underWay.get(key) === scanning) this.#underWay.delete(key);
    }
  }

  /** What the result depends on, but for the image's digests. */
  async #subject(registry: Registry, target: ScanTarget): Promise<string> {
    const { analysis, platform } = target;
    const version = await this.#options.resultVersion(analysis);
    const text = JSON.stringify([version, registry.host, targetName(target), platform ?? null, analysis ?? null]);
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    return `${new Uint8Array(hash).toHex()} `;
  }

  async #known(key: string, signal: AbortSignal): Promise<Result | undefined> {
    const { store, clock } = this.#options;
    const packed = await store.result(key, clock.now());
    signal.throwIfAborted();
    return packed && { outcome: "success", packed, bytes: unpackedLength(packed), key, stored: true };
  }

  async #scanned(
    key: string,
    registry: Registry,
    image: ImageHandle,
    { target }: TargetInput,
    signal: AbortSignal,
  ): Promise<Result> {
    const { scan, maxImageBytes, pause, newId } = this.#options;
    const { status, scanResults, problems } = await scan({
      image,
      imageName: targetName(target),
      registryHost: registry.host,
      maxImageBytes,
      analysis: target.analysis,
      signal,
    });
    const fields = { status, scanResults, ...(problems.length === 0 ? {} : { problems }) };
    const text = new TextEncoder().encode(JSON.stringify(fields));
    // What is missing from a partial result may be there the next time: its key is nobody else's.
    const own = status === "success" ? key : `partial ${newId()}`;
    return { outcome: status, packed: await pack(text, pause), bytes: text.length, key: own, stored: false };
  }
}

function digestsText({ manifest, index }: ImageDigests): string {
  return `${manifest ?? ""} ${index ?? ""}`;
}
