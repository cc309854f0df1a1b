/**
 * One way through the pages of every registry's lists (registries.md §1.3).
 *
 * The cursor is opaque: it may be a name, a number or an encrypted token, and is handed back as it came. Of a `Link` only
 * the query is used, on our own path: Artifactory leaves the repository's prefix out, Nexus names another path. A server
 * that sends no link but full pages is asked for what follows its last name; one that ignores that shows itself by
 * sending nothing new.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { nextLink } from "./challenge.ts";
import { protocolError } from "./errors.ts";

/** Answer to one page request. */
export type PageAnswer =
  | { readonly kind: "page"; readonly items: readonly string[]; readonly link: string | null }
  /** The server does not accept the page size. */
  | { readonly kind: "size-refused"; readonly error: OutpostError }
  /** The server does not know the cursor any more, or any other refusal of the request. */
  | { readonly kind: "refused"; readonly error: OutpostError };

/** Options of {@link listPages}. */
export interface PagerOptions {
  /** The list's URL without a query. */
  readonly url: URL;
  readonly pageSize: number;
  /** Whether a full page without a link may have a next one, to be asked for by its last name. */
  readonly lastMarker: boolean;
  /** What is listed, for messages: `list the repositories of host`. */
  readonly action: string;
  /** Fetches one page; throws only what must end the listing. */
  readonly fetchPage: (url: URL) => Promise<PageAnswer>;
}

/** Sizes to fall back to when a server refuses the page size; the last one lets the server choose. */
const SMALLER_SIZES: readonly (number | undefined)[] = [100, undefined];

/**
 * Names, page by page; each name once, empty pages left out. A cursor that the server forgets midway (the name was
 * deleted, the server was restarted) makes one new start.
 *
 * @throws {OutpostError} REGISTRY_PROTOCOL for a link to another origin, LIMIT_EXCEEDED for a list without end, and what
 * the registry's refusal means.
 */
export async function* listPages(options: PagerOptions): AsyncGenerator<readonly string[], void, void> {
  const seen = new Set<string>();
  let sizes: readonly (number | undefined)[] = [options.pageSize, ...SMALLER_SIZES];
  let restarted = false;
  for (;;) {
    const interruption: Interruption | undefined = yield* walk({ ...options, size: sizes[0], seen, restarted });
    if (interruption === undefined) return;
    if (interruption.sizeRefused && sizes.length > 1) sizes = sizes.slice(1);
    else if (!interruption.midway || restarted) throw interruption.error;
    restarted ||= interruption.midway;
  }
}

interface Walk extends PagerOptions {
  readonly size: number | undefined;
  /** Names given so far, over all walks. */
  readonly seen: Set<string>;
  /** Whether names of an earlier walk will come again. */
  readonly restarted: boolean;
}

interface Interruption {
  readonly sizeRefused: boolean;
  readonly midway: boolean;
  readonly error: OutpostError;
}

/** One walk from the first page; gives what interrupted it. */
async function* walk(options: Walk): AsyncGenerator<readonly string[], Interruption | undefined, void> {
  const { action, seen } = options;
  const asked = new Set<string>();
  let previous: readonly string[] = [];
  let empty = 0;
  for (let url: URL | undefined = firstPage(options), page = 1; url !== undefined; page++) {
    if (page > LIMITS.pages) throw endless(action, `it has more than ${LIMITS.pages} pages`);
    asked.add(url.href);
    const answer = await options.fetchPage(url);
    if (answer.kind !== "page") {
      return { sizeRefused: answer.kind === "size-refused", midway: page > 1, error: answer.error };
    }
    const { items } = answer;
    const fresh = [...new Set(items)].filter((item) => !seen.has(item));
    for (const item of fresh) seen.add(item);
    if (seen.size > LIMITS.listedNames) throw endless(action, `it has more than ${LIMITS.listedNames} names`);
    if (fresh.length > 0) yield fresh;
    empty = items.length === 0 ? empty + 1 : 0;
    const repeats = items.length > 0 && (sameItems(items, previous) || (fresh.length === 0 && !options.restarted));
    const next: URL | undefined = repeats || empty > LIMITS.emptyPages ? undefined : nextPage(options, url, answer);
    previous = items;
    url = next === undefined || asked.has(next.href) ? undefined : next;
  }
  return undefined;
}

function firstPage({ url, size }: Walk): URL {
  const first = new URL(url);
  if (size !== undefined) first.searchParams.set("n", String(size));
  return first;
}

function nextPage(
  { url, size, action, lastMarker }: Walk,
  current: URL,
  { items, link }: { readonly items: readonly string[]; readonly link: string | null },
): URL | undefined {
  const target = nextLink(link);
  if (target !== undefined) return followLink(url, current, target, action);
  const last = items.at(-1);
  if (!lastMarker || size === undefined || items.length < size || last === undefined) return undefined;
  const next = new URL(url);
  next.searchParams.set("n", String(size));
  next.searchParams.set("last", last);
  return next;
}

/** Our own path with the link's query. */
function followLink(list: URL, current: URL, target: string, action: string): URL {
  let link: URL;
  try {
    link = new URL(target, current);
  } catch {
    throw protocolError(action, "the link to the next page is not a URL");
  }
  // A TLS proxy in front of the registry lets it write http:// for its own host; only the query is used anyway.
  if (link.host !== current.host) throw protocolError(action, `the link to the next page leads to ${link.host}`);
  const next = new URL(list);
  next.search = link.search;
  return next;
}

function sameItems(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

function endless(action: string, problem: string): OutpostError {
  return new OutpostError("LIMIT_EXCEEDED", `Cannot ${action}: ${problem}`);
}
