/**
 * One way through the lists of vendors' REST APIs: page numbers, cursors and links (registries.md §1.3, §2). Bounded, and
 * it notices servers that go round in circles or end before the number that they announce.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { nextLink } from "./challenge.ts";
import { protocolError } from "./errors.ts";
import type { JsonAnswer, JsonCall, JsonSource } from "./json_source.ts";

/** A page and where it came from. */
export interface RestPage extends JsonAnswer {
  /** The URL that gave it. */
  readonly url: URL;
  /** Number of its items. */
  readonly count: number;
  /** Items of all pages so far, and how many there are as far as the server says. */
  readonly seen: number;
  readonly total: number | undefined;
  /** What is listed, for messages. */
  readonly action: string;
}

/** Says where the next page is; undefined at the end. */
export type NextPage = (page: RestPage) => URL | undefined;

/** Options of {@link restPages}. */
export interface RestPagesOptions<T> {
  readonly source: JsonSource;
  /** The first page, with its page size in the query. */
  readonly call: JsonCall;
  /** The items of an answer. */
  readonly items: (answer: JsonAnswer) => readonly T[];
  /** What makes an item the same as another one. */
  readonly key: (item: T) => string;
  readonly next: NextPage;
  /** How many items the server says there are, where it does. */
  readonly total?: (answer: JsonAnswer) => number | undefined;
}

/**
 * Items, page by page; each once, empty pages left out.
 *
 * @throws {OutpostError} REGISTRY_PROTOCOL for a link to another origin, and when pages repeat although the server
 * announced more items; LIMIT_EXCEEDED for a list without end; what the vendor's refusal means.
 */
export async function* restPages<T>(
  options: RestPagesOptions<T>,
  signal: AbortSignal,
): AsyncGenerator<readonly T[], void, void> {
  const { source, call } = options;
  const asked = new Set<string>();
  const seen = new Set<string>();
  for (let url: URL | undefined = call.url, empty = 0; url !== undefined;) {
    if (asked.size >= LIMITS.pages) throw endless(call.action, `it has more than ${LIMITS.pages} pages`);
    asked.add(url.href);
    const answer: JsonAnswer = await source.call({ ...call, url }, signal);
    const items = options.items(answer);
    const fresh = unseen(items, options.key, seen);
    if (seen.size > LIMITS.listedNames) throw endless(call.action, `it has more than ${LIMITS.listedNames} items`);
    if (fresh.length > 0) yield fresh;
    empty = items.length === 0 ? empty + 1 : 0;
    const total = options.total?.(answer);
    const page: RestPage = { ...answer, url, count: items.length, seen: seen.size, total, action: call.action };
    const next: URL | undefined = options.next(page);
    if (next === undefined) return;
    const circle = asked.has(next.href) || (items.length > 0 && fresh.length === 0) || empty > LIMITS.emptyPages;
    if (circle) return endCircle(total, seen.size, call.action);
    url = next;
  }
}

/** A server that ignores the page sends everything again: that is an end, unless it has said that there is more. */
function endCircle(total: number | undefined, seen: number, action: string): void {
  if (total !== undefined && total > seen) {
    throw protocolError(action, `its pages repeat after ${seen} of ${total} items`);
  }
}

function unseen<T>(items: readonly T[], key: (item: T) => string, seen: Set<string>): readonly T[] {
  return items.filter((item) => {
    const before = seen.size;
    return seen.add(key(item)).size > before;
  });
}

function endless(action: string, problem: string): OutpostError {
  return new OutpostError("LIMIT_EXCEEDED", `Cannot ${action}: ${problem}`);
}

/** A link's target on our own scheme, host and path: only its query is used, since proxies get the rest wrong. */
function sameList(target: string, page: RestPage): URL {
  let link: URL;
  try {
    link = new URL(target, page.url);
  } catch {
    throw protocolError(page.action, "the link to the next page is not a URL");
  }
  if (link.host !== page.url.host) {
    throw protocolError(page.action, `the link to the next page leads to ${link.host}`);
  }
  const next = new URL(page.url);
  next.search = link.search;
  return next;
}

/** Follows `Link: <…>; rel="next"` (RFC 8288). */
export function byLink(page: RestPage): URL | undefined {
  const target = nextLink(page.headers.get("link"));
  return target === undefined ? undefined : sameList(target, page);
}

/** Follows a URL in the answer: `byUrl("next")`, `byUrl("links", "pages", "next")`. */
export function byUrl(...members: readonly string[]): NextPage {
  return (page) => {
    const target = memberOf(page.value, members);
    return typeof target === "string" && target !== "" ? sameList(target, page) : undefined;
  };
}

/** Hands a cursor of the answer back as a query parameter: `byCursor("pageToken", "nextPageToken")`. */
export function byCursor(parameter: string, ...members: readonly string[]): NextPage {
  return (page) => {
    const cursor = memberOf(page.value, members);
    return typeof cursor === "string" && cursor !== "" ? withParameter(page.url, parameter, cursor) : undefined;
  };
}

/**
 * Counts pages up: `byCounter("page", 100)`. A page without the parameter is the first. It ends with a page that is not
 * full, unless the server announces more (it may give smaller pages than it was asked for), and with an empty one.
 */
export function byCounter(parameter: string, pageSize: number): NextPage {
  return ({ url, count, seen, total }) => {
    if (count === 0 || (total !== undefined && seen >= total)) return undefined;
    if (count < pageSize && total === undefined) return undefined;
    return withParameter(url, parameter, String(Number(url.searchParams.get(parameter) ?? "1") + 1));
  };
}

/** Goes on at the page that a header names, and ends when it is empty: `byHeader("page", "x-next-page")`. */
export function byHeader(parameter: string, header: string): NextPage {
  return ({ url, headers }) => {
    const page = headers.get(header)?.trim() ?? "";
    return page === "" ? undefined : withParameter(url, parameter, page);
  };
}

/** The number in a header, such as `x-total-count`. */
export function totalInHeader(name: string): (answer: JsonAnswer) => number | undefined {
  return ({ headers }) => numberOf(headers.get(name) ?? undefined);
}

/** The number in a member of the answer: `totalInMember("meta", "total")`. */
export function totalInMember(...members: readonly string[]): (answer: JsonAnswer) => number | undefined {
  return ({ value }) => numberOf(memberOf(value, members));
}

function numberOf(value: unknown): number | undefined {
  const number = typeof value === "number" || (typeof value === "string" && value !== "") ? Number(value) : NaN;
  return Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

function memberOf(value: unknown, members: readonly string[]): unknown {
  return members.reduce<unknown>((inner, member) => isRecord(inner) ? inner[member] : undefined, value);
}

function withParameter(url: URL, name: string, value: string): URL {
  const next = new URL(url);
  next.searchParams.set(name, value);
  return next;
}
