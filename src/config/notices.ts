/**
 * Settings that mean less here than with Snyk's client, which runs on Node.js, or that are dangerous: what the operator is
 * told at the start (broker-protocol.md §12, §17).
 *
 * @module
 */
import type { Config } from "./load.ts";

/** Something that the operator should know. */
export interface Notice {
  /** Sentence without a full stop. */
  readonly message: string;
  /** What to change. */
  readonly hint: string;
}

/** What a configuration that can be used still deserves to be said of it; nothing in it is secret. */
export function startupNotices(config: Config): readonly Notice[] {
  return [
    ...verification(config),
    ...unverifiedRegistry(config),
    ...plainThroughProxy(config),
    ...insecureDownstream(config),
    ...metrics(config),
    ...memoryOnly(config),
    ...queueKey(config),
    ...plainQueue(config),
  ];
}

/** Deno decides by a flag of its own, before any program runs. */
function verification({ variable }: Config): readonly Notice[] {
  if (variable("NODE_TLS_REJECT_UNAUTHORIZED") !== "0") return [];
  return [{
    message: "NODE_TLS_REJECT_UNAUTHORIZED=0 has no effect: Deno verifies certificates unless it is started otherwise",
    hint:
      "Give the authority's certificate in CA_CERT or NODE_EXTRA_CA_CERTS. To do without verification, start Deno with " +
      "--unsafely-ignore-certificate-errors=<host>, which holds for the websocket too.",
  }];
}

/** The same flag, which the launcher adds. */
function unverifiedRegistry({ variable }: Config): readonly Notice[] {
  const hosts = variable("OUTPOST_UNVERIFIED_HOSTS") ?? "";
  if (hosts !== "") {
    return [{
      message: `Certificates of ${hosts} are taken as they come: whoever is in between can read the registry's logins`,
      hint: "Give the authority's certificate in CR_CA_FILE instead, and unset CR_TLS_INSECURE.",
    }];
  }
  if (!/^(?:true|yes|1|on)$/i.test(variable("CR_TLS_INSECURE") ?? "")) return [];
  return [{
    message: "CR_TLS_INSECURE has no effect: Outpost was started without its launcher",
    hint: "Start it by bin/outpost, or give Deno the flag --unsafely-ignore-certificate-errors=<host of the registry>.",
  }];
}

/** A websocket without TLS is asked of the proxy by GET, not by CONNECT, and most proxies do not upgrade it. */
function plainThroughProxy({ role, brokerServerUrl: server, variable }: Config): readonly Notice[] {
  if (role === "agent" || server.protocol !== "http:") return [];
  if ((variable("HTTP_PROXY") ?? "") === "" || isDirect(server.hostname, variable("NO_PROXY") ?? "")) return [];
  return [{
    message: "The websocket to an http:// broker server may not pass the proxy in HTTP_PROXY",
    hint: `Use https:// in BROKER_SERVER_URL, or put ${server.hostname} into NO_PROXY.`,
  }];
}

function insecureDownstream({ broker }: Config): readonly Notice[] {
  if (!broker.insecureDownstream) return [];
  return [{
    message: "INSECURE_DOWNSTREAM is set: agents are asked by http, credentials travel unencrypted",
    hint: "Unset it where the agent speaks TLS.",
  }];
}

/** Snyk's client speaks OTLP over gRPC, whose registered port is 4317. */
function metrics({ metricsPush }: Config): readonly Notice[] {
  if (metricsPush?.url.port !== "4317") return [];
  return [{
    message:
      "METRICS_OTEL_ENDPOINT names port 4317, on which collectors take OTLP over gRPC: it is spoken over HTTP here",
    hint: "Name the collector's port for OTLP over HTTP, by default 4318.",
  }];
}

function memoryOnly({ role, data, queue }: Config): readonly Notice[] {
  if (role === "broker" || data.directory !== undefined || queue !== undefined) return [];
  return [{
    message: "Accepted scans are kept in memory: those that have not ended are lost when the process does",
    hint: "Set OUTPOST_DATA_DIR to a directory that this user may write.",
  }];
}

/** Any daemon has to open what another has sealed. */
function queueKey({ role, queue, brokerToken }: Config): readonly Notice[] {
  if (role === "broker" || queue === undefined || queue.key !== undefined || brokerToken !== undefined) return [];
  return [{
    message: "Requests that bring credentials of their own are refused: the daemons of the queue have no key in common",
    hint: "Set OUTPOST_QUEUE_KEY to the same 32 random bytes in base64 for all (openssl rand -base64 32).",
  }];
}

/** A login for everything that the daemons share. */
function plainQueue({ role, queue }: Config): readonly Notice[] {
  if (role === "broker" || queue === undefined || queue.caCerts.length > 0) return [];
  if (queue.password === undefined && queue.token === undefined) return [];
  const plain = queue.servers.filter((server) =>
    server.startsWith("nats:") && !isDirect(server.slice("nats://".length).replace(/:\d+$/, ""), "")
  );
  if (plain.length === 0) return [];
  return [{
    message: `The login of ${plain.join(", ")} travels unencrypted, unless NATS asks for TLS`,
    hint: "Write tls:// in OUTPOST_QUEUE.",
  }];
}

/** Whether NO_PROXY, or being this machine, keeps the proxy out. Networks in NO_PROXY are not looked at. */
function isDirect(host: string, noProxy: string): boolean {
  if (host === "localhost" || host === "[::1]" || /^127(?:\.\d+){3}$/.test(host)) return true;
  return noProxy.split(",").map((part) => part.trim().toLowerCase().replace(/^\*?\./, "")).some((part) =>
    part === "*" || (part !== "" && (host === part || host.endsWith(`.${part}`)))
  );
}
