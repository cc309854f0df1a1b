/**
 * Brokered requests: accept rules, target, substitution, the agent, and the answer's way back (broker-protocol.md §2, §3).
 * Every request ends in an answer or in a log line that says why there is none.
 *
 * @module
 */
import { toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Fetch, Logger } from "../core/ports.ts";
import { type DeadlineOptions, withBriefDeadline, withDeadline } from "../lib/deadline.ts";
import { abortable } from "../net/body.ts";
import type { DirectExchange } from "../net/direct.ts";
import {
  agentAnswer,
  type Answer,
  blockedAnswer,
  cancelBody,
  directAnswer,
  errorAnswer,
  failureAnswer,
  isConnectFailure,
} from "./answer.ts";
import { type BrokeredRequest, readRequest, streamingIdOf } from "./brokered_request.ts";
import { acknowledgeAnswer, ByteBudget, sendChunks } from "./deliver.ts";
import type { AnswerPath, BrokerEventSink } from "./events.ts";
import type { BrokerEndpoints } from "./handshake.ts";
import { headersForAgent } from "./headers.ts";
import { type DispatchInfo, FORM, type Prepared, toForm, toRequest, useHttp } from "./relay_request.ts";
import { type AcceptRule, type AcceptRules, authorization } from "./rules.ts";
import type { BrokerSession, ServerMessage } from "./session.ts";
import type { Substituted, Substituter } from "./substitute.ts";
import { resolveTarget } from "./target.ts";
import { uploadAnswer } from "./upload.ts";

/** Asks the agent: the in-process application, or an outbound fetch. Redirects are for the caller, not to be followed. */
export type Dispatch = (request: Request, info: DispatchInfo) => Promise<Response>;

/** Options of {@link Relay}. */
export interface RelayOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fetch: Fetch;
  readonly dispatch: Dispatch;
  /** Direct connections to agents elsewhere; without them, and where none can be made, `dispatch` asks. */
  readonly agentExchange?: DirectExchange | undefined;
  /** Direct connections to the broker server, for uploads. */
  readonly uploadExchange?: DirectExchange | undefined;
  readonly endpoints: BrokerEndpoints;
  readonly protocolVersion: string;
  readonly rules: () => AcceptRules;
  /** Fills in variables of origins and credentials in rules. */
  readonly ruleVariables: Substituter;
  /** Fills in variables of headers and bodies of requests for a context; undefined when there is no such context. */
  readonly requestVariables: (contextId: string | undefined) => Substituter | undefined;
  readonly substituteHeaders: boolean;
  readonly substituteBodies: boolean;
  readonly removeForwarded: boolean;
  readonly randomId: () => string;
  readonly onEvent: BrokerEventSink;
  /** An answer could not be streamed to the server. */
  readonly onLost?: ((requestId: string) => void) | undefined;
  /** BROKER_CLIENT_POST_TIMEOUT in milliseconds. */
  readonly uploadIdleMs: number;
  /** SOCKET_MAX_RESPONSE_LENGTH in bytes. */
  readonly maxResponseBytes: number;
  /** MAX_RETRY: further attempts at an agent that cannot be reached. */
  readonly agentRetries: number;
  /** INSECURE_DOWNSTREAM: agents are asked by http, Snyk's own hosts excepted. */
  readonly insecureDownstream: boolean;
  /** Rewrites answers (RES_BODY_URL_SUB). */
  readonly rewrite: (answer: Answer) => Answer;
}

/** The server's text for a request that no rule accepts. */
const BLOCKED = "[Websocket Flow][Blocked Request] Does not match any accept rule";

const UNKNOWN_CONTEXT = "Cannot serve the request: the connection has no such context, or it lacks a variable";

const UNSENDABLE = "Cannot pass the brokered request on: a header or the method is invalid";

/** Bytes of a body from which on it is worth its own bookkeeping. */
const LARGE_BODY = 1024 * 1024;

const NOTHING: Substituted = { headers: [], fields: [] };

/** One request from arrival to answer. */
interface Exchange {
  readonly session: BrokerSession;
  readonly request: BrokeredRequest;
  readonly ackId: number | undefined;
  readonly startedAt: number;
}

