/**
 * Preflight checks: what an operator should know before wondering why nothing works. They never keep the client from
 * connecting (broker-protocol.md §7).
 *
 * @module
 */
import { toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Fetch } from "../core/ports.ts";
import { withDeadline } from "../lib/deadline.ts";
import type { ConnectionReport } from "./client_options.ts";
import { isRecord, parseBoundedJson } from "./codec.ts";
import { isUuid } from "./handshake.ts";

/** Outcome of one check, as `identify` and `/health/checks` show it. */
export interface PreflightCheck {
  readonly id: string;
  readonly name: string;
  readonly status: "passing" | "warning" | "error";
  /** What was found; no secrets. */
  readonly output: string;
}

/** What the checks look at. */
export interface PreflightOptions {
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly serverUrl: URL;
  /** API_BASE_URL. */
  readonly apiUrl: URL;
  /** BROKER_TOKEN; undefined in a universal client, which has none. */
  readonly token: string | undefined;
  readonly protocolVersion: string;
  /** BROKER_CLIENT_URL. */
  readonly clientUrl: URL | undefined;
  /** Whether TLS for it is taken care of: HTTPS_CERT and HTTPS_KEY, or BROKER_CLIENT_URL_TLS_TERMINATED. */
  readonly servesTls: boolean;
  /** Whether ACCEPT names rules of the operator's own. */
  readonly customRules: boolean;
  /** Names of the `ACCEPT_…` flags that are set. */
  readonly ruleFlags: readonly string[];
  /** Whether GIT_CLIENT_URL names a code agent, or DISABLE_CODE_AGENT_PREFLIGHT_CHECK says that nobody wants to know. */
  readonly codeAgent: "used" | "unused" | "unchecked";
  /** Names of the `…_WORKLOAD_…` variables that ask for another workload than the client's own. */
  readonly workloads: readonly string[];
  /** The connections of a local file (SKIP_REMOTE_CONFIG); undefined without one. */
  readonly localConnections?: (() => readonly Pick<ConnectionReport, "name" | "problem">[]) | undefined;
}

/** A status and a bounded part of the body. */
interface Probe {
  readonly status: number;
  readonly text: string;
}

type Verdict = Pick<PreflightCheck, "status" | "output">;

interface Check {
  readonly id: string;
  readonly name: string;
  /** Whether `/health/checks` runs it again. */
  readonly http: boolean;
  readonly run: (signal: AbortSignal) => Promise<Verdict> | Verdict;
}

/** Runs the checks. */
export class Preflight {
  readonly #options: PreflightOptions;
  readonly #checks: readonly Check[];

