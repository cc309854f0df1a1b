/**
 * Parts of a daemon that nobody asks anything of.
 *
 * @module
 */
import { expect } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import type { DaemonParts } from "../../src/daemon_parts.ts";
import { Redactor } from "../../src/lib/redact.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { systemClock } from "./clock.ts";
import { RecordingLogger } from "./logger.ts";
import { FakeWebSocket } from "./web_socket.ts";

const noFile = (): Promise<never> => Promise.reject(new Error("There is no file"));

/** Parts with the configuration of `env`; what would scan or send fails the test, unless it is overridden. */
export async function idleParts(
  env: Readonly<Record<string, string>>,
  overrides: Partial<DaemonParts> = {},
): Promise<DaemonParts> {
  return {
    config: await loadConfig({ env: { OUTPOST_HOST: "127.0.0.1", PORT: "0", ...env }, readFile: noFile }),
    credentials: undefined,
    registries: { open: () => expect.unreachable() },
    scan: () => expect.unreachable(),
    clock: systemClock,
    logger: new RecordingLogger(),
    redactor: new Redactor(),
    metrics: new Metrics({ version: "0", deno: "0" }, () => 0),
    fetch: () => expect.unreachable(),
    webSocket: (url, init) => new FakeWebSocket(url, init) as unknown as WebSocket,
    variable: () => undefined,
    record: undefined,
    readFile: noFile,
    print: () => {},
    ...overrides,
  };
}
