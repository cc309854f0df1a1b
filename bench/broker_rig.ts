/**
 * The processes of bench/broker.ts: Snyk's broker server, the agent, and the two clients between them, with what the
 * kernel counts for each.
 *
 * @module
 */
import { denoEnv, type Program, ROOT, SHIPPED, startDaemonProcess } from "../tests/e2e/daemon.ts";
import { startBrokerClient } from "../tests/peers/broker_client.ts";
import { type BrokerServer, startBrokerServer } from "../tests/peers/broker_server.ts";
import { type ServerProcess, startProcess, within } from "../tests/peers/process.ts";
import { build } from "../tools/build.ts";

/** Which program stands between server and agent: Snyk's, ours before the agent, ours alone. */
export type ClientKind = "reference" | "broker" | "all";

/** Server and agent. */
export interface Rig extends AsyncDisposable {
  readonly server: BrokerServer;
  readonly agent: ServerProcess;
  readonly agentUrl: string;
  /** Ours, as the container ships it. */
  readonly program: Program;
}

/** A client that is connected under a token of its own. */
export interface Client extends AsyncDisposable {
  readonly kind: ClientKind;
  readonly token: string;
  readonly process: ServerProcess;
  /** From the start of the process until the server can use its first socket. */
  readonly connectedMs: number;
}

const CONNECT_WITHIN_MS = 30_000;
const CONNECT_POLL_MS = 5;
/** USER_HZ, which Linux fixes for what it tells programs. */
const TICKS_PER_SECOND = 100;

/** Starts server and agent. */
export async function startRig(): Promise<Rig> {
  const folder = await Deno.makeTempDir({ prefix: "outpost-bench-" });
  await build(folder);
  const server = await startBrokerServer();
  const agent = await startProcess({
    name: "agent",
    command: Deno.execPath(),
    args: ["run", "--no-config", "--allow-net", "bench/broker_agent.ts"],
    cwd: ROOT,
    env: denoEnv(),
    ready: (process, signal) => process.printed(/^\d+\n/, signal),
  });
  return {
    server,
    agent,
    agentUrl: `http://127.0.0.1:${agent.log().trim()}`,
    program: { folder, module: "outpost.js" },
    [Symbol.asyncDispose]: async () => {
      await agent.stop();
      await server.stop();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** Starts a client and waits until the server can use it. Preflight checks, which ask Snyk's own hosts, are off. */
export async function startClient(rig: Rig, kind: ClientKind): Promise<Client> {
  const token = crypto.randomUUID();
  const began = performance.now();
  const [{ process, stop }, connectedMs] = await Promise.all([
    launch(rig, kind, token),
    within(CONNECT_WITHIN_MS, `${kind} to connect`, (signal) => untilConnected(rig.server, token, began, signal)),
  ]);
  return { kind, token, process, connectedMs, [Symbol.asyncDispose]: stop };
}

interface Launched {
  readonly process: ServerProcess;
  readonly stop: () => Promise<void>;
}

async function launch(rig: Rig, kind: ClientKind, token: string): Promise<Launched> {
  const { server, agentUrl } = rig;
  if (kind === "reference") return await startBrokerClient({ serverUrl: server.url, token, agentUrl });
  const env = {
    BROKER_SERVER_URL: server.url,
    BROKER_TOKEN: token,
    PREFLIGHT_CHECKS_ENABLED: "false",
    ...SHIPPED.env,
    OUTPOST_ROLE: kind,
    ...(kind === "broker"
      ? { CR_AGENT_URL: agentUrl }
      : { CR_TYPE: "docker-registry", CR_BASE: "127.0.0.1:5000", CR_USERNAME: "user", CR_PASSWORD: "password" }),
  };
  const { process } = await startDaemonProcess(env, SHIPPED.flags, rig.program);
  return { process, stop: () => process.stop() };
}

/** Milliseconds since `began` when the first socket has identified itself. */
async function untilConnected(
  server: BrokerServer,
  token: string,
  began: number,
  signal: AbortSignal,
): Promise<number> {
  for (;;) {
    const response = await fetch(`${server.url}/connection-status/${token}`, { signal });
    const { clients = [] } = await response.json() as { readonly clients?: readonly { readonly version?: string }[] };
    if (response.ok && clients.some(({ version }) => version)) return performance.now() - began;
    await new Promise((resolve) => setTimeout(resolve, CONNECT_POLL_MS));
  }
}

/** Processor time that a process has used, in seconds: proc_pid_stat(5), utime and stime. */
export function cpuSeconds(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** A field of proc_pid_status(5) in MB (10⁶ bytes): VmRSS is the resident set now, VmHWM its peak. */
export function statusMegabytes(pid: number, field: "VmRSS" | "VmHWM"): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024 / 1e6;
}
