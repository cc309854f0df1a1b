/**
 * How fast the daemon answers `/healthcheck` while it scans a layer of 626 MB from docker-registry over loopback:
 * `deno run -A bench/responsive.ts [ENGINE] [SCANS]`. Requests follow one another without a pause, as fast as they are
 * answered; the latencies at rest are beside those of the scan.
 *
 * @module
 */
import process from "node:process";
import { startCallbackReceiver } from "../tests/e2e/callbacks.ts";
import { startDaemonProcess } from "../tests/e2e/daemon.ts";
import { readUsage } from "../tests/e2e/process_usage.ts";
import { askUntil } from "../tests/e2e/responsiveness.ts";
import { startDockerRegistry } from "../tests/peers/docker_registry.ts";
import { uploadLargeImage } from "../tests/peers/large_image.ts";

const MB = 1e6;
const REST_MS = 3_000;

function summary(latencies: readonly number[]): Record<string, number> {
  const sorted = latencies.toSorted((a, b) => a - b);
  const quantile = (share: number): number =>
    Number((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN).toFixed(1));
  return { requests: sorted.length, p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99), max: quantile(1) };
}

async function main(engine: string, scans: number): Promise<void> {
  await using registry = await startDockerRegistry({ mode: "htpasswd" });
  const image = await uploadLargeImage(registry, "big", "1", 626 * MB);
  await using receiver = startCallbackReceiver();
  await using daemon = await startDaemonProcess({
    CR_TYPE: "docker-registry",
    CR_BASE: registry.url,
    CR_USERNAME: registry.username,
    CR_PASSWORD: registry.password,
    OUTPOST_ROLE: "agent",
    OUTPOST_ENGINE: engine,
    BROKER_CLIENT_URL: receiver.url,
  }, ["--no-code-cache"]);
  const url = `${daemon.url}/healthcheck`;
  const rest = await askUntil(url, new Promise((resolve) => setTimeout(resolve, REST_MS)));
  const rows: Record<string, unknown>[] = [{ what: "at rest", ...summary(rest.map(({ ms }) => ms)) }];
  for (let scan = 1; scan <= scans; scan++) {
    const began = performance.now();
    const done = receiver.scan(daemon.url, { images: [{ name: "big:1" }] }, 300_000);
    const answers = await askUntil(url, done);
    const [result] = await done;
    if (result?.status !== "success") throw new Error(`The scan ended with ${result?.status}`);
    const seconds = Number(((performance.now() - began) / 1000).toFixed(2));
    rows.push({ what: `scan ${scan}`, seconds, ...summary(answers.map(({ ms }) => ms)) });
  }
  const peakRssMB = Math.round((readUsage(daemon.process.pid)?.peakRssBytes ?? NaN) / MB);
  const layer = { tarMB: Math.round(image.tarBytes / MB), gzipMB: Math.round(image.layer.size / MB) };
  process.stdout.write(
    `${JSON.stringify({ engine, deno: Deno.version.deno, layer, peakRssMB, latencyMs: rows }, null, 2)}\n`,
  );
}

if (import.meta.main) await main(Deno.args[0] ?? "auto", Number(Deno.args[1] ?? 3));
