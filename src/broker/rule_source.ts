/**
 * Where accept rules come from: a file or an http(s) URL, JSON or YAML (broker-protocol.md §4).
 *
 * @module
 */
import { ConfigError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Fetch } from "../core/ports.ts";
import { concatBytes } from "../lib/bytes.ts";
import { withDeadline } from "../lib/deadline.ts";
import { parseBoundedJson } from "./codec.ts";

/** Reads the accept rules anew, as a parsed document; {@link AcceptRules.from} checks it. */
export type RuleSource = (signal: AbortSignal) => Promise<unknown>;

/** What {@link ruleSource} reads with. */
export interface RuleSourceOptions {
  /** ACCEPT: a path, relative to the working directory, or an http(s) URL. */
  readonly location: string;
  /** Reads a text file; rejects when it cannot. */
  readonly readFile: (path: string) => Promise<string>;
  readonly fetch: Fetch;
  readonly clock: Clock;
}

/**
 * The source that ACCEPT names. Reading it fails with {@link ConfigError} when the rules cannot be had: no such file, no
 * 200 within LIMITS.brokerRuleFetchMs, more than LIMITS.brokerRuleFileBytes, or neither JSON nor YAML. Redirects are not
 * followed: rules decide what may pass, so they come from where the operator said.
 */
export function ruleSource(options: RuleSourceOptions): RuleSource {
  const { location, readFile } = options;
  if (isRuleUrl(location)) return async (signal) => await parseRuleText(await download(options, signal));
  return async () => {
    const text = await readFile(location).catch(() => {
      throw new ConfigError([`ACCEPT names a file that cannot be read: ${location}`]);
    });
    if (text.length > LIMITS.brokerRuleFileBytes) throw tooLarge();
    return await parseRuleText(text);
  };
}

/** Whether ACCEPT is a URL; anything else is a path. */
export function isRuleUrl(location: string): boolean {
  return /^https?:\/\//i.test(location);
}

/**
 * Parses JSON or YAML 1.2 with merge keys. The YAML parser is loaded only for a text that is not JSON.
 *
 * @throws {ConfigError} when the text is neither; the message names the line.
 */
export async function parseRuleText(text: string): Promise<unknown> {
  const json = parseBoundedJson(text);
  if (json.ok) return json.value;
  const { parse } = await import("yaml");
  try {
    return parse(text, { merge: true, maxAliasCount: LIMITS.brokerRuleAliases, logLevel: "error" });
  } catch (error) {
    const [first] = (error instanceof Error ? error.message : "").split("\n", 1);
    throw new ConfigError([`ACCEPT: it is neither JSON nor YAML: ${first?.replace(/:$/, "")}`]);
  }
}

async function download({ location, fetch: ask, clock }: RuleSourceOptions, signal: AbortSignal): Promise<string> {
  const url = URL.canParse(location) ? new URL(location) : undefined;
  if (url === undefined) throw new ConfigError(["ACCEPT: it is not a URL"]);
  const limit = { clock, ms: LIMITS.brokerRuleFetchMs, what: `Reading the accept rules from ${url.host}`, signal };
  return await withDeadline(limit, async (deadline) => {
    const request = new Request(withoutUserInfo(url), {
      headers: { accept: "application/json, application/yaml, text/plain, */*", ...userInfo(url) },
      redirect: "manual",
      signal: deadline,
    });
    let response: Response;
    try {
      response = await ask(request);
    } catch {
      deadline.throwIfAborted();
      throw new ConfigError([`ACCEPT: ${url.host} cannot be reached`]);
    }
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new ConfigError([`ACCEPT: ${url.host} answered ${response.status}`]);
    }
    return await readBounded(response);
  });
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > LIMITS.brokerRuleFileBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return new TextDecoder().decode(concatBytes(chunks));
}

/** `fetch` refuses URLs with credentials in them. */
function withoutUserInfo(url: URL): URL {
  const plain = new URL(url);
  plain.username = plain.password = "";
  return plain;
}

function userInfo(url: URL): Record<string, string> {
  if (url.username === "" && url.password === "") return {};
  const text = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return { authorization: `Basic ${new TextEncoder().encode(text).toBase64()}` };
}

function tooLarge(): ConfigError {
  return new ConfigError([`ACCEPT: it has more than ${LIMITS.brokerRuleFileBytes} bytes`]);
}
