/**
 * Each statement of broker-protocol.md §1–§14, and where it is proved: a test of that name, or a row of
 * docs/DIFFERENCES.md with the reason. A test or row that is renamed or goes away fails here.
 */
import { describe, expect, it } from "vitest";

const ROOT = new URL("../../", import.meta.url);
const DIFFERENCES = "docs/DIFFERENCES.md";

/** What is stated, the file that proves it, and words of the test's name or of the row. */
type Row = readonly [statement: string, file: string, words: string];

const CODEC = "src/broker/codec_test.ts";
const SESSION = "src/broker/session_test.ts";
const CONNECTION = "src/broker/connection_test.ts";
const HANDSHAKE = "src/broker/handshake_test.ts";
const CLIENT = "src/broker/client_test.ts";
const RELAY = "src/broker/relay_test.ts";
const RELAY_OPTIONS = "src/broker/relay_options_test.ts";
const UPLOAD = "src/broker/upload_test.ts";
const RULES = "src/broker/rules_test.ts";
const SUBSTITUTE = "src/broker/substitute_test.ts";
const CALLBACKS = "src/broker/callbacks_test.ts";
const PREFLIGHT = "src/broker/preflight_test.ts";
const DISPATCHER = "src/broker/dispatcher_test.ts";
const HOSTILE_FRAMES = "tests/broker/hostile_frames_test.ts";
const HOSTILE_ORIGINS = "tests/broker/hostile_origins_test.ts";
const REAL = "tests/broker/real_server_test.ts";
const FAULTS = "tests/broker/faults_test.ts";
const LOOPBACK = "tests/broker/loopback_test.ts";
const MESSAGES = "tests/broker/messages_test.ts";
const UNIVERSAL = "tests/broker/universal_test.ts";
const HA = "tests/broker/high_availability_test.ts";
const RECORDED = "tests/broker/recorded_frames_test.ts";
const SOCKETS = "tests/broker/sockets_test.ts";
const STOPPED = "tests/broker/stopped_peer_test.ts";
const DAEMON = "tests/daemon/broker_test.ts";
const SHUTDOWN = "tests/e2e/shutdown_test.ts";
const NETWORK = "tests/e2e/network_test.ts";
const OPERATION = "src/server/app_operation_test.ts";
const CONFIG = "src/config/load_test.ts";
const ENVIRONMENT = "src/config/environment_test.ts";
const RULE_SOURCE = "src/broker/rule_source_test.ts";
const VALIDATION = "src/server/validation_test.ts";

