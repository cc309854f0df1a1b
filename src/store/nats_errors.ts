/**
 * Errors of NATS as those of a store.
 *
 * @module
 */
import { JetStreamApiCodes, JetStreamApiError } from "@nats-io/jetstream";
import {
  AuthorizationError,
  ConnectionError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
} from "@nats-io/transport-node";
import { OutpostError } from "../core/errors.ts";

/** Error codes of JetStream's API (nats-server, server/errors.json). */
const CODE = {
  clusterNoPeers: 10005,
  insufficientResources: 10023,
  notEnabledForAccount: 10039,
  storageResources: 10047,
  nameInUse: 10058,
  subjectsOverlap: 10065,
  replicasNotSupported: 10074,
  notEnabled: 10076,
  memoryResources: 10028,
};

/** Whether a write was refused because the key has another revision. */
export function isConflict(error: unknown): boolean {
  return error instanceof JetStreamApiError &&
    (error.code === JetStreamApiCodes.StreamWrongLastSequence ||
      error.code === JetStreamApiCodes.StreamWrongLastSequenceUnknown);
}

/** Whether JetStream refused a bucket because another daemon is making it at this moment. */
export function isBeingMade(error: unknown): boolean {
  return error instanceof JetStreamApiError && (error.code === CODE.nameInUse || error.code === CODE.subjectsOverlap);
}

/**
 * The error of a store for one of NATS; `action` begins the sentence. `opening` says that nothing worked yet: what only the
 * operator can change then makes the store unusable. Later everything may pass by itself.
 */
export function queueError(action: string, error: unknown, { opening = false } = {}): OutpostError {
  if (error instanceof OutpostError) return error;
  const { why, hint, unusable } = explain(error);
  const code = opening && unusable === true ? "STORE_UNUSABLE" : "STORE_UNAVAILABLE";
  return new OutpostError(code, `${action}: ${why}`, { hint, cause: error });
}

interface Explanation {
  readonly why: string;
  readonly hint?: string;
  /** Whether only the operator can change it. */
  readonly unusable?: boolean;
}

function explain(error: unknown): Explanation {
  const root = rootOf(error);
  if (
    root instanceof AuthorizationError || (root instanceof Error && /authori[sz]ation|authenticat/i.test(root.message))
  ) {
    const hint = "Check the user and password, or token, of OUTPOST_QUEUE, or the file of OUTPOST_QUEUE_CREDS.";
    return { why: "NATS refuses the login", hint, unusable: true };
  }
  if (root instanceof Error && /nkeys|parse credentials/.test(root.message)) {
    const hint = "Make the file that OUTPOST_QUEUE_CREDS names anew: nsc generate creds.";
    return { why: `the credentials file cannot be read (${root.message})`, hint, unusable: true };
  }
  if (root instanceof PermissionViolationError) {
    const hint = "The user has to be allowed to publish to $JS.API.> and $KV.>, and to subscribe to _INBOX.>.";
    return { why: `NATS does not allow ${root.operation} to ${root.subject}`, hint, unusable: true };
  }
  if (isNotEnabled(error)) {
    const hint = "Start nats-server with --jetstream; a cluster may need a moment to elect a leader.";
    return { why: "JetStream does not answer: it is not enabled, or has no leader", hint, unusable: true };
  }
  if (error instanceof JetStreamApiError) return explainApi(error);
  return explainConnection(root);
}

function explainApi(error: JetStreamApiError): Explanation {
  switch (error.code) {
    case CODE.notEnabled:
    case CODE.notEnabledForAccount:
      return {
        why: "JetStream is not enabled",
        hint: "Start nats-server with --jetstream, and enable it for the user's account.",
        unusable: true,
      };
    case CODE.replicasNotSupported:
    case CODE.clusterNoPeers:
      return {
        why: "there are too few servers for so many replicas",
        hint: "Lower OUTPOST_QUEUE_REPLICAS, or add servers with JetStream to the cluster.",
        unusable: true,
      };
    case CODE.insufficientResources:
    case CODE.memoryResources:
    case CODE.storageResources:
      return {
        why: "NATS has no room for it",
        hint: "Raise max_file_store of nats-server or make room on its disk; no restart of Outpost is needed.",
      };
    default:
      return { why: `JetStream answers ${error.code}: ${error.message}` };
  }
}

function explainConnection(error: unknown): Explanation {
  const text = error instanceof Error ? error.message : String(error);
  if (/certificate|self.signed|UnknownIssuer|CERT_/i.test(text)) {
    const hint = "Give the authority that signed it in OUTPOST_QUEUE_CA, and the name that it is for in OUTPOST_QUEUE.";
    return { why: `the certificate of NATS is not trusted (${text})`, hint, unusable: true };
  }
  if (/tls/i.test(text) && /not available|not support/i.test(text)) {
    return {
      why: "NATS does not speak TLS there",
      hint: "Write nats:// instead of tls://, without OUTPOST_QUEUE_CA.",
      unusable: true,
    };
  }
  const hint =
    "Check that nats-server runs and that OUTPOST_QUEUE names it; writing goes on by itself when it answers.";
  if (error instanceof TimeoutError) {
    // It hangs up on a client without a certificate after TLS stands, which the client takes for a reason to try again.
    const certificate = "Where it asks for certificates (verify), set OUTPOST_QUEUE_CLIENT_CERT and its key.";
    return { why: "NATS does not answer in time", hint: `${hint} ${certificate}` };
  }
  if (error instanceof ConnectionError && /refused/.test(text)) return { why: "the connection is refused", hint };
  return { why: `NATS cannot be reached (${text})`, hint };
}

/** Nobody listens to JetStream's subjects; the class of one of the two errors is not exported. */
function isNotEnabled(error: unknown): boolean {
  if (error instanceof RequestError && error.isNoResponders()) return true;
  return error instanceof Error && error.message === "jetstream is not enabled";
}

/** What is at the bottom of an error that was wrapped. */
function rootOf(error: unknown): unknown {
  let root = error;
  for (let depth = 0; depth < 5 && root instanceof Error && root.cause instanceof Error; depth++) root = root.cause;
  return root;
}
