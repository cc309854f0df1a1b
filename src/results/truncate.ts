/**
 * Limits on the facts that come from an image's configuration (scan-semantics §1.4; the plugin's
 * RESPONSE_SIZE_LIMITS). They belong to the format: Snyk's own results are cut at the same places.
 *
 * @module
 */
import type { ScanFact } from "../core/scan_ports.ts";

/** Elements of an array, or UTF-16 units of a string, that are kept. */
export interface FactLimit {
  readonly type: "array" | "string";
  readonly limit: number;
}

const array = (limit: number): FactLimit => ({ type: "array", limit });
const string = (limit: number): FactLimit => ({ type: "string", limit });

/** By path: the fact's type, then the way into its data; `[*]` stands for every element of an array. */
export const FACT_LIMITS: Readonly<Record<string, FactLimit>> = {
  "containerConfig.data.user": string(1024),
  "containerConfig.data.exposedPorts": array(500),
  "containerConfig.data.exposedPorts[*]": string(64),
  "containerConfig.data.env": array(500),
  "containerConfig.data.env[*]": string(1024),
  "containerConfig.data.entrypoint": array(500),
  "containerConfig.data.entrypoint[*]": string(1024),
  "containerConfig.data.cmd": array(500),
  "containerConfig.data.cmd[*]": string(1024),
  "containerConfig.data.volumes": array(500),
  "containerConfig.data.volumes[*]": string(1024),
  "containerConfig.data.workingDir": string(1024),
  "containerConfig.data.stopSignal": string(128),
  "history.data": array(1000),
  "history.data[*].author": string(128),
  "history.data[*].createdBy": string(4096),
  "history.data[*].comment": string(4096),
};

/** What was cut at one path: elements, or for strings the most characters that one of them lost. */
export interface Truncation {
  readonly type: "array" | "string";
  readonly countAboveLimit: number;
}

/** Cuts facts to {@link FACT_LIMITS}; when something was cut, the pluginWarnings fact (the last one) says what. */
export function truncateFacts(facts: readonly ScanFact[]): readonly ScanFact[] {
  const truncatedFacts: Record<string, Truncation> = {};
  const limited = new Set(Object.keys(FACT_LIMITS).map((path) => path.slice(0, path.indexOf("."))));
  const cut = facts.map((fact) =>
    limited.has(fact.type) ? { ...fact, data: truncate(fact.data, `${fact.type}.data`, truncatedFacts) } : fact
  );
  if (Object.keys(truncatedFacts).length === 0) return facts;
  const warnings = cut.find((fact) => fact.type === "pluginWarnings");
  if (warnings === undefined) return [...cut, { type: "pluginWarnings", data: { truncatedFacts } }];
  return cut.map((fact) => fact === warnings ? { ...fact, data: { ...fact.data as object, truncatedFacts } } : fact);
}

function truncate(value: unknown, path: string, truncated: Record<string, Truncation>): unknown {
  const limit = FACT_LIMITS[path];
  if (typeof value === "string") {
    if (limit?.type !== "string" || value.length <= limit.limit) return value;
    const countAboveLimit = value.length - limit.limit;
    if (countAboveLimit > (truncated[path]?.countAboveLimit ?? 0)) {
      truncated[path] = { type: "string", countAboveLimit };
    }
    return value.slice(0, limit.limit);
  }
  if (Array.isArray(value)) {
    const kept = limit?.type === "array" ? value.slice(0, limit.limit) : value;
    if (kept.length < value.length) {
      truncated[path] = { type: "array", countAboveLimit: value.length - kept.length };
    }
    return kept.map((item) => truncate(item, `${path}[*]`, truncated));
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, truncate(item, `${path}.${key}`, truncated)]),
  );
}
