/**
 * One accepted request: scan each image, send one result callback per image and the closing one.
 *
 * @module
 */
import { type OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type {
  CallbackTransport,
  Clock,
  Logger,
  RegistryCredentials,
  RegistryProvider,
  ScanReport,
} from "../core/ports.ts";
import type { Digest } from "../core/digest.ts";
import type { AnalysisOptions, Platform } from "../core/types.ts";
import type { CallbackPaths } from "./callback_paths.ts";
import { Outbox } from "./outbox.ts";
import type { ScanFunction } from "./scan_image.ts";

/** One image of a request. */
export interface ScanTarget {
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
  readonly platform: Platform | undefined;
  /** What is looked at. */
  readonly analysis?: AnalysisOptions | undefined;
  /** The image's own fields of the request, carried to its callback unchanged. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** An accepted request. */
export interface ScanJob {
  readonly id: string;
  readonly kind: "scan" | "discover";
  readonly targets: readonly ScanTarget[];
  readonly credentials: RegistryCredentials;
  readonly callbacks: CallbackPaths;
  /** The request's own fields, carried to every callback unchanged; never a credential. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Correlates log lines and callbacks with the request. */
  readonly requestId: string;
  /** The connection that the request came by, where this process has several: its callbacks leave by the same. */
  readonly connection?: string | undefined;
}

/** How an image ended. */
export type ScanOutcome = "success" | "partial" | "error";

/** What {@link createScanRunner} works with. */
export interface ScanRunnerOptions {
  readonly registries: RegistryProvider;
  readonly scan: ScanFunction;
  readonly transport: CallbackTransport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly maxImageBytes: number;
  /** Masks secrets in an error's text: a registry's own words may repeat what it was sent. */
  readonly redact: (text: string) => string;
  readonly onScan?: ((outcome: ScanOutcome, milliseconds: number) => void) | undefined;
  readonly onCallback?: ((outcome: "delivered" | "refused" | "retried" | "abandoned") => void) | undefined;
}

/**
 * Makes the function that runs jobs. It never rejects: every failure ends in a callback or, when that fails, in the log.
 * A result that the other side refuses for good counts as failed, and the next image gets its turn; when results can
 * not be delivered at all, or the signal aborts, the job ends there.
 */
export function createScanRunner(options: ScanRunnerOptions): (job: ScanJob, signal: AbortSignal) => Promise<void> {
  const { clock, logger, transport, onCallback } = options;
  const outbox = new Outbox({ transport, clock, logger, onOutcome: onCallback });

  return async function runScanJob(job: ScanJob, signal: AbortSignal): Promise<void> {
    const count = { success: 0, partial: 0, error: 0 };
    const log = { id: job.id, requestId: job.requestId };
    try {
      for (const [sequence, target] of job.targets.entries()) {
        const { outcome, body } = await scanTarget(options, job, target, signal);
        const message = encode({ ...body, id: job.id, sequence });
        const delivered = await send(outbox, job, job.callbacks.result, message.bytes, signal).then(
          () => true,
          (error: unknown) => {
            const known = toOutpostError(error);
            if (signal.aborted || known.retryable) throw error;
            logger.error("Result refused", { ...log, image: targetName(target), error: known });
            return false;
          },
        );
        count[delivered && message.whole ? outcome : "error"]++;
      }
      if (job.callbacks.done === undefined) return;
      const totals = {
        total: job.targets.length,
        succeeded: count.success,
        partial: count.partial,
        failed: count.error,
      };
      const closing = encode({ ...job.fields, id: job.id, ...totals });
      await send(outbox, job, job.callbacks.done, closing.bytes, signal);
    } catch (error) {
      logger.error("Scan request not finished", { ...log, error: toOutpostError(error) });
    }
  };
}

interface TargetOutcome {
  readonly outcome: ScanOutcome;
  readonly body: Readonly<Record<string, unknown>>;
}

async function scanTarget(
  options: ScanRunnerOptions,
  job: ScanJob,
  target: ScanTarget,
  signal: AbortSignal,
): Promise<TargetOutcome> {
  const { clock, logger, onScan } = options;
  const started = clock.now();
  const carried = { ...job.fields, ...target.fields };
  const imageName = targetName(target);
  const log = { id: job.id, requestId: job.requestId, image: imageName };
  try {
    const report = await scanRemote(options, job, target, imageName, signal);
    onScan?.(report.status, clock.now() - started);
    logger.info("Scanned", { ...log, status: report.status, milliseconds: clock.now() - started });
    return { outcome: report.status, body: { ...carried, ...resultFields(report) } };
  } catch (error) {
    // A scan that this process cut short is not a result: nobody learns "error" because of a restart.
    signal.throwIfAborted();
    const known = toOutpostError(error);
    onScan?.("error", clock.now() - started);
    logger.error("Scan failed", { ...log, error: known });
    return {
      outcome: "error",
      body: { ...carried, status: "error", scanResults: [], error: told(known, options.redact) },
    };
  }
}

function told({ code, message, hint }: OutpostError, redact: (text: string) => string): Record<string, string> {
  return { code, message: redact(message), ...(hint === undefined ? {} : { hint: redact(hint) }) };
}

async function scanRemote(
  options: ScanRunnerOptions,
  job: ScanJob,
  target: ScanTarget,
  imageName: string,
  signal: AbortSignal,
): Promise<ScanReport> {
  const { registries, scan, maxImageBytes } = options;
  const registry = registries.open(job.credentials);
  const reference = target.digest ?? target.tag ?? "latest";
  const image = await registry.image(target.repository, reference, { platform: target.platform, signal });
  return await scan({
    image,
    imageName,
    registryHost: registry.host,
    maxImageBytes,
    analysis: target.analysis,
    signal,
  });
}

function resultFields(report: ScanReport): Record<string, unknown> {
  return {
    status: report.status,
    scanResults: report.scanResults,
    ...(report.problems.length === 0 ? {} : { problems: report.problems }),
  };
}

/** The name under which Snyk files the image: repository with tag, or with digest when there is no tag. */
function targetName(target: ScanTarget): string {
  if (target.tag !== undefined) return `${target.repository}:${target.tag}`;
  return target.digest === undefined ? `${target.repository}:latest` : `${target.repository}@${target.digest}`;
}

/** A callback's body. One that is larger than the broker takes becomes an error that says so: that reaches the user. */
function encode(body: Readonly<Record<string, unknown>>): { readonly bytes: Uint8Array<ArrayBuffer>; whole: boolean } {
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  if (bytes.length <= LIMITS.brokerRequestBodyBytes) return { bytes, whole: true };
  const error = {
    code: "BODY_TOO_LARGE",
    message: `The result has ${bytes.length} bytes, more than the broker's ${LIMITS.brokerRequestBodyBytes}`,
  };
  const { problems: _problems, ...rest } = body;
  const replaced = { ...rest, status: "error", scanResults: [], error };
  return { bytes: new TextEncoder().encode(JSON.stringify(replaced)), whole: false };
}

async function send(
  outbox: Outbox,
  job: ScanJob,
  path: string,
  body: Uint8Array<ArrayBuffer>,
  signal: AbortSignal,
): Promise<void> {
  const headers = { "content-type": "application/json", "snyk-request-id": job.requestId };
  await outbox.deliver({ path, body, headers, origin: job.callbacks.origin, connection: job.connection }, signal);
}
