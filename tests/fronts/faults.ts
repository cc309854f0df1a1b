/**
 * What networks, proxies and servers do to answers: the fault switches of every front (registries.md §9).
 *
 * @module
 */
import type { FrontCall } from "./front.ts";

/** Stands before a site: gives another answer, or changes the one of `next`. */
export type Fault = (call: FrontCall, next: () => Promise<Response>) => Response | Promise<Response>;

/** An answer with a status, headers and a body, whatever was asked. */
export function answers(status: number, headers: Readonly<Record<string, string>> = {}, body: string = ""): Fault {
  return () => new Response(body === "" ? null : body, { status, headers });
}

/** 429 with one of the ways in which servers say when: `{"retry-after": "7"}`, a date, `{"x-retry-after": "<unix>"}`. */
export function tooManyRequests(headers: Readonly<Record<string, string>>): Fault {
  const body = JSON.stringify({ errors: [{ code: "TOOMANYREQUESTS", message: "You have reached your rate limit." }] });
  return answers(429, { "content-type": "application/json", ...headers }, body);
}

/** A 502 of a proxy, as a web page. */
export const badGateway: Fault = answers(502, { "content-type": "text/html" }, "<html><h1>502 Bad Gateway</h1></html>");

/** A redirect to a page where people sign in. */
export function loginPage({ originOf }: FrontCall): Response {
  return new Response(null, { status: 302, headers: { location: `${originOf("elsewhere")}/sso/login` } });
}

/** A redirect to the same place, for ever. */
export function redirectLoop({ url }: FrontCall): Response {
  return new Response(null, { status: 307, headers: { location: url.href } });
}

/** A redirect to a site. */
export function redirectTo(site: string): Fault {
  return ({ url, originOf }) =>
    new Response(null, { status: 307, headers: { location: originOf(site) + url.pathname + url.search } });
}

/** The answer with a `Link` to the next page that leads to another site. */
export function linkTo(site: string): Fault {
  return withHeaders(({ originOf, url }) => ({ link: `<${originOf(site)}${url.pathname}?last=x&n=100>; rel="next"` }));
}

/** The answer with a `Link` to itself. */
export const linkLoop: Fault = withHeaders(({ url }) => ({ link: `<${url.pathname}${url.search}>; rel="next"` }));

/** The answer with a challenge whose token server is another site. */
export function realmAt(site: string): Fault {
  return withHeaders(({ originOf }) => ({ "www-authenticate": `Bearer realm="${originOf(site)}/token",service="x"` }));
}

/** The answer with the cookies that load balancers and web applications set. */
export const setsCookie: Fault = withHeaders(() => ({ "set-cookie": "sid=canary-cookie; Path=/" }));

function withHeaders(headers: (call: FrontCall) => Readonly<Record<string, string>>): Fault {
  return async (call, next) => {
    const answer = await next();
    const all = new Headers(answer.headers);
    for (const [name, value] of Object.entries(headers(call))) all.set(name, value);
    return new Response(answer.body, { status: answer.status, headers: all });
  };
}

/** Closes the connection after so many bytes of the body, whose announced length stays. */
export function cutAfter(bytes: number): Fault {
  return changed((all) => all.subarray(0, bytes), "breaks");
}

/** Inverts a bit of the body. */
export function flipped(at: number): Fault {
  return changed((all) => all.map((byte, index) => index === at ? byte ^ 1 : byte), "ends");
}

/** The whole with 200 although a range was asked for. */
export async function ignoresRange(call: FrontCall, next: () => Promise<Response>): Promise<Response> {
  call.headers.delete("range");
  return await next();
}

function changed(
  change: (all: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>,
  end: "breaks" | "ends",
): Fault {
  return async (_, next) => {
    const answer = await next();
    const all = new Uint8Array(await answer.arrayBuffer());
    const part = change(all);
    const headers = new Headers(answer.headers);
    headers.set("content-length", String(all.length));
    return new Response(end === "ends" ? part : breaking(part), { status: answer.status, headers });
  };
}

function breaking(part: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  let sent = false;
  return new ReadableStream({
    pull(controller): void {
      if (sent) controller.error(new Error("The connection breaks on purpose"));
      else controller.enqueue(part);
      sent = true;
    },
  }, { highWaterMark: 0 });
}

/** An answer that waits until it is released. */
export interface Held {
  readonly fault: Fault;
  /** Resolves when a request has arrived. */
  readonly arrived: Promise<void>;
  release(): void;
}

/** A server that is slow for as long as a test wants. */
export function hold(): Held {
  const arrival = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  return {
    fault: async (_, next) => {
      arrival.resolve();
      await release.promise;
      return await next();
    },
    arrived: arrival.promise,
    release: () => release.resolve(),
  };
}
