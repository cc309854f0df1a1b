/**
 * The broker client: Snyk's way into this process, and ours back, over websockets that we open.
 *
 * @module
 */
export type { Callback, CallbackAnswer } from "./callbacks.ts";
export { type BrokerClient, type BrokerClientOptions, createBrokerClient } from "./client.ts";
export type { ConnectionReport } from "./client_options.ts";
export type { ConnectionValues } from "./remote_connections.ts";
export { createUniversalClient } from "./universal_client.ts";
export type {
  ConnectionDispatch,
  ConnectionInfo,
  ConnectionSource,
  UniversalClientOptions,
} from "./universal_options.ts";
export type { WebSocketFactory } from "./connection.ts";
export type { AnswerPath, BrokerEvent, BrokerEventSink, Role, SessionEndReason } from "./events.ts";
export { LoopbackBroker, type LoopbackOptions, type LoopbackSocketEvent } from "./loopback_server.ts";
export type { LoopbackSocket } from "./loopback_socket.ts";
export type { ClientSettings } from "./handshake.ts";
export { Preflight, type PreflightCheck, type PreflightOptions, preflightTable } from "./preflight.ts";
export type { Dispatch } from "./relay.ts";
export type { DispatchInfo } from "./relay_request.ts";
export { type AcceptRule, AcceptRules, DEFAULT_RULES, type RuleFile, type RuleRequest } from "./rules.ts";
export { isRuleUrl, type RuleSource, ruleSource, type RuleSourceOptions } from "./rule_source.ts";
export type { SessionTimes, WebSocketLike } from "./session.ts";
export type { Substituted, VariableLookup } from "./substitute.ts";
export { INTERNAL_ORIGIN } from "./target.ts";
