/**
 * `outpost start`: the daemon.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { type CommandContext, EXIT } from "./context.ts";

/** Runs the daemon until a signal comes; returns the exit code. `overrides` are variables that win over the environment. */
export async function runStart(
  context: CommandContext,
  overrides: Readonly<Record<string, string>> = {},
): Promise<number> {
  const toolbox = await context.toolbox(overrides);
  try {
    const { config, logger } = toolbox;
    if (config.role !== "agent" && config.brokerToken === undefined && config.broker.universal === undefined) {
      throw new OutpostError("CONFIG_INVALID", "Cannot start: BROKER_TOKEN is not set", {
        hint:
          "Create a broker token in Snyk and set BROKER_TOKEN (or BROKER_TOKEN_FILE). For the agent alone, set OUTPOST_ROLE=agent; for a deployment's connections, UNIVERSAL_BROKER_ENABLED=true.",
      });
    }
    const daemon = await toolbox.startDaemon();
    await aborted(context.world.signal);
    logger.info("Stopping");
    await daemon.stop();
    logger.info("Stopped");
    return EXIT.ok;
  } finally {
    await toolbox.close();
  }
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