/** Serves `request` events, at most LIMITS.brokerRequestsInFlight at once. */
export class Relay {
  readonly #options: RelayOptions;
  readonly #budget = new ByteBudget(LIMITS.brokerBytesInFlight);
  readonly #bodies = new ByteBudget(LIMITS.brokerBodyBytesInFlight);
  readonly #life = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #refused: (() => Promise<void>)[] = [];
  readonly #refusals = new Set<Promise<void>>();
  #draining = false;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** Requests that are being served. */
  get inFlight(): number {
    return this.#running.size;
  }

  /** Takes a `request` event. Returns at once. */
  handle(session: BrokerSession, message: ServerMessage): void {
    const { clock, randomId } = this.#options;
    const [argument] = message.args;
    const read = readRequest(argument, randomId);
    const request = read ?? { ...UNREADABLE, streamingId: streamingIdOf(argument), requestId: randomId() };
    const exchange: Exchange = { session, request, ackId: message.id, startedAt: clock.now() };
    if (read === undefined) {
      return this.#refuse(exchange, errorAnswer(400, "REQUEST_INVALID", "Cannot read the brokered request"));
    }
    if (this.#draining) return this.#refuse(exchange, busy("this process is shutting down"));
    if (this.#running.size >= LIMITS.brokerRequestsInFlight) {
      return this.#refuse(exchange, busy(`${LIMITS.brokerRequestsInFlight} requests are already being served`));
    }
    const held = request.body?.length ?? 0;
    if (!this.#bodies.reserve(held)) return this.#refuse(exchange, busy("too many bytes are being held"));
    const running = this.#serve(exchange).finally(() => {
      // Now, not when V8 comes to it: the next body may be as large.
      if (held >= LARGE_BODY) request.body?.buffer.transfer(0);
      this.#bodies.release(held);
      this.#running.delete(running);
    });
    this.#running.add(running);
    // What comes next may have a body of its own: it waits with the server rather than be refused here.
    const room = held < LARGE_BODY ? undefined : this.#bodies.room(LIMITS.brokerRequestBodyBytes);
    if (room !== undefined) session.hold(room);
  }

