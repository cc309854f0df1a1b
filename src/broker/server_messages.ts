/**
 * What the server says beside requests: notices for the log, and service commands (broker-protocol.md §11).
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Logger } from "../core/ports.ts";
import { isRecord } from "./codec.ts";
import type { BrokerSession, ServerMessage } from "./session.ts";

/** Options of {@link handleService}. */
export interface ServiceOptions {
  readonly logger: Logger;
  /** Starts synchronizing the connections; absent in a client with a fixed token, which has none. */
  readonly onConfigReload?: (() => void) | undefined;
}

/** Logs a `notification`, the server's notice about this client's version for instance. */
export function handleNotification(value: unknown, logger: Logger): void {
  const { level, message } = isRecord(value) ? value : {};
  if (typeof message !== "string") return;
  const log = level === "error" ? "error" : level === "warning" ? "warn" : "info";
  logger[log]("Notification of the broker server", { notification: message.slice(0, LIMITS.errorMessageChars) });
}

/** Answers a `service` event: the commands of `/service/<token>/…`. Filters are not reloaded by the reference either. */
export function handleService(session: BrokerSession, message: ServerMessage, options: ServiceOptions): void {
  const [argument] = message.args;
  const url = isRecord(argument) ? argument["url"] : undefined;
  const path = typeof url === "string" ? url.split(/[?#]/, 1)[0] : "";
  const [status, answer] = answerTo(path, options);
  options.logger.info("Service command of the broker server", { status });
  if (message.id !== undefined) {
    const headers = { ...requestIdOf(argument) };
    session.acknowledge(message.id, { status, headers, body: JSON.stringify(answer) });
  }
  if (path === CONFIG_RELOAD && status === 200) options.onConfigReload?.();
}

const CONFIG_RELOAD = "/config/reload";

interface ServiceAnswer {
  readonly ok: boolean;
  readonly msg: string;
}

function answerTo(path: string | undefined, { onConfigReload }: ServiceOptions): readonly [number, ServiceAnswer] {
  if (path === "/filters/reload") return [200, { ok: true, msg: "Filters reloaded." }];
  if (path !== CONFIG_RELOAD) return [400, { ok: false, msg: "Unknown service command." }];
  return onConfigReload === undefined
    ? [501, { ok: false, msg: "Service command not available in classic broker." }]
    : [200, { ok: true, msg: "Synchronizing Config." }];
}

/** The reference's answer names the request in a header of this name. */
function requestIdOf(argument: unknown): { readonly requestId?: string } {
  const headers = isRecord(argument) ? argument["headers"] : undefined;
  const requestId = isRecord(headers) ? headers["snyk-request-id"] : undefined;
  return typeof requestId === "string" ? { requestId } : {};
}
