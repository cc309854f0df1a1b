/**
 * `outpost demo`: the main job on this machine alone. A registry with images built on the spot and a broker server run
 * on loopback; the daemon is the real one, with a configuration that needs nothing from outside.
 *
 * @module
 */
import { type Callback, type CallbackAnswer, LoopbackBroker } from "../broker/mod.ts";
import { LIMITS } from "../core/limits.ts";
import type { ScanResult } from "../core/scan_ports.ts";
import { withDeadline } from "../lib/deadline.ts";
import { alpineSample, debianSample, distrolessSample, multiPlatformSample } from "../lib/sample_images.ts";
import { createLoopbackRegistry } from "../registries/loopback_registry.ts";
import { type CommandContext, type Daemon, EXIT, type LocalServer } from "./context.ts";
import { count } from "./progress.ts";
import { aborted } from "./start.ts";

/** Options of {@link runDemo}. */
export interface DemoOptions {
  /** End after the run instead of staying up. */
  readonly once: boolean;
}

const IMAGES = ["demo/debian-app:1.0", "demo/alpine-app:3.21", "demo/distroless:12", "demo/multi:latest"];
const PACKAGES_SHOWN = 6;

/** Runs the demo; exit code 0 when every step succeeded. */
export async function runDemo(context: CommandContext, options: DemoOptions): Promise<number> {
  const { world } = context;
  const demo = new Demo(context);
  try {
    await demo.start();
    const deadline = { clock: world.clock, ms: LIMITS.demoMs, what: "The demo", signal: world.signal };
    const ok = await withDeadline(deadline, (signal) => demo.drive(signal));
    if (ok && !options.once) await demo.stayUp();
    return ok ? EXIT.ok : EXIT.error;
  } finally {
    await demo.stop();
  }
}

class Demo {
  readonly #context: CommandContext;
  readonly #secrets: { readonly token: string; readonly password: string };
  readonly #callbacks: Callback[] = [];
  #broker: LoopbackBroker | undefined;
  #brokerServer: LocalServer | undefined;
  #registryServer: LocalServer | undefined;
  #daemon: Daemon | undefined;
  #closeToolbox: (() => Promise<void>) | undefined;
  #wake = Promise.withResolvers<void>();
  #step = 0;
  #scanned = 0;

  constructor(context: CommandContext) {
    this.#context = context;
    this.#secrets = { token: context.world.newId(), password: context.world.newId() };
  }

