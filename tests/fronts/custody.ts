/**
 * Who may get what: checked over everything that a front has recorded.
 *
 * @module
 */
import { expect } from "vitest";
import type { Front, FrontRecord } from "./front.ts";

/** Header fields of a request to a blob store or to a stranger; the rest may be credentials. */
const PLAIN_HEADERS = new Set(["accept", "accept-encoding", "accept-language", "host", "range", "user-agent"]);

/**
 * Fails when a secret reached a site that does not accept it, when a cookie was sent, or when a stranger got any header
 * field of its own. Looks at Outpost's requests only.
 */
export function expectSecretsKept(front: Front): void {
  const own = front.records.filter(({ client }) => client === "outpost");
  expect(own.length).toBeGreaterThan(0);
  const strays = own.flatMap((record) => {
    const accepts = front.site(record.site).accepts ?? [];
    const wrong = record.secrets.filter((name) => !accepts.includes(name));
    return wrong.length === 0 ? [] : [`${wrong.join("+")} to ${describe(record)}`];
  });
  expect(strays, "secrets at sites that must not have them").toEqual([]);
  expect(own.filter(({ headers }) => headers["cookie"] !== undefined).map(describe), "cookies").toEqual([]);
  const strangers = own.filter(({ site }) => site === "sink" || site === "elsewhere");
  const extra = strangers.flatMap(({ headers }) => Object.keys(headers).filter((name) => !PLAIN_HEADERS.has(name)));
  expect(extra, "header fields that strangers got").toEqual([]);
}

function describe({ site, method, path }: FrontRecord): string {
  return `${site} ${method} ${path}`;
}