  /** Refuses new requests from now on; resolves when the present ones are done, or cuts them off when the signal aborts. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#draining = true;
    const cut = (): void => this.#life.abort(signal.reason);
    if (signal.aborted) cut();
    signal.addEventListener("abort", cut, { once: true });
    while (this.#running.size + this.#refusals.size > 0) await Promise.all([...this.#running, ...this.#refusals]);
    signal.removeEventListener("abort", cut);
  }

  async #serve(exchange: Exchange): Promise<void> {
    const accepted = this.#accept(exchange.request);
    const answer = "rule" in accepted ? await this.#ask(exchange.request, accepted.rule) : accepted.answer;
    await this.#deliver(exchange, answer, "rule" in accepted);
  }

  #accept(request: BrokeredRequest): { readonly rule: AcceptRule } | { readonly answer: Answer } {
    const rule = this.#options.rules().match("private", request);
    return rule === undefined ? { answer: blockedAnswer(request.url, BLOCKED) } : { rule };
  }

  async #ask(brokered: BrokeredRequest, rule: AcceptRule): Promise<Answer> {
    let answered: ((status: number) => void) | undefined;
    try {
      const prepared = this.#prepare(brokered, rule);
      if ("status" in prepared) return prepared;
      answered = this.#asked(brokered);
      const answer = await this.#askDirectly(prepared) ?? await this.#askByDispatch(prepared);
      answered(answer.status);
      return this.#options.rewrite(answer);
    } catch (error) {
      const { code, cause } = toOutpostError(error);
      const answer = code === "REQUEST_INVALID" ? errorAnswer(400, code, UNSENDABLE) : failureAnswer(error);
      this.#options.logger.warn("Cannot get an answer from the agent", {
        requestId: brokered.requestId,
        code,
        status: answer.status,
        cause: cause instanceof Error ? cause.name : undefined,
      });
      answered?.(answer.status);
      return answer;
    }
  }

  /** Tells that the agent is asked; the function that comes back tells, once, that it has answered. */
  #asked({ streamingId }: BrokeredRequest): (status: number) => void {
    const { clock, onEvent } = this.#options;
    const startedAt = clock.now();
    const streaming = streamingId !== "";
    onEvent({ kind: "downstream-asked", streaming });
    let done = false;
    return (status) => {
      if (!done) onEvent({ kind: "downstream-answered", streaming, status, ms: clock.now() - startedAt });
      done = true;
    };
  }

  /** Undefined where the agent cannot be asked over a direct connection. */
  async #askDirectly({ method, url, headers, info }: Prepared): Promise<Answer | undefined> {
    const { agentExchange } = this.#options;
    // A direct connection repeats a request when the agent has closed the connection, so that others go by fetch.
    if (agentExchange === undefined || info.internal || (method !== "GET" && method !== "HEAD")) return undefined;
    const fields = Object.entries(headers);
    const { signal } = this.#life;
    const ask = (headSignal: AbortSignal): ReturnType<DirectExchange> =>
      agentExchange({ method, url, fields, signal, headSignal });
    const response = await withBriefDeadline(this.#answerLimit(), ask);
    return response === undefined ? undefined : directAnswer(response);
  }

  async #askByDispatch(prepared: Prepared): Promise<Answer> {
    return agentAnswer(await withDeadline(this.#answerLimit(), (signal) => this.#persist(prepared, signal)));
  }

  #answerLimit(): DeadlineOptions {
    const { clock } = this.#options;
    return { clock, ms: LIMITS.brokerAnswerTimeoutMs, what: "The agent's answer", signal: this.#life.signal };
  }

  /**
   * Asks an agent elsewhere again when no connection stood, so that nothing of the request can have arrived; unlike the
   * reference never after that, since it would run a scan twice.
   */
  async #persist(prepared: Prepared, signal: AbortSignal): Promise<Response> {
    const { clock, agentRetries } = this.#options;
    for (let left = prepared.info.internal ? 0 : agentRetries;; left--) {
      try {
        return await this.#dispatch(prepared, signal);
      } catch (error) {
        if (left === 0 || !isConnectFailure(error)) throw error;
        await clock.sleep(LIMITS.brokerAgentRetryMs, signal);
      }
    }
  }

  /** Asks the agent; an answer that comes after nobody waits for it any more is dropped. */
  async #dispatch(prepared: Prepared, signal: AbortSignal): Promise<Response> {
    const asked = this.#options.dispatch(toRequest(prepared, signal), prepared.info);
    try {
      return await abortable(asked, signal);
    } catch (error) {
      asked.then((late) => late.body?.cancel()).catch(() => {});
      throw error;
    }
  }

  #prepare(brokered: BrokeredRequest, rule: AcceptRule): Prepared | Answer {
    const { ruleVariables, protocolVersion, removeForwarded } = this.#options;
    const { substituteBodies, substituteHeaders } = this.#options;
    const { contextId } = brokered;
    const requestVariables = this.#options.requestVariables(contextId);
    if (requestVariables === undefined) return errorAnswer(400, "REQUEST_INVALID", UNKNOWN_CONTEXT);
    const expand = (template: string): string => ruleVariables.expand(template);
    const target = resolveTarget(rule, brokered.url, expand);
    if (target.kind === "blocked") return blockedAnswer(brokered.url, BLOCKED);
    if (target.kind === "misconfigured") return errorAnswer(502, "DOWNSTREAM_ERROR", target.message);
    if (this.#options.insecureDownstream && !target.internal) useHttp(target.url);
    const headers = { ...brokered.headers };
    const substituted = { ...NOTHING };
    let body = brokered.body;
    if (substituteBodies && body !== undefined) {
      const changed = requestVariables.body(body);
      body = changed.body;
      substituted.fields = changed.fields;
    }
    if (substituteHeaders) substituted.headers = requestVariables.headers(headers);
    const credentials = rule.auth === undefined ? target.authorization : authorization(rule.auth, expand);
    if (credentials !== undefined) headers["authorization"] = credentials;
    if (headers["x-broker-content-type"] === FORM && body !== undefined) {
      headers["content-type"] = FORM;
      body = toForm(body) ?? body;
    }
    const { requestId, method } = brokered;
    return {
      url: target.url,
      method,
      headers: headersForAgent(headers, { requestId, version: protocolVersion, removeForwarded }),
      body: ["GET", "HEAD"].includes(method) ? undefined : body,
      info: { internal: target.internal, substituted, ...(contextId === undefined ? {} : { contextId }) },
    };
  }

  async #deliver(exchange: Exchange, answer: Answer, allowed: boolean): Promise<void> {
    const { session, request, startedAt } = exchange;
    const { clock, logger, onEvent } = this.#options;
    const path = answerPath(exchange);
    const fields = {
      requestId: request.requestId,
      method: request.method,
      path: shownPath(request.url),
      status: answer.status,
      answer: path,
    };
    const done = (outcome: "answered" | "lost", bytes: number): void => {
      const ms = clock.now() - startedAt;
      onEvent({ kind: "request", allowed, status: answer.status, path, outcome, ms, bytes });
    };
    try {
      if (path === "none") throw new Error("The request names no way back");
      const bytes = await this.#send(exchange, answer, path);
      logger[answer.status >= 400 && answer.status !== 404 ? "warn" : "debug"]("Answered a brokered request", fields);
      done("answered", bytes);
    } catch (error) {
      cancelBody(answer.body);
      const reason = path === "none" ? "it names no way back" : toOutpostError(error).message;
      logger.error("Cannot answer a brokered request", { ...fields, role: session.role, reason });
      if (path === "upload") this.#options.onLost?.(request.requestId);
      done("lost", 0);
    }
  }

  #send(exchange: Exchange, answer: Answer, path: Exclude<AnswerPath, "none">): Promise<number> {
    const { session, request, ackId } = exchange;
    const { streamingId, requestId } = request;
    if (path === "acknowledgement") {
      const maxBytes = this.#options.maxResponseBytes;
      return acknowledgeAnswer(answer, { session, id: ackId ?? 0, requestId, budget: this.#budget, maxBytes });
    }
    if (path === "chunk") return sendChunks(answer, { session, streamingId });
    const requestHeaders = request.headers;
    const { signal } = this.#life;
    const { role, serverId } = session;
    return uploadAnswer(this.#options, { answer, streamingId, role, serverId, requestId, requestHeaders, signal });
  }

  /** Queues an answer of our own, so that a flood of refusals does not open a flood of uploads. */
  #refuse(exchange: Exchange, answer: Answer): void {
    if (this.#refused.length >= LIMITS.brokerRefusalsQueued) {
      const { requestId } = exchange.request;
      const { onEvent, logger } = this.#options;
      logger.error("Cannot answer a brokered request", { requestId, reason: "too many refusals are waiting" });
      const { status } = answer;
      return onEvent({ kind: "request", allowed: false, status, path: "none", outcome: "lost", ms: 0, bytes: 0 });
    }
    // The body is of no use any more, and would be held for as long as the refusal waits.
    const small = { ...exchange, request: { ...exchange.request, body: undefined } };
    this.#refused.push(() => this.#deliver(small, answer, false));
    this.#pumpRefusals();
  }

  #pumpRefusals(): void {
    while (this.#refusals.size < LIMITS.brokerRefusalsInFlight) {
      const next = this.#refused.shift();
      if (next === undefined) return;
      const running = next().finally(() => {
        this.#refusals.delete(running);
        this.#pumpRefusals();
      });
      this.#refusals.add(running);
    }
  }
}

/** A path for the log. */
function shownPath(url: string): string {
  return (url.split(/[?#]/, 1)[0] ?? "").slice(0, LIMITS.errorMessageChars);
}

const UNREADABLE: BrokeredRequest = {
  url: "",
  method: "",
  headers: {},
  body: undefined,
  streamingId: "",
  requestId: "",
  contextId: undefined,
};

function answerPath({ session, request, ackId }: Exchange): AnswerPath {
  if (ackId !== undefined) return "acknowledgement";
  if (request.streamingId === "") return "none";
  return session.can("receive-post-streams") ? "upload" : "chunk";
}

function busy(reason: string): Answer {
  const answer = errorAnswer(503, "BUSY", `Cannot serve the request now: ${reason}`);
  return { ...answer, headers: { ...answer.headers, "retry-after": "1" } };
}