const ROWS: readonly Row[] = [
  ["§1 two sockets of one client, primary and secondary", REAL, "identifies both sockets"],
  [
    "§1 handshake: address and headers, websocket alone, EIO=4",
    CONNECTION,
    "documented address with the documented headers",
  ],
  ["§1 handshake: a path in BROKER_SERVER_URL is ignored", HANDSHAKE, "at %s"],
  ["§1 handshake: a request id of its own for each attempt", CONNECTION, "waits longer after every failure"],
  ["§1 handshake: Authorization with OAuth", UNIVERSAL, "connects every connection by both roles with a bearer"],
  ["§1 transport: no polling", DIFFERENCES, "HTTP long-polling before the websocket"],
  ["§1.1 open, close, ping, pong, message, noop", RECORDED, "is read and written again"],
  ["§1.1 the server asks, the client answers", SESSION, "answers engine.io's heartbeat"],
  ["§1.1 frames that are no packets, binary ones included", CODEC, "calls %j malformed"],
  ["§1.1 no ping for pingInterval + pingTimeout", SESSION, "heartbeat stays out"],
  ["§1.2 Primus pings, 25 s after opening and every pong", SESSION, "25 s after opening and after every pong"],
  ["§1.2 a pong that stays out", SESSION, "ends when a pong stays out"],
  ["§1.2 a server that stands still", STOPPED, "found by the pong that stays out"],
  ["§1.2 primus::server::close", LOOPBACK, "gets the client back after primus::server::close"],
  ["§1.2 primus::server::close is not the end", DIFFERENCES, "`primus::server::close`"],
  ["§1.2 other control messages are ignored", CODEC, "ignores %s"],
  ["§1.3 events and acknowledgements", SESSION, "hands events on and acknowledges them"],
  ["§1.3 each acknowledgement is honoured once", SESSION, "matches acknowledgements to requests, each once"],
  ["§1.3 what is ignored: data, id, type, reserved names", CODEC, "ignores %s"],
  ["§1.3 names of object internals", HOSTILE_FRAMES, "called like parts of objects"],
  ["§1.4 $binary, $date, $InfNaN, $escape", CODEC, "undoes encodeEjson() for any value"],
  ["§1.4 special only with exactly these keys", CODEC, "reads %s"],
  ["§1.4 EJSON that is none", HOSTILE_FRAMES, "skips EJSON that is none"],
  ["§1.5 identify before anything else", SESSION, "identifies itself before anything else"],
  ["§1.5 identify: its members", HANDSHAKE, "names the client by the SHA-256 of its token"],
  ["§1.5 the server's capabilities", LOOPBACK, "takes chunk events when it does not take uploads"],
  ["§1.5 versions that the server refuses", MESSAGES, "no longer supported"],
  ["§1.5 versions that the server warns of", MESSAGES, "will soon be too old"],
  ["§1.5 universal: integration type, deployment, no rules", UNIVERSAL, "connects every connection by both roles"],
  ["§1.6 the spare takes over", SOCKETS, "the spare takes over at once"],
  ["§1.6 the newest of several clients", SOCKETS, "the newest of two clients"],

  ["§2.1 the context in the path, the request's id", RELAY, "go to the agent, and their answers are uploaded"],
  ["§2.2 no rule: 401, the agent is not asked", RELAY, "no rule accepts are answered 401"],
  ["§2.3 origin and path, https by default", "src/broker/target_test.ts", "appends the path to %s"],
  ["§2.3 no other origin", HOSTILE_ORIGINS, "asks nobody else, however a path names another origin"],
  ["§2.4 variables in body and headers", REAL, "fills in credentials in headers and body fields"],
  ["§2.5 whose credentials go first", RELAY, "the rule's credentials, then the origin's"],
  ["§2.5 user info of the origin", "src/broker/target_test.ts", "turns the user info of %s into a header"],
  ["§2.6 header fields that are removed", RELAY, "go to the agent, and their answers are uploaded"],
  ["§2.6 REMOVE_X_FORWARDED_HEADERS", "src/broker/headers_test.ts", "REMOVE_X_FORWARDED_HEADERS"],
  ["§2.7 header fields that are set", RELAY, "go to the agent, and their answers are uploaded"],
  ["§2.7 x-broker-content-type: a form", RELAY_OPTIONS, "as a form"],
  ["§2.8 redirects are not followed", HOSTILE_ORIGINS, "follows no redirect of the agent"],
  ["§2.8 MAX_RETRY", RELAY_OPTIONS, "with MAX_RETRY=%i"],
  ["§2.8 no second POST", DIFFERENCES, "an agent that breaks off"],
  ["§2 a chunked request body", REAL, "takes a chunked request body"],
  ["§2 requests for ever larger heads", DIFFERENCES, "more than 65,536 characters"],

  ["§3.1 address, header fields, framing", UPLOAD, "posts length, head and body"],
  ["§3.1 the address with OAuth", UNIVERSAL, "connects every connection by both roles"],
  ["§3.1 any size, as it comes", REAL, "streams 20 MiB"],
  ["§3.1 the caller slows the agent down", LOOPBACK, "makes the agent wait when the caller reads slowly"],
  ["§3.1 an unknown id", HOSTILE_FRAMES, "gives up on a stream that the server does not know"],
  ["§3.1 the id belongs to the server, not to the websocket", FAULTS, "although every websocket was"],
  ["§3.1 fields of one name", DAEMON, "keeps several fields of one name"],
  ["§3.1 fields of one name, as a list", DIFFERENCES, "several header fields of one name"],
  ["§3.1 compressed bodies as they are", DAEMON, "passes a compressed answer on as it is"],
  ["§3.1 an agent that dies in between", REAL, "see that an answer was cut off"],
  ["§3.1 three attempts to connect, no replay", UPLOAD, "tries to connect three times"],
  ["§3.1 BROKER_CLIENT_POST_TIMEOUT", UPLOAD, "nothing moves for brokerUploadIdleMs"],
  ["§3.2 answers inside the websocket", REAL, "answers inside the websocket when the caller asks for it"],
  ["§3.2 the limit of 20,971,520 bytes", RELAY, "by acknowledgement up to brokerSocketResponseBytes"],
  ["§3.2 SOCKET_MAX_RESPONSE_LENGTH", RELAY_OPTIONS, "SOCKET_MAX_RESPONSE_LENGTH"],
  ["§3.2 frames of 22,020,096 bytes", CODEC, "accepts a frame at brokerFrameBytes"],
  ["§3.2 binary answers", DIFFERENCES, "bytes are not UTF-8 inside the websocket"],
  ["§3.3 chunk events", RELAY, "answered with chunks"],
  ["§3.4 errors of our own", RELAY, "that the agent does not answer are asked once and answered"],
  ["§3.4 labels of statuses", RELAY, "keep the agent's status %d with the label"],
  ["§3.4 a connection that is not taken in time", RELAY_OPTIONS, "answered 504"],

  ["§4 JSON and YAML", RULE_SOURCE, "takes JSON and YAML for the same rules"],
  ["§4 from a file", RULE_SOURCE, "reads a file each time"],
  ["§4 a relative path", DIFFERENCES, "a relative path in ACCEPT"],
  ["§4 from a URL", RULE_SOURCE, "asks the URL"],
  ["§4 read anew every 24 h and on demand", RULE_SOURCE, "takes new rules, keeps the old ones"],
  ["§4 POST /filters", DAEMON, "reloads its rules on POST /filters"],
  ["§4 the first rule that matches, fragments cut off", RULES, "gives the first rule that matches"],
  ["§4 paths", "src/broker/path_pattern_test.ts", "agrees with the regular expression of path-to-regexp 1.x"],
  ["§4 the whole URL is normalized", RULES, "%s: %j"],
  ["§4 percent-encoded dots", DIFFERENCES, "behind percent-encoding"],
  ["§4 valid: body values", RULES, "compares body values"],
  ["§4 valid: {path, value} is compared", DIFFERENCES, "`valid: [{path, value}]`"],
  ["§4 valid: regular expressions", RULES, "applies regular expressions to body values"],
  ["§4 valid: queries", RULES, "wants every query entry"],
  ["§4 valid: body or query, headers on top", RULES, "takes body or query, and headers on top"],
  ["§4 auth schemes", RULES, "%j gives %s"],
  ["§4 ${VAR} and pools", SUBSTITUTE, "gives the members of a pool in turn"],
  ["§4 ACCEPT_… flags", DIFFERENCES, "ACCEPT_ESSENTIALS"],
  ["§4 the rules of the container registry agent", RULES, "let %s %s through to the agent"],

  ["§5 x-broker-var-sub", SUBSTITUTE, "changes the named headers only"],
  ["§5 BROKER_VAR_SUB", SUBSTITUTE, "changes the named fields and removes the list"],
  ["§5 DISABLE_…_VARS_SUBSTITUTION", RELAY_OPTIONS, "DISABLE_HEADER_VARS_SUBSTITUTION"],
  [
    "§5 CR_CREDENTIALS as the entry point makes it",
    "src/registries/credentials_test.ts",
    "writes what Snyk's entrypoint writes, byte for byte",
  ],
  ["§5 a preset CR_CREDENTIALS", CONFIG, "keeps a preset CR_CREDENTIALS"],
  ["§5 $NAME in values", ENVIRONMENT, "expandReferences()"],
  ["§5 no other registry", DIFFERENCES, "another registry than CR_BASE"],
  ["§5 no other registry, seen from outside", HOSTILE_ORIGINS, "asks no registry but the configured one"],

  ["§6 public rules decide, with any method", CALLBACKS, "lets the public rules decide on methods"],
  ["§6 any method on the port", OPERATION, "go with whatever method they have"],
  ["§6 no rule: 401", CLIENT, "that no public rule accepts are answered 401"],
  ["§6 an acknowledged event on the primary socket", CLIENT, "go to the primary socket first"],
  ["§6 the answer of a callback", DIFFERENCES, "the answer of a callback (§6)"],
  ["§6 gzip and deflate", CALLBACKS, "inflates gzip and deflate"],
  ["§6 10 MiB", CLIENT, "may have 10 MiB, not a byte more"],
  ["§6 413 above it", DAEMON, "refuses a callback that is too large once it is inflated"],
  ["§6 413 instead of 500", DIFFERENCES, "a callback of more than 10 MiB"],
  ["§6 503 with Retry-After while disconnected", DAEMON, "tells who calls back to come again"],
  ["§6 nothing hangs", DIFFERENCES, "a callback while no socket is open"],
  ["§6 the request's id", CALLBACKS, "takes the request's id from the first header"],
  ["§6 hop-by-hop fields", CALLBACKS, "sends neither transfer-encoding nor other fields of the hop"],
  ["§6 universal mode", UNIVERSAL, "sends a callback by the connection that it belongs to"],
  ["§6 GET /filters", OPERATION, "shows the accept rules and the metrics"],
  ["§6 POST /webhook by HTTP while disconnected", CALLBACKS, "go to the API by HTTP while no socket is open"],

  ["§7 /healthcheck", OPERATION, "show %s"],
  ["§7 /healthcheck and /systemcheck elsewhere", OPERATION, "stand at the paths that the operator chose"],
  ["§7 /systemcheck", VALIDATION, "uses CR_CREDENTIALS when nothing is named"],
  ["§7 /systemcheck: the last credential", VALIDATION, "take the last credential's outcome as the whole"],
  ["§7 /systemcheck: its time limit", DIFFERENCES, "`/systemcheck` that gets no answer"],
  ["§7 /systemcheck in universal mode", "tests/e2e/universal_test.ts", "shows each connection"],
  ["§7 preflight checks", PREFLIGHT, "passes when everything is in order"],
  ["§7 preflight checks as a table", DAEMON, "prints its preflight checks as a table"],
  ["§7 preflight checks do not hold the start up", DIFFERENCES, "| preflight checks |"],
  ["§7 preflight checks: three further attempts", PREFLIGHT, "takes the answer of a later attempt"],
  ["§7 /health/checks", DAEMON, "runs the checks of the network again"],
  ["§7 the IPv6 probe", DIFFERENCES, "IPV6_CONNECTIVITY_CHECK_ENABLED"],

  ["§8 first retry, growing waits", CONNECTION, "after %d failures with chance %d"],
  ["§8 no last attempt", DIFFERENCES, "30 attempts to reconnect"],
  ["§8 connect timeout", SESSION, "does not connect within brokerConnectTimeoutMs"],
  ["§8 after primus::server::close", CONNECTION, "reconnects after primus::server::close"],
  ["§8 a handshake that is refused", UNIVERSAL, "is refused without a bearer, and shows the reason"],
  ["§8 cut anywhere", "tests/broker/cut_points_test.ts", "works again after each cut"],
  ["§8 a restart of the server", REAL, "serves the next request after a restart of the server"],
  ["§8 a client that stood still", STOPPED, "is dropped by the server, and comes back"],

  ["§9 the dispatcher is asked as the reference asks", DISPATCHER, "asks as the reference does"],
  ["§9 server_id in handshakes and answers", HA, "names the server in both handshakes and in the answer"],
  ["§9 server_id in renewals", UNIVERSAL, "names the dispatcher's server in handshakes"],
  ["§9 another prefix", HA, "uses another prefix"],
  ["§9 a dispatcher that fails", DIFFERENCES, "the dispatcher of high availability mode fails"],

  [
    "§10.1 the token and its renewal",
    "src/broker/access_tokens_test.ts",
    "asks for a token as OAuth's client credentials grant",
  ],
  [
    "§10.2 the connections of a deployment",
    "src/broker/remote_connections_test.ts",
    "reads a connection with its contexts",
  ],
  ["§10.2 no file", DIFFERENCES, "`config.universal.json`"],
  ["§10.3 synchronization", UNIVERSAL, "follows the deployment when the server says so"],
  ["§10.3 another type", "src/broker/universal_client_test.ts", "replaces the sockets of a connection whose type"],
  ["§10.3 polling while nothing is open", "src/broker/universal_client_test.ts", "looks at the connections every"],
  ["§10.3 no storm of reads", "src/broker/universal_client_test.ts", "reads the connections at most once"],
  ["§10.3 polling", DIFFERENCES, "REMOTE_CONFIG_POLLING_MODE"],
  ["§10.4 authorization and its renewal", UNIVERSAL, "renews each socket's authorization"],
  ["§10.4 failed renewals", DIFFERENCES, "three renewals of an authorization fail"],
  [
    "§10.4 the dispatcher's 401: once more with a new token",
    "src/broker/authorization_test.ts",
    "§10.4 asks the dispatcher again",
  ],
  ["§10.4 stale authorizations", UNIVERSAL, "socket whose authorization is stale"],
  ["§10 SKIP_REMOTE_CONFIG", "src/broker/remote_connections_test.ts", "reads the file's CONNECTIONS"],

  ["§11 service commands", CLIENT, "answers service commands and logs notifications"],
  ["§11 service commands, asked by the server", REAL, "answers service commands"],
  ["§11 notifications", MESSAGES, "no longer supported"],
  ["§11 client-event: client-error", CLIENT, "reports an answer that the server did not take"],
  ["§11 client-event: client-shutdown, terminate", CLIENT, "announces its end once, on one socket"],
  ["§11 client-shutdown: an exception that nobody caught", "tests/daemon/crash_test.ts", "the daemon ends after"],
  ["§11 client-event: the connection of a lost answer", CLIENT, "names the connection %j of a lost answer"],
  ["§11 SIGTERM", SHUTDOWN, "finishes a scan with its callbacks and a streamed answer"],
  ["§11 SIGTERM with 50 scans", SHUTDOWN, "finishes 50 accepted scans"],
  ["§11 SIGTERM: its times", "tests/daemon/stop_test.ts", "cuts answers off after 22 s"],
  ["§11 SIGTERM: what waits", DIFFERENCES, "SIGTERM while accepted scans wait"],
  ["§11 the second signal", SHUTDOWN, "ends at once at the second signal"],

  ["§12 names in any case", ENVIRONMENT, "gives names in any case"],
  ["§12 .env", "tests/daemon/dot_env_test.ts", "`.env` is read first"],
  ["§12 SNYK_ before a name", CONFIG, "takes SNYK_ before a name"],
  ["§12 variables of the broker client", CONFIG, "reads what concerns the broker client"],
  ["§12 variables of the universal client", CONFIG, "reads the universal client's variables"],
  ["§12 authorities", NETWORK, "trusts the authority in %s"],
  ["§12 proxies", NETWORK, "goes through the proxy in %s by CONNECT"],
  ["§12 a proxy's password", NETWORK, "gives the proxy its password"],
  ["§12 NO_PROXY", NETWORK, "does not ask the proxy for hosts in NO_PROXY"],
  ["§12 NODE_TLS_REJECT_UNAUTHORIZED", DIFFERENCES, "NODE_TLS_REJECT_UNAUTHORIZED=0"],
  ["§12 NODE_TLS_REJECT_UNAUTHORIZED: what to do instead", NETWORK, "verifies certificates whatever"],
  ["§12 HTTP_PROXY and a websocket without TLS", NETWORK, "warns of a websocket without TLS"],
  ["§12 authorities: a CA:TRUE leaf", NETWORK, "does not take an authority's own certificate"],
  ["§12 PORT, --port", "src/cli/command_line_test.ts", "start --port goes before PORT"],
  ["§12 SNYK_ and __", "tests/daemon/local_connections_test.ts", "a SNYK_ variable before the file"],
  ["§12 INSECURE_DOWNSTREAM", RELAY_OPTIONS, "gets the body again"],
  ["§12 RES_BODY_URL_SUB", DAEMON, "rewrites its agent's URL in JSON"],
  ["§12 labels", DIFFERENCES, "BROKER_DOWNSTREAM_TYPE_CONTAINER_REGISTRY_AGENT"],

  ["§12 a container's whole environment", "tests/config/operator_env_test.ts", "§12 starts Outpost"],
  ["§13 one JSON object per line", "src/telemetry/log_test.ts", "writes one JSON object per line"],
  ["§13 values of secrets are masked", "src/telemetry/log_test.ts", "masks secrets in message, fields and errors"],
  ["§13 values of telling keys", "src/lib/redact_test.ts", "masks the values of telling keys"],
  ["§13 tokens", HANDSHAKE, "hides the token in any case and encoding"],
  [
    "§13 nothing leaks, end to end",
    "tests/e2e/broker_suite.ts",
    "shows no secret in logs, answers, metrics or error bodies",
  ],
  ["§13 bodies", DIFFERENCES, "LOG_ENABLE_BODY"],

  [
    "§14 names, attributes, units, temporality",
    "src/daemon_metrics_test.ts",
    "§14 tells every metric of the reference",
  ],
  [
    "§14 pushed only where an endpoint is set",
    "tests/daemon/metrics_push_test.ts",
    "costs nothing where it is not set",
  ],
  ["§14 gRPC", DIFFERENCES, "METRICS_OTEL_ENDPOINT"],
  ["§14 /metrics", OPERATION, "shows the accept rules and the metrics"],
];

