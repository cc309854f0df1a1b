/**
 * The connections of a universal client: what Snyk's API or a local file says of them, read tolerantly
 * (broker-protocol.md §10.2).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { isRecord } from "./codec.ts";
import type { VariableLookup } from "./substitute.ts";

/** A set of variables by their upper-case names. */
export type ConnectionValues = Readonly<Record<string, string>>;

/** One integration of the operator's with Snyk. */
export interface RemoteConnection {
  readonly name: string;
  /** The id under which Snyk's API knows it. */
  readonly id: string | undefined;
  /** `docker-hub` for instance. */
  readonly type: string;
  /** What the broker server knows it by, as secret as a BROKER_TOKEN; undefined while no organization uses it. */
  readonly identifier: string | undefined;
  readonly values: ConnectionValues;
  /** Values that a context of the connection has of its own, by the context's lower-case id. */
  readonly contexts: ReadonlyMap<string, ConnectionValues>;
  /** Environment variables that it names and that are not set: it cannot be used. */
  readonly missing: readonly string[];
}

/** Variables of this process that a connection may not name: they are its keys to Snyk. */
const RESERVED = new Set(["BROKER_TOKEN", "CLIENT_SECRET"]);

/**
 * Reads the API's `{data: [{id, attributes: {name, identifier, configuration: {type, default, required}}, relationships}]}`.
 * Keys become upper case, `${NAME}` in values the environment's NAME. What is no connection is left out; of two with one
 * name the last counts.
 *
 * @throws {OutpostError} BROKER_REFUSED when it is no list of connections, or a longer one than LIMITS.brokerConnections.
 */
export function readRemoteConnections(answer: unknown, environment: VariableLookup): readonly RemoteConnection[] {
  const data = isRecord(answer) ? answer["data"] : undefined;
  if (!Array.isArray(data)) throw unreadable("the answer is no list");
  return byName(data.flatMap((one) => readRemote(one, environment) ?? []));
}

/**
 * Reads a local file's `{"CONNECTIONS": {"<name>": {"type", "identifier", "<VARIABLE>", "contexts": {"<id>": {…}}}}}`
 * (SKIP_REMOTE_CONFIG). Member names are taken in any case.
 *
 * @throws {OutpostError} CONFIG_INVALID when it has no connections, or too many.
 */
export function readLocalConnections(file: unknown, environment: VariableLookup): readonly RemoteConnection[] {
  const connections = member(file, "connections");
  if (!isRecord(connections)) {
    throw new OutpostError("CONFIG_INVALID", "Cannot read the connections: the file has no CONNECTIONS", {
      hint: 'Write {"CONNECTIONS": {"name": {"type": "docker-hub", "identifier": "…", "CR_USERNAME": "…"}}}.',
    });
  }
  return byName(Object.entries(connections).flatMap(([name, value]) => readLocal(name, value, environment) ?? []));
}

function readRemote(value: unknown, environment: VariableLookup): RemoteConnection | undefined {
  const attributes = isRecord(value) && isRecord(value["attributes"]) ? value["attributes"] : {};
  const configuration = isRecord(attributes["configuration"]) ? attributes["configuration"] : {};
  const relationships = isRecord(value) && Array.isArray(value["relationships"]) ? value["relationships"] : [];
  const contexts = relationships.flatMap((one): (readonly [string, unknown])[] => {
    const id = isRecord(one) ? one["id"] : undefined;
    const inner = isRecord(one) && isRecord(one["attributes"]) ? one["attributes"]["context"] : undefined;
    return typeof id === "string" ? [[id, inner]] : [];
  });
  return build({
    name: attributes["name"],
    id: isRecord(value) ? value["id"] : undefined,
    type: configuration["type"],
    identifier: attributes["identifier"],
    values: [configuration["default"], configuration["required"]],
    contexts,
  }, environment);
}

function readLocal(name: string, value: unknown, environment: VariableLookup): RemoteConnection | undefined {
  const contexts = member(value, "contexts");
  return build({
    name,
    id: member(value, "id"),
    type: member(value, "type"),
    identifier: expand(member(value, "identifier"), environment, new Set()),
    values: [value],
    contexts: isRecord(contexts) ? Object.entries(contexts) : [],
  }, environment);
}

interface Parts {
  readonly name: unknown;
  readonly id: unknown;
  readonly type: unknown;
  readonly identifier: unknown;
  readonly values: readonly unknown[];
  readonly contexts: readonly (readonly [string, unknown])[];
}

function build(parts: Parts, environment: VariableLookup): RemoteConnection | undefined {
  const { name, id, type, identifier } = parts;
  if (!isLabel(name) || !isLabel(type)) return undefined;
  if (parts.contexts.length > LIMITS.brokerContexts) throw unreadable(`${name} has too many contexts`);
  const missing = new Set<string>();
  const values = Object.assign({}, ...parts.values.map((one) => readValues(one, environment, missing)));
  const contexts = new Map<string, ConnectionValues>();
  for (const [contextId, inner] of parts.contexts) {
    const absent = new Set<string>();
    const own = readValues(inner, environment, absent);
    // A context that lacks a value is no context; requests that name it are refused, the others go on.
    if (absent.size === 0) contexts.set(contextId.toLowerCase(), own);
  }
  return {
    name,
    id: typeof id === "string" ? id : undefined,
    type,
    identifier: typeof identifier === "string" && identifier !== "" ? identifier : undefined,
    values,
    contexts,
    missing: [...missing],
  };
}

/** Names and types stand in every log line of the connection. */
function isLabel(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= LIMITS.brokerConnectionNameChars;
}

function readValues(value: unknown, environment: VariableLookup, missing: Set<string>): ConnectionValues {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) => {
      if (!["string", "number", "boolean"].includes(typeof inner) || !/^\w{1,200}$/.test(key)) return [];
      return [[key.toUpperCase(), expand(String(inner), environment, missing) ?? ""]];
    }),
  );
}

/** The text with the environment's values; the reference's placeholder counts as none. */
function expand(value: unknown, environment: VariableLookup, missing: Set<string>): string | undefined {
  if (typeof value !== "string") return undefined;
  return value.replace(/\$\{(\w+)\}/g, (_, name: string) => {
    const known = RESERVED.has(name) ? undefined : environment(name);
    if (known === undefined || known === "" || known === "placeholderValue") missing.add(name);
    return known ?? "";
  });
}

function byName(connections: readonly RemoteConnection[]): readonly RemoteConnection[] {
  const named = new Map(connections.map((one) => [one.name, one]));
  if (named.size > LIMITS.brokerConnections) throw unreadable("there are too many");
  return [...named.values()];
}

function member(value: unknown, name: string): unknown {
  if (!isRecord(value)) return undefined;
  return Object.entries(value).find(([key]) => key.toLowerCase() === name)?.[1];
}

function unreadable(reason: string): OutpostError {
  return new OutpostError("BROKER_REFUSED", `Cannot read the connections: ${reason}`);
}
