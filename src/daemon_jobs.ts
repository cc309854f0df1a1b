/**
 * The daemon's scans: made of the configuration, on a store that outlives the process or on one that does not.
 *
 * @module
 */
import type { CallbackTransport, RegistryCredentials } from "./core/ports.ts";
import type { DaemonParts } from "./daemon_parts.ts";
import { CredentialBox } from "./jobs/credential_box.ts";
import { JobService } from "./jobs/job_service.ts";
import { MemoryStore } from "./store/memory_store.ts";

const KEY_BYTES = 32;

/** What only the daemon knows. */
export interface JobHooks {
  readonly transport: CallbackTransport;
  /** Credentials of the connection, or the configured ones. */
  readonly own: (connection: string | undefined) => RegistryCredentials | undefined;
}

/** Makes the service; it does nothing until it is started. */
export function createJobs(parts: DaemonParts, { transport, own }: JobHooks): JobService {
  const { config, metrics, clock, registries, scan } = parts;
  const temporary = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return new JobService({
    registries,
    scan,
    resultVersion: parts.resultVersion ?? (() => Promise.resolve("")),
    store: parts.store ?? new MemoryStore(),
    transport,
    box: new CredentialBox({ own, key: parts.sealKey ?? (() => Promise.resolve(temporary)) }),
    concurrency: config.maxActiveOperations,
    idle: parts.idle,
    attempts: config.scanAttempts,
    retention: { ms: config.data.retentionMs, bytes: config.data.retentionBytes },
    clock,
    logger: parts.logger.child("scans"),
    maxImageBytes: config.maxImageBytes,
    pause: parts.pause ?? (() => Promise.resolve()),
    newId: () => crypto.randomUUID(),
    redact: (text) => parts.redactor.text(text),
    onScan: (outcome, milliseconds) => {
      metrics.scans.inc({ outcome });
      metrics.scanSeconds.observe(milliseconds / 1000);
    },
    onCallback: (outcome) => metrics.callbacks.inc({ outcome }),
    onDepth: (depth) => metrics.scanQueueDepth.set({}, depth),
  });
}