  #print(text: string): void {
    this.#context.world.stdout.write(`${text}\n`);
  }

  #title(text: string): void {
    this.#print(`\n${++this.#step}. ${text}`);
  }

  async start(): Promise<void> {
    const { world } = this.#context;
    const { token, password } = this.#secrets;
    this.#title("Start a registry and a broker server on this machine");
    this.#registryServer = await world.listen(createLoopbackRegistry({
      username: "demo",
      password,
      repositories: {
        "demo/debian-app": { "1.0": debianSample(), "0.9": debianSample({ created: "2020-01-01T00:00:00Z" }) },
        "demo/alpine-app": { "3.21": alpineSample() },
        "demo/distroless": { "12": distrolessSample() },
        "demo/multi": { latest: multiPlatformSample() },
      },
    }));
    this.#print(
      `   registry       ${this.#registryServer.url}  (Basic login, ${
        count(IMAGES.length, "repository", "repositories")
      } built on the spot)`,
    );
    const log: string[] = [];
    const toolbox = await this.#context.toolbox({
      BROKER_TOKEN: token,
      BROKER_SERVER_URL: await this.#startBroker(token),
      CR_TYPE: "oci",
      CR_BASE: this.#registryServer.url,
      CR_USERNAME: "demo",
      CR_PASSWORD: password,
      OUTPOST_HOST: "127.0.0.1",
      PORT: "0",
      LOG_LEVEL: "warn",
      PREFLIGHT_CHECKS_ENABLED: "false",
    }, { isolated: true, log: (line) => log.push(line) });
    this.#closeToolbox = toolbox.close;
    this.#title("Start the daemon and connect it to the broker server");
    this.#daemon = await toolbox.startDaemon();
    const deadline = {
      clock: world.clock,
      ms: LIMITS.brokerConnectTimeoutMs,
      what: "Connecting",
      signal: world.signal,
    };
    await withDeadline(deadline, async (signal) => await this.#broker?.connected(2, signal));
    this.#print(`   daemon         ${this.#daemon.url}  (/healthcheck /readyz /metrics /openapi.json)`);
    for (const { role } of this.#broker?.sockets ?? []) this.#print(`   websocket      ${role} identified`);
    for (const line of log) this.#print(`   ${line}`);
  }

  async #startBroker(token: string): Promise<string> {
    const { world } = this.#context;
    this.#broker = new LoopbackBroker({
      token,
      clock: world.clock,
      logger: world.silentLogger,
      randomId: world.newId,
      upgrade: world.upgradeWebSocket,
      onCallback: (callback) => this.#received(callback),
    });
    this.#brokerServer = await world.listen(this.#broker.fetch);
    this.#print(`   broker server  ${this.#brokerServer.url}`);
    return this.#brokerServer.url;
  }

  #received(callback: Callback): CallbackAnswer {
    this.#callbacks.push(callback);
    if (callback.url.endsWith("/result") && this.#showResult(callback)) this.#scanned++;
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
    return { status: 200, headers: { "content-type": "application/json" }, body: new TextEncoder().encode("{}") };
  }

  /** Plays Snyk's part: asks through the broker, waits for the callbacks. */
  async drive(signal: AbortSignal): Promise<boolean> {
    this.#title("Ask through the broker, as Snyk does; every request travels over the websocket");
    const valid = await this.#ask("GET", "/validate-credentials", signal);
    const list = await this.#ask("GET", "/list", signal);
    await this.#ask("GET", "/list/demo/debian-app", signal);
    await this.#ask("GET", "/list-with-metadata/demo/debian-app", signal);
    await this.#ask("GET", "/get-state-identifier?image=demo/debian-app:1.0", signal);
    const blocked = await this.#ask("GET", "/not/allowed", signal);
    this.#title("Ask for scans; results come back as callbacks");
    const accepted = await this.#ask("POST", "/scan", signal, { images: IMAGES.map((name) => ({ name })) });
    if (accepted !== 202) return false;
    const done = await this.#callback("/api/v2/import/done", signal);
    this.#print(`   POST ${done.url}  ${new TextDecoder().decode(done.body)}`);
    const statuses = [valid, list, accepted].every((status) => status >= 200 && status < 300) && blocked === 401;
    const ok = statuses && this.#scanned === IMAGES.length;
    this.#print(
      ok ? `\nDone: ${IMAGES.length} images scanned, nothing was written to disk.` : "\nThe demo failed: see above.",
    );
    return ok;
  }

  async #ask(method: string, path: string, signal: AbortSignal, body?: unknown): Promise<number> {
    const url = `${this.#brokerServer?.url}/broker/${this.#secrets.token}${path}`;
    const headers: Record<string, string> = {
      authorization: "${CR_CREDENTIALS}",
      "x-broker-var-sub": "authorization",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    const request = new Request(url, {
      method,
      headers,
      signal,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const response = await this.#context.world.fetchLocal(request, signal);
    const text = await response.text();
    this.#print(`   ${method} ${path}\n      ${response.status} ${text.slice(0, 400)}`);
    return response.status;
  }

  async #callback(path: string, signal: AbortSignal): Promise<Callback> {
    for (;;) {
      const found = this.#callbacks.find((callback) => callback.url === path);
      if (found !== undefined) return found;
      await Promise.race([this.#wake.promise, aborted(signal)]);
      signal.throwIfAborted();
    }
  }

  #showResult(callback: Callback): boolean {
    const result = JSON.parse(new TextDecoder().decode(callback.body)) as ImportResult;
    const first = result.scanResults?.[0];
    if (first === undefined) {
      this.#print(`   POST /api/v2/import/result  ${result.name}: ${result.status} ${JSON.stringify(result.error)}`);
      return false;
    }
    const graph = first.facts.find((fact) => fact.type === "depGraph")?.data as DepGraphJson | undefined;
    const packages = (graph?.pkgs ?? []).slice(1).map(({ info }) => `${info.name}@${info.version ?? ""}`);
    const system = graph?.pkgManager.repositories?.[0]?.alias ?? "unknown";
    this.#print(
      `   POST /api/v2/import/result  ${result.name}: ${result.status}, ${system}, ${
        count(packages.length, `${first.identity.type} package`)
      }`,
    );
    const more = packages.length > PACKAGES_SHOWN ? `, … ${packages.length - PACKAGES_SHOWN} more` : "";
    this.#print(`      ${packages.slice(0, PACKAGES_SHOWN).join(", ")}${more}`);
    return result.status === "success";
  }

  /** Keeps everything running until Ctrl-C, and says what to try. */
  async stayUp(): Promise<void> {
    const broker = `${this.#brokerServer?.url}/broker/${this.#secrets.token}`;
    this.#print(
      `\nStill running. Try:\n   curl ${this.#daemon?.url}/healthcheck\n   curl ${broker}/list\nCtrl-C ends it.`,
    );
    await aborted(this.#context.world.signal);
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop();
    await this.#closeToolbox?.();
    this.#broker?.close();
    await this.#brokerServer?.close();
    await this.#registryServer?.close();
  }
}

/** The parts of a result callback that the demo shows. */
interface ImportResult {
  readonly name?: string;
  readonly status?: string;
  readonly scanResults?: readonly ScanResult[];
  readonly error?: unknown;
}

/** The parts of a dep-graph's JSON that the demo shows. */
interface DepGraphJson {
  readonly pkgManager: { readonly repositories?: readonly { readonly alias: string }[] };
  readonly pkgs: readonly { readonly info: { readonly name: string; readonly version?: string } }[];
}
