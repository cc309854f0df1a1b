/**
 * `outpost systemcheck`: configuration, broker server and registry, each with advice.
 *
 * @module
 */
import { ConfigError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { withDeadline } from "../lib/deadline.ts";
import { type CommandContext, EXIT, type Toolbox } from "./context.ts";

/** Options of {@link runSystemcheck}. */
export interface SystemcheckOptions {
  readonly json: boolean;
  /** Only ask the running daemon whether it is connected: the health check of a container. */
  readonly live: boolean;
}

/** One line of the report. */
export interface Check {
  readonly check: string;
  readonly status: "ok" | "failed" | "skipped";
  readonly message: string;
  readonly hint?: string | undefined;
}

/** Runs the command; exit code 0 when nothing failed, 1 otherwise. */
export async function runSystemcheck(context: CommandContext, options: SystemcheckOptions): Promise<number> {
  const checks = options.live ? [await checkLive(context)] : await checkAll(context);
  const { stdout } = context.world;
  if (options.json) stdout.write(`${JSON.stringify({ ok: checks.every(passed), checks }, null, 2)}\n`);
  else for (const check of checks) stdout.write(line(check));
  return checks.every(passed) ? EXIT.ok : EXIT.error;
}

function passed(check: Check): boolean {
  return check.status !== "failed";
}

function line({ check, status, message, hint }: Check): string {
  const mark = status === "ok" ? "ok     " : status === "failed" ? "FAILED " : "skipped";
  return `${mark} ${check.padEnd(14)} ${message}\n${hint === undefined ? "" : `${" ".repeat(23)}${hint}\n`}`;
}

async function checkAll(context: CommandContext): Promise<readonly Check[]> {
  let toolbox: Toolbox;
  try {
    toolbox = await context.toolbox();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((message) => ({ check: "configuration", status: "failed", message }));
  }
  try {
    return [
      checkConfiguration(toolbox),
      await checkBroker(context, toolbox),
      ...await checkRegistry(context, toolbox),
      ...await checkQueue(toolbox),
    ];
  } finally {
    await toolbox.close();
  }
}

function checkConfiguration({ config }: Toolbox): Check {
  const check = "configuration";
  if (config.role !== "agent" && config.brokerToken === undefined && config.broker.universal === undefined) {
    const hint = "Set BROKER_TOKEN (or BROKER_TOKEN_FILE); scanning and listing work without it.";
    return { check, status: "failed", message: "BROKER_TOKEN is not set", hint };
  }
  return { check, status: "ok", message: `role ${config.role}, port ${config.port}` };
}

async function checkBroker({ world }: CommandContext, toolbox: Toolbox): Promise<Check> {
  const check = "broker server";
  if (toolbox.config.role === "agent") return { check, status: "skipped", message: "this process is the agent alone" };
  const url = toolbox.config.brokerServerUrl.origin;
  try {
    const { status } = await toolbox.checkBrokerServer(world.signal);
    if (status >= 200 && status < 300) return { check, status: "ok", message: `${url} answers` };
    return { check, status: "failed", message: `${url} answered ${status}`, hint: "Check BROKER_SERVER_URL." };
  } catch (error) {
    const { message, hint } = toOutpostError(error);
    return { check, status: "failed", message: toolbox.redact(message), hint };
  }
}

async function checkRegistry({ world }: CommandContext, toolbox: Toolbox): Promise<readonly Check[]> {
  const { credentials } = toolbox;
  if (credentials === undefined) {
    return [{ check: "registry", status: "skipped", message: "no registry is configured (CR_TYPE, CR_BASE)" }];
  }
  try {
    const report = await toolbox.registries.open(credentials).validate(world.signal);
    return report.steps.map(({ step, ok, message, hint }) => ({
      check: `registry ${step}`,
      status: ok ? "ok" : "failed",
      message: toolbox.redact(message),
      hint,
    }));
  } catch (error) {
    const { message, hint } = toOutpostError(error);
    return [{ check: "registry", status: "failed", message: toolbox.redact(message), hint }];
  }
}

/** Nothing without OUTPOST_QUEUE: a data directory may be in use by the daemon. */
async function checkQueue(toolbox: Toolbox): Promise<readonly Check[]> {
  const { queue, role } = toolbox.config;
  if (queue === undefined || role === "broker") return [];
  const check = "queue";
  try {
    const store = await toolbox.openStore();
    const backlog = await store?.backlog();
    await store?.close();
    return [{
      check,
      status: "ok",
      message: `${queue.servers.join(", ")}: ${backlog?.queued ?? 0} scans wait, ${backlog?.scanning ?? 0} run`,
    }];
  } catch (error) {
    const { message, hint } = toOutpostError(error);
    return [{ check, status: "failed", message: toolbox.redact(message), hint }];
  }
}

async function checkLive(context: CommandContext): Promise<Check> {
  const { world } = context;
  const toolbox = await context.toolbox();
  const { config } = toolbox;
  await toolbox.close();
  const scheme = config.tls.server === undefined ? "http" : "https";
  const url = `${scheme}://${localHost(config.host)}:${config.port}${config.healthcheckPath}`;
  const check = "daemon";
  try {
    const deadline = { clock: world.clock, ms: LIMITS.connectTimeoutMs, what: "The daemon", signal: world.signal };
    const status = await withDeadline(deadline, (signal) => world.localStatus(url, signal));
    if (status === 200) return { check, status: "ok", message: "connected" };
    return { check, status: "failed", message: `the daemon answered ${status}: the broker is not connected` };
  } catch {
    return {
      check,
      status: "failed",
      message: `nothing answers at port ${config.port}`,
      hint: "Is the daemon running with this PORT?",
    };
  }
}

/** Where this machine reaches a server that listens on the host. */
function localHost(host: string): string {
  if (host === "0.0.0.0" || host === "::" || host === "") return "127.0.0.1";
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}