  constructor(options: PreflightOptions) {
    this.#options = options;
    const server = joined(options.serverUrl, "/healthcheck");
    this.#checks = [
      this.#http("broker-server-status", "Broker Server Healthcheck", server),
      this.#http("rest-api-status", "REST API Healthcheck", joined(options.apiUrl, "/rest/openapi")),
      ...(options.clientUrl === undefined ? [] : [this.#clientUrl(options.clientUrl)]),
      ...(options.localConnections === undefined ? [] : [localConnections(options.localConnections)]),
      {
        id: "accept-flags-config-validation",
        name: "Accept flags Configuration Check",
        http: false,
        run: () => ruleFlags(options),
      },
      ...(options.codeAgent === "unchecked" ? [] : [codeAgent(options.codeAgent)]),
      {
        id: "client-version-validation",
        name: "Broker Client Version Check",
        http: false,
        run: async (signal) => compareVersions(options.protocolVersion, await this.#probe(server, signal)),
      },
      ...(options.token === undefined ? [] : [tokenCheck(options.token)]),
      {
        id: "workload-config-validation",
        name: "Workload Configuration Check",
        http: false,
        run: () => workloads(options),
      },
    ];
  }

  /** Every check, all at once. Rejects only when the signal aborts. */
  async all(signal: AbortSignal): Promise<readonly PreflightCheck[]> {
    return await Promise.all(this.#checks.map((check) => runCheck(check, signal)));
  }

  /** The checks that `/health/checks` shows: those of the network. */
  async network(signal: AbortSignal): Promise<readonly PreflightCheck[]> {
    return await Promise.all(this.#checks.filter(({ http }) => http).map((check) => runCheck(check, signal)));
  }

  /** One of {@link Preflight.network}; undefined when there is none of that id. */
  async one(id: string, signal: AbortSignal): Promise<PreflightCheck | undefined> {
    const check = this.#checks.find((one) => one.http && one.id === id);
    return check === undefined ? undefined : await runCheck(check, signal);
  }

  #http(id: string, name: string, url: URL): Check {
    const run = async (signal: AbortSignal): Promise<Verdict> => {
      const { status, text } = await this.#persist(url, signal);
      const cut = text.length > 200 ? `${text.slice(0, 200)}... (truncated)` : text;
      const output = `HTTP GET ${shown(url)}: ${status}, response: ${JSON.stringify(cut)}`;
      return { status: status >= 200 && status <= 299 ? "passing" : status === 429 ? "warning" : "error", output };
    };
    return { id, name, http: true, run };
  }

  #clientUrl(url: URL): Check {
    const run = async (signal: AbortSignal): Promise<Verdict> => {
      if (url.protocol === "https:" && !this.#options.servesTls) {
        try {
          await this.#persist(joined(url, "/healthcheck"), signal);
        } catch (error) {
          signal.throwIfAborted();
          const output = `Broker Client URL uses HTTPS, but ${shown(url)}/healthcheck cannot be reached ` +
            `(${
              reasonOf(error)
            }). Set HTTPS_CERT and HTTPS_KEY, or BROKER_CLIENT_URL_TLS_TERMINATED=true when a proxy ` +
            "in front of this process terminates TLS.";
          return { status: "error", output };
        }
      }
      return url.hostname === "localhost"
        ? { status: "warning", output: `Broker Client URL is configured for localhost: ${shown(url)}` }
        : { status: "passing", output: "config check: ok" };
    };
    return { id: "broker-client-url-validation", name: "Broker Client URL Validation Check", http: false, run };
  }

  /** Asks again when nobody answers, after the reference's waits; an answer is an answer, whatever its status. */
  async #persist(url: URL, signal: AbortSignal): Promise<Probe> {
    for (let attempt = 0;; attempt++) {
      try {
        return await this.#probe(url, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (attempt === LIMITS.preflightRetries) throw error;
        await this.#options.clock.sleep(LIMITS.preflightRetryMs * 2 ** attempt, signal);
      }
    }
  }

  async #probe(url: URL, signal: AbortSignal): Promise<Probe> {
    const { clock, fetch: ask } = this.#options;
    const limit = { clock, ms: LIMITS.preflightTimeoutMs, what: `The request to ${url.host}`, signal };
    return await withDeadline(limit, async (deadline) => {
      const headers = { accept: "application/json" };
      const response = await ask(new Request(url, { headers, redirect: "manual", signal: deadline }));
      return { status: response.status, text: await beginning(response, LIMITS.errorMessageChars) };
    });
  }
}

/** The checks as a table of plain text, followed by what does not pass. */
export function preflightTable(checks: readonly PreflightCheck[]): string {
  const width = Math.max(...checks.map(({ id }) => id.length), 5);
  const rows = checks.map(({ id, status }) => `  ${id.padEnd(width)}  ${status}`);
  const details = checks.filter(({ status }) => status !== "passing").map(({ name, status, output }) =>
    `[${name}] ${status}: ${output}`
  );
  const end = details.length > 0 ? details : ["All preflight checks passing"];
  const head = `  ${"check".padEnd(width)}  status`;
  const rule = `  ${"-".repeat(width)}  -------`;
  return ["Preflight checks (they do not block the start)", head, rule, ...rows, "", ...end, ""].join("\n");
}

