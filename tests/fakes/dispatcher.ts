/**
 * Snyk's dispatcher of high availability mode on a loopback port, which answers only to what the reference sends
 * (broker-protocol.md §9).
 *
 * @module
 */
import { createHash } from "node:crypto";

/** A running dispatcher. */
export interface FakeDispatcher extends AsyncDisposable {
  /** For API_BASE_URL. */
  readonly url: string;
  /** Client ids that were given the server id, in order. */
  readonly clients: readonly string[];
  /** What was wrong with requests, in order. */
  readonly problems: readonly string[];
  /** Answers instead while it is set; the request is checked all the same. */
  answer: (() => Response | Promise<Response>) | undefined;
}

/** Options of {@link startFakeDispatcher}. */
export interface FakeDispatcherOptions {
  readonly token: string;
  readonly serverId: number | string;
  readonly location?: string;
  readonly pathPrefix?: string;
}

/** Starts the dispatcher. */
export function startFakeDispatcher(options: FakeDispatcherOptions): FakeDispatcher {
  const { token, serverId, location = "snyk-broker-client", pathPrefix = "/hidden/broker" } = options;
  const hash = createHash("sha256").update(token).digest("hex");
  const clients: string[] = [];
  const problems: string[] = [];
  const path = new RegExp(`^${pathPrefix}/${hash}/connections/([0-9a-f-]{36})$`);
  const expected = { data: { attributes: { deployment_location: location, broker_token_first_char: token[0] } } };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const url = new URL(request.url);
    const clientId = path.exec(url.pathname)?.[1];
    const found = {
      method: request.method,
      version: url.searchParams.get("version"),
      type: request.headers.get("content-type"),
      body: await request.text(),
    };
    const wanted = {
      method: "POST",
      version: "2022-12-01~experimental",
      type: "application/vnd.api+json",
      body: JSON.stringify(expected),
    };
    if (clientId === undefined) problems.push("path");
    for (const [name, value] of Object.entries(wanted)) {
      if (found[name as keyof typeof found] !== value) problems.push(name);
    }
    if (problems.length > 0) return new Response(null, { status: 400 });
    if (made.answer !== undefined) return await made.answer();
    clients.push(clientId ?? "");
    return Response.json({ data: { id: clientId, type: "connection", attributes: { server_id: serverId } } });
  });
  const made: FakeDispatcher = {
    url: `http://127.0.0.1:${server.addr.port}`,
    clients,
    problems,
    answer: undefined,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return made;
}
