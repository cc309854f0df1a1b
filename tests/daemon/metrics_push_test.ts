/** Metrics by OTLP from the daemon as a process of its own, and what it is without them. */
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { denoEnv, ROOT, startDaemonProcess } from "../e2e/daemon.ts";
import { startCanary } from "../fakes/canary.ts";
import { startHostileBroker } from "../fakes/hostile_broker.ts";
import { pointsOf, startOtlpCollector } from "../fakes/otlp_collector.ts";

const soon = (): AbortSignal => AbortSignal.timeout(30_000);

describe("METRICS_OTEL_ENDPOINT", () => {
  it("§14 pushes what happened while the daemon runs, and the rest when it ends", async () => {
    await using collector = startOtlpCollector("/prefix/v1/metrics");
    await using broker = startHostileBroker();
    await using agent = startCanary();
    await using daemon = await startDaemonProcess({
      OUTPOST_ROLE: "broker",
      BROKER_TOKEN: "00000000-aaaa-4bbb-8ccc-eeeeeeeeeeee",
      BROKER_SERVER_URL: broker.url,
      API_BASE_URL: broker.url,
      CR_AGENT_URL: agent.url,
      PREFLIGHT_CHECKS_ENABLED: "false",
      METRICS_OTEL_ENDPOINT: `${collector.url}/prefix/v1/metrics`,
      METRICS_OTEL_EXPORT_INTERVAL_MS: "200",
    });
    await broker.until(() => broker.sockets.length === 2, soon());
    await collector.taken(2, soon());
    broker.sockets.at(-1)?.ask({ streamingID: "one" });
    await broker.upload("one", soon());
    Deno.kill(daemon.process.pid, "SIGTERM");
    expect(await daemon.process.status).toMatchObject({ code: 0 });
    const sum = (name: string): number =>
      collector.exports.flatMap((told) => pointsOf(told, name)).reduce((total, { value }) => total + value, 0);
    expect(sum("broker.client.initialized")).toBe(1);
    expect(sum("broker.client.request.total")).toBe(1);
    expect(sum("broker.client.downstream.request.total")).toBe(1);
    expect(sum("broker.client.ws.duration.seconds")).toBe(2);
    expect(pointsOf(collector.exports.at(-1), "broker.client.inflight.requests")).toMatchObject([{ value: 0 }]);
    expect(collector.problems).toEqual([]);
  });

  it("costs nothing where it is not set: only an import on demand leads to its modules", async () => {
    const command = new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", "src/main.ts"],
      cwd: ROOT,
      env: denoEnv(),
    });
    const { stdout } = await command.output();
    const graph: Graph = JSON.parse(new TextDecoder().decode(stdout));
    const links = graph.modules.flatMap(({ specifier, dependencies = [] }) =>
      dependencies.flatMap(({ code, isDynamic = false }) =>
        code === undefined ? [] : [{ from: specifier, to: code.specifier, isDynamic }]
      )
    );
    const reached = new Set([pathToFileURL(`${ROOT}src/main.ts`).href]);
    for (const specifier of reached) {
      for (const { from, to, isDynamic } of links) if (from === specifier && !isDynamic) reached.add(to);
    }
    const ofMetrics = /\/src\/(daemon_metrics|telemetry\/(otlp_|broker_metrics))/;
    const into = links.filter(({ from, to }) => ofMetrics.test(to) && !ofMetrics.test(from));
    expect(into.map(({ from, to, isDynamic }) => [base(from), base(to), isDynamic])).toEqual([
      ["daemon.ts", "daemon_metrics.ts", true],
    ]);
    expect([...reached].filter((one) => ofMetrics.test(one))).toEqual([]);
    expect([...reached].some((one) => one.endsWith("/src/daemon.ts"))).toBe(true);
  });
});

interface Graph {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly { readonly code?: { readonly specifier: string }; readonly isDynamic?: boolean }[];
  }[];
}

function base(specifier: string): string {
  return fileURLToPath(specifier).split("/").at(-1) ?? "";
}
