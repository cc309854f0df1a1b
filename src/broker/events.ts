/**
 * What the broker client tells its owner, for metrics: bounded values only, never a URL, a token or a name from outside.
 *
 * @module
 */

/** The two sockets of a client; they differ in nothing but the name. */
export type Role = "primary" | "secondary";

/** Why a session ended. */
export type SessionEndReason =
  | "connect-failed"
  | "connect-timeout"
  | "pong-timeout"
  | "silence"
  | "server-close"
  | "closed-by-server"
  | "closed-by-us";

/** How an answer travels back to the broker server. */
export type AnswerPath = "upload" | "acknowledgement" | "chunk" | "none";

/** Something that is worth a metric. */
export type BrokerEvent =
  | { readonly kind: "connected"; readonly role: Role }
  | { readonly kind: "disconnected"; readonly role: Role; readonly reason: SessionEndReason; readonly waitMs: number }
  /** A session that had identified itself is over. */
  | { readonly kind: "closed"; readonly role: Role; readonly openMs: number }
  /** Answer to a Primus ping. */
  | { readonly kind: "pong"; readonly role: Role; readonly latencyMs: number }
  | { readonly kind: "frame"; readonly role: Role; readonly outcome: "malformed" | "ignored" }
  /** The agent is asked, or its answer's head is there; `streaming` says that the answer is to be streamed. */
  | { readonly kind: "downstream-asked"; readonly streaming: boolean }
  | { readonly kind: "downstream-answered"; readonly streaming: boolean; readonly status: number; readonly ms: number }
  /** A brokered request is done: `outcome` says whether its answer was delivered. */
  | {
    readonly kind: "request";
    readonly allowed: boolean;
    readonly status: number;
    readonly path: AnswerPath;
    readonly outcome: "answered" | "lost";
    readonly ms: number;
    readonly bytes: number;
  }
  /** An access token could not be had, or a socket's authorization not be renewed; status 0 without an answer. */
  | { readonly kind: "authorization-failure"; readonly what: "token" | "renewal"; readonly status: number }
  /** A callback is done; status 0 when it was not delivered; `allowed` by the public rules. */
  | { readonly kind: "callback"; readonly allowed: boolean; readonly status: number; readonly ms: number };

/** Receives {@link BrokerEvent}s; must not throw. */
export type BrokerEventSink = (event: BrokerEvent) => void;
