/**
 * The daemon with a point at which it kills itself, as kill -9 does: CRASH_AT names it. The program itself has no such
 * points; they are put around its ports here.
 *
 * @module
 */
import { recordingWorld } from "../fakes/world.ts";
import type { Store } from "../../src/core/store.ts";
import { openState } from "../../src/data_directory.ts";
import { startDaemon } from "../../src/daemon.ts";
import { createScan, createToolbox } from "../../src/main.ts";
import { openLayerFacts } from "../../src/data_directory.ts";
import { Redactor } from "../../src/lib/redact.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { eventLoop, systemClock } from "../../src/world.ts";

const crashAt = Deno.env.get("CRASH_AT") ?? "";
const directory = Deno.env.get("OUTPOST_DATA_DIR") ?? "";

function crash(): Promise<never> {
  Deno.kill(Deno.pid, "SIGKILL");
  return new Promise(() => {});
}

function crashing(store: Store): Store {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      return async (...args: unknown[]) => {
        if (crashAt === `before ${String(name)}`) return await crash();
        const value: unknown = await member.apply(target, args);
        return crashAt === `after ${String(name)}` ? await crash() : value;
      };
    },
  });
}

const { world } = recordingWorld();
const toolbox = await createToolbox(world, {}, { log: () => {} });
const metrics = new Metrics({ version: "0", deno: "0" }, () => 0);
const { logger, config } = toolbox;
await startDaemon({
  config,
  credentials: toolbox.credentials,
  registries: toolbox.registries,
  scan: await createScan({ layers: openLayerFacts(directory, { maxBytes: config.data.cacheBytes, metrics, logger }) }),
  resultVersion: () => Promise.resolve("1"),
  store: crashing(await openState(directory, metrics)),
  pause: eventLoop.turn,
  clock: systemClock,
  logger,
  redactor: new Redactor(),
  metrics,
  fetch: async (request) => {
    const response = await fetch(request);
    return crashAt === "mid-callback" ? await crash() : response;
  },
  webSocket: () => {
    throw new Error("There is no broker");
  },
  variable: () => undefined,
  record: undefined,
  readFile: world.readTextFile,
  print: () => {},
});