/** Names of tests and suites in a file of tests; the rows of tables in a document. */
function names(path: string): readonly string[] {
  const text = Deno.readTextFileSync(new URL(path, ROOT));
  if (path.endsWith(".md")) return text.split("\n").filter((line) => line.startsWith("|"));
  const calls = /\b(?:it|describe|Deno\.test)\b(?:\.\w+)*\s*\(([\s\S]*?)(?:=>\s*\{|function|$)/g;
  return [...text.matchAll(calls)].map(([, head = ""]) => head);
}

describe("the protocol", () => {
  const cache = new Map<string, readonly string[]>();
  const namesIn = (path: string): readonly string[] => {
    const known = cache.get(path) ?? names(path);
    cache.set(path, known);
    return known;
  };

  it.each(ROWS)("%s (%s: %s)", (_statement, path, words) => {
    expect(namesIn(path).some((name) => name.includes(words)), `${path} names ${JSON.stringify(words)}`).toBe(true);
  });

  it("has a row for every section", () => {
    const sections = new Set(ROWS.map(([statement]) => /^§\d+/.exec(statement)?.[0]));
    expect([...sections]).toEqual(Array.from({ length: 14 }, (_, n) => `§${n + 1}`));
    expect(new Set(ROWS.map(([statement]) => statement)).size).toBe(ROWS.length);
  });
});
