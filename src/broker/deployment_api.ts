/**
 * What a universal client asks of Snyk's API with its access token (broker-protocol.md §10.2, §10.4).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Fetch } from "../core/ports.ts";
import { withDeadline } from "../lib/deadline.ts";
import type { AccessTokens } from "./access_tokens.ts";
import { readApiJson } from "./api_answer.ts";
import type { Role } from "./events.ts";

/** Options of {@link DeploymentApi}. */
export interface DeploymentApiOptions {
  /** API_BASE_URL. */
  readonly apiUrl: string;
  /** UUID of this process. */
  readonly clientId: string;
  readonly protocolVersion: string;
  readonly tokens: Pick<AccessTokens, "header" | "rejected">;
  readonly fetch: Fetch;
  readonly clock: Clock;
}

/** A socket whose authorization is renewed. */
export interface RenewedSocket {
  /** The connection's identifier. */
  readonly identifier: string;
  readonly role: Role;
  /** The server that the dispatcher has named, if it has. */
  readonly serverId: string | undefined;
}

/** Version of the interface. */
const API_VERSION = "2024-02-08~experimental";

const JSON_API = "application/vnd.api+json";

interface Call {
  readonly method: "GET" | "POST";
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** What it is about, for messages. */
  readonly what: string;
}

/** Snyk's API, asked within LIMITS.brokerApiTimeoutMs; a request answered 401 is repeated once with a new token. */
export class DeploymentApi {
  readonly #options: DeploymentApiOptions;

  constructor(options: DeploymentApiOptions) {
    this.#options = options;
  }

  /**
   * The connections of a deployment, as the API tells them.
   *
   * @throws {OutpostError} BROKER_REFUSED when the API answers anything but 200; not retryable when it says that there is
   *   no such deployment or that it is not for this client. CONNECTION_FAILED, TIMEOUT, and the errors of the token.
   */
  async connections(deploymentId: string, signal: AbortSignal): Promise<unknown> {
    const { clientId, protocolVersion } = this.#options;
    const what = "the connections of this deployment";
    const call: Call = {
      method: "GET",
      path: `/hidden/brokers/deployments/${encodeURIComponent(deploymentId)}/connections?version=${API_VERSION}`,
      headers: { "x-broker-client-id": clientId, "x-broker-client-version": protocolVersion },
      what,
    };
    return await this.#send(call, signal, async (response) => {
      const { status } = response;
      if (status === 200) return await readApiJson(response, `Cannot read ${what}`);
      await response.body?.cancel();
      throw new OutpostError("BROKER_REFUSED", `Cannot read ${what}: the API answered ${status}`, {
        retryable: ![401, 403, 404].includes(status),
        ...(REFUSALS[status] === undefined ? {} : { hint: REFUSALS[status] }),
      });
    });
  }

  /**
   * Says that a socket's client may still be what it is; without it the server closes the socket after 65 minutes.
   *
   * @returns the API's status; 2xx when the authorization is renewed.
   * @throws {OutpostError} CONNECTION_FAILED, TIMEOUT, and the errors of the token.
   */
  async renew({ identifier, role, serverId }: RenewedSocket, signal: AbortSignal): Promise<number> {
    const server = serverId === undefined ? "" : `server_id=${encodeURIComponent(serverId)}&`;
    const id = encodeURIComponent(identifier);
    const data = { type: "broker_connection", attributes: { broker_client_id: this.#options.clientId } };
    const call: Call = {
      method: "POST",
      path: `/hidden/brokers/connections/${id}/auth/refresh?${server}connection_role=${role}`,
      headers: {},
      body: JSON.stringify({ data }),
      what: "the authorization",
    };
    return await this.#send(call, signal, async (response) => {
      await response.body?.cancel();
      return response.status;
    });
  }

  async #send<T>(call: Call, signal: AbortSignal, read: (response: Response) => Promise<T>): Promise<T> {
    const { tokens, clock } = this.#options;
    const limit = { clock, ms: LIMITS.brokerApiTimeoutMs, what: `Asking for ${call.what}`, signal };
    return await withDeadline(limit, async (deadline) => {
      const header = await tokens.header(deadline);
      const first = await this.#ask(call, header, deadline);
      if (first.status !== 401) return await read(first);
      await first.body?.cancel();
      tokens.rejected(header);
      return await read(await this.#ask(call, await tokens.header(deadline), deadline));
    });
  }

  async #ask(call: Call, authorization: string, signal: AbortSignal): Promise<Response> {
    const { apiUrl, fetch: ask } = this.#options;
    const { method, path, headers, body } = call;
    const request = new Request(apiUrl.replace(/\/+$/, "") + path, {
      method,
      headers: { accept: JSON_API, "content-type": JSON_API, ...headers, authorization },
      redirect: "manual",
      signal,
      ...(body === undefined ? {} : { body }),
    });
    return await ask(request).catch((cause: unknown) => {
      signal.throwIfAborted();
      const hint = "Check API_BASE_URL; behind a proxy, set HTTPS_PROXY.";
      throw new OutpostError("CONNECTION_FAILED", `Cannot ask for ${call.what}: the API cannot be reached`, {
        hint,
        cause,
      });
    });
  }
}

const REFUSALS: Readonly<Record<number, string>> = {
  401: "Check that CLIENT_ID belongs to the deployment in DEPLOYMENT_ID.",
  403: "Check that CLIENT_ID belongs to the deployment in DEPLOYMENT_ID.",
  404: "Create the deployment in Snyk first, and set DEPLOYMENT_ID to its id.",
};