async function runCheck({ id, name, run }: Check, signal: AbortSignal): Promise<PreflightCheck> {
  try {
    return { id, name, ...await run(signal) };
  } catch (error) {
    signal.throwIfAborted();
    return { id, name, status: "error", output: `The check failed: ${reasonOf(error)}` };
  }
}

function ruleFlags({ customRules, ruleFlags }: PreflightOptions): Verdict {
  return customRules && ruleFlags.length > 0
    ? { status: "error", output: `${ruleFlags.join(", ")}: ACCEPT_ flags are not compatible with custom accept rules.` }
    : { status: "passing", output: "ACCEPT flags configuration OK." };
}

function codeAgent(state: "used" | "unused"): Check {
  const run = (): Verdict =>
    state === "used"
      ? { status: "warning", output: "Code Agent is deprecated, and GIT_CLIENT_URL is of no use here." }
      : { status: "passing", output: "Code Agent not in use." };
  return { id: "code-agent-deprecation-validation", name: "Code Agent Deprecation Check", http: false, run };
}

/** The workloads are part of this program; what asks for others is not heard. */
function workloads({ workloads }: PreflightOptions): Verdict {
  return workloads.length === 0
    ? { status: "passing", output: "Workload configuration OK." }
    : { status: "error", output: `${workloads.join(", ")}: workloads other than the client's own cannot be loaded.` };
}

function localConnections(read: NonNullable<PreflightOptions["localConnections"]>): Check {
  const run = async (): Promise<Verdict> => {
    // The first connection starts the checks while the others are still being looked at.
    await Promise.resolve();
    const connections = read();
    if (connections.length === 0) return { status: "error", output: "Missing connections in config" };
    const broken = connections.filter(({ problem }) => problem !== undefined);
    return broken.length === 0
      ? { status: "passing", output: "connections config check: ok" }
      : { status: "error", output: broken.map(({ name, problem }) => `${name}: ${problem}`).join("; ") };
  };
  const name = "Local Universal Broker Client Connections Configuration Check";
  return { id: "local-universal-broker-connections-config-validation", name, http: false, run };
}

function tokenCheck(token: string): Check {
  const run = (): Verdict => tokenForm(token);
  return { id: "broker-token-validation", name: "Broker Token Validation Check", http: false, run };
}

function tokenForm(token: string): Verdict {
  if (token === "") return { status: "error", output: "Broker Token is required" };
  return isUuid(token)
    ? { status: "passing", output: "Broker Token parsed successfully" }
    : { status: "error", output: "Broker Token in unrecognised format. Ensure that it is of form UUIDv4" };
}

/** More than ten minor versions behind the server is outdated. */
function compareVersions(own: string, { text }: Probe): Verdict {
  const parsed = parseBoundedJson(text);
  const version = parsed.ok && isRecord(parsed.value) ? parsed.value["version"] : undefined;
  const minor = (from: unknown): number => typeof from === "string" ? Number(from.split(".")[1] ?? NaN) : NaN;
  const behind = minor(version) - minor(own);
  if (Number.isNaN(behind)) return { status: "warning", output: "The broker server does not tell its version." };
  return behind > 10
    ? { status: "error", output: "Your broker client version is outdated. Please upgrade to the latest version." }
    : { status: "passing", output: "Running supported broker client version." };
}

/** The first bytes of a body as text. */
async function beginning(response: Response, bytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk.subarray(0, bytes), { stream: true });
    if (text.length >= bytes) break;
  }
  return text.slice(0, bytes);
}

/** Deno's own messages quote the URL: only ours are shown. */
function reasonOf(error: unknown): string {
  const { code, message } = toOutpostError(error);
  return code === "INTERNAL" ? "no connection" : message;
}

function joined(base: URL, path: string): URL {
  return new URL(base.origin + base.pathname.replace(/\/+$/, "") + path);
}

function shown(url: URL): string {
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}
