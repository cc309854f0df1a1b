/**
 * `${VAR}` substitution: in rule origins and rule credentials, in the headers that `x-broker-var-sub` names and in
 * the body fields that `BROKER_VAR_SUB` names (broker-protocol.md §4, §5).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { isRecord, parseBoundedJson } from "./codec.ts";
import { changeAt } from "./json_path.ts";
import { LargeJson, LargeJsonError } from "./large_json.ts";

/** Value of a variable, undefined when there is none. */
export type VariableLookup = (name: string) => string | undefined;

/** What was replaced, so that the agent knows which values are secrets. */
export interface Substituted {
  /** Lower-case header names. */
  readonly headers: readonly string[];
  /** Paths into the JSON body, as the caller wrote them. */
  readonly fields: readonly string[];
}

/** Replaces `${VAR}` by values. `X_POOL`, a comma list, wins over `X` and gives its members in turn. */
export class Substituter {
  readonly #lookup: VariableLookup;
  readonly #turns = new Map<string, number>();

  constructor(lookup: VariableLookup) {
    this.#lookup = lookup;
  }

  /**
   * Replaces every `${VAR}`; an unknown one becomes empty.
   *
   * @throws {OutpostError} BODY_TOO_LARGE when the result passes LIMITS.brokerRequestBodyBytes.
   */
  expand(template: string): string {
    const parts: string[] = [];
    let size = 0;
    let rest = 0;
    for (let open = template.indexOf("${"); open >= 0; open = template.indexOf("${", rest)) {
      const close = template.indexOf("}", open + 2);
      if (close < 0) break;
      const name = template.slice(open + 2, close);
      parts.push(template.slice(rest, open), this.#value(name));
      size += open - rest + (parts.at(-1)?.length ?? 0);
      if (size > LIMITS.brokerRequestBodyBytes) throw tooLarge();
      rest = close + 1;
    }
    return parts.length === 0 ? template : parts.join("") + template.slice(rest);
  }

  /** Replaces variables in the headers that `x-broker-var-sub` names; returns their names. Header names are lower case. */
  headers(headers: Record<string, string>): readonly string[] {
    const named = headers["x-broker-var-sub"];
    if (named === undefined) return [];
    const changed: string[] = [];
    for (const name of new Set(named.split(",").map((part) => part.trim().toLowerCase()))) {
      const value = Object.hasOwn(headers, name) && name !== "x-broker-var-sub" ? headers[name] : undefined;
      if (value === undefined) continue;
      headers[name] = this.expand(value);
      changed.push(name);
    }
    return changed;
  }

  /**
   * Replaces variables in the fields that a JSON body's BROKER_VAR_SUB names, and removes that key. Any other body
   * comes back as it is.
   *
   * @throws {OutpostError} BODY_TOO_LARGE as {@link Substituter.expand}, and when a body of more than
   *   LIMITS.brokerTextBytes asks for it.
   */
  body(body: Uint8Array<ArrayBuffer>): { readonly body: Uint8Array<ArrayBuffer>; readonly fields: readonly string[] } {
    // Looked for in the bytes: almost no body has it, and one of 10 MiB would be copied into a string for nothing.
    if (!Buffer.from(body.buffer, body.byteOffset, body.length).includes("BROKER_VAR_SUB")) return { body, fields: [] };
    if (body.length > LIMITS.brokerTextBytes) return passLarge(body);
    const parsed = parseBoundedJson(new TextDecoder().decode(body));
    if (!parsed.ok || !isRecord(parsed.value)) return { body, fields: [] };
    const paths = parsed.value["BROKER_VAR_SUB"];
    if (!Array.isArray(paths)) return { body, fields: [] };
    const fields = paths.filter((path) => typeof path === "string").slice(0, LIMITS.brokerRules);
    for (const path of fields) {
      changeAt(parsed.value, path, (value) => typeof value === "string" ? this.expand(value) : value);
    }
    delete parsed.value["BROKER_VAR_SUB"];
    const encoded = new TextEncoder().encode(JSON.stringify(parsed.value));
    if (encoded.length > LIMITS.brokerRequestBodyBytes) throw tooLarge();
    return { body: encoded, fields };
  }

  #value(name: string): string {
    const pool = this.#lookup(`${name}_POOL`);
    if (pool === undefined || pool === "") return this.#lookup(name) ?? "";
    const members = pool.split(",").map((member) => member.trim());
    const turn = this.#turns.get(name) ?? 0;
    this.#turns.set(name, (turn + 1) % members.length);
    return members[turn % members.length] ?? "";
  }
}

/** A large body that asks for nothing; the text of one would be in memory five times while it is changed. */
function passLarge(
  body: Uint8Array<ArrayBuffer>,
): { readonly body: Uint8Array<ArrayBuffer>; readonly fields: readonly string[] } {
  try {
    const parsed = parseBoundedJson(new LargeJson(body).text);
    if (parsed.ok && isRecord(parsed.value) && Array.isArray(parsed.value["BROKER_VAR_SUB"])) {
      const message = `Cannot substitute variables: the body is larger than ${LIMITS.brokerTextBytes / MIB} MiB`;
      throw new OutpostError("BODY_TOO_LARGE", message);
    }
  } catch (error) {
    if (!(error instanceof LargeJsonError)) throw error;
  }
  return { body, fields: [] };
}

const MIB = 1024 * 1024;

function tooLarge(): OutpostError {
  return new OutpostError("BODY_TOO_LARGE", "Cannot substitute variables: the result is larger than 10 MiB");
}
