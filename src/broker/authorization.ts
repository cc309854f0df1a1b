/**
 * `Authorization` on the handshakes and uploads of a universal client (broker-protocol.md §10.4).
 *
 * @module
 */
import type { Fetch } from "../core/ports.ts";
import type { DirectExchange } from "../net/direct.ts";
import type { WebSocketFactory } from "./connection.ts";

/** Where the value of `Authorization` comes from. */
export interface Authorization {
  /** The last value that was given out; undefined before the first. */
  readonly current: string | undefined;
  /** The server did not take this value: the next one is to be another. */
  rejected(header: string): void;
}

/** An {@link Authorization} that can be waited for. */
export interface RenewableAuthorization extends Authorization {
  /**
   * The value to use now: a fresh one when the last was rejected.
   *
   * @throws {OutpostError} when none can be had; the signal's reason when it aborts.
   */
  header(signal: AbortSignal): Promise<string>;
}

/** Opens websockets with the current authorization; a handshake that is answered 401 counts as its rejection. */
export function authorizedSockets(open: WebSocketFactory, authorization: Authorization): WebSocketFactory {
  return (url, { headers }) => {
    const { current } = authorization;
    if (current === undefined) return open(url, { headers });
    const socket = open(url, { headers: { ...headers, authorization: current } });
    socket.addEventListener("error", (event) => {
      // Deno tells the status of a refused handshake in its text only.
      if ("message" in event && /status code: 401\b/.test(String(event.message))) authorization.rejected(current);
    });
    return socket;
  };
}

/** Sends requests with the current authorization; an answer 401 counts as its rejection. Nothing is sent twice. */
export function authorizedFetch(send: Fetch, authorization: Authorization): Fetch {
  return async (request) => {
    const { current } = authorization;
    if (current === undefined) return await send(request);
    request.headers.set("authorization", current);
    const response = await send(request);
    if (response.status === 401) authorization.rejected(current);
    return response;
  };
}

/** {@link authorizedFetch} for direct connections. */
export function authorizedExchange(send: DirectExchange, authorization: Authorization): DirectExchange {
  return async (request) => {
    const { current } = authorization;
    if (current === undefined) return await send(request);
    const response = await send({ ...request, fields: [...request.fields, ["authorization", current]] });
    if (response?.status === 401) authorization.rejected(current);
    return response;
  };
}

/**
 * Sends requests of Snyk's API with an authorization that is waited for; what is answered 401 is sent once more, at once, with
 * another (broker-protocol.md §9, §10.1). For small bodies: each is held until the answer.
 */
export function renewingFetch(send: Fetch, authorization: RenewableAuthorization): Fetch {
  return async (request) => {
    const { signal } = request;
    const header = await authorization.header(signal);
    const again = request.clone();
    request.headers.set("authorization", header);
    const response = await send(request);
    if (response.status !== 401) return response;
    authorization.rejected(header);
    await response.body?.cancel();
    again.headers.set("authorization", await authorization.header(signal));
    return await send(again);
  };
}
