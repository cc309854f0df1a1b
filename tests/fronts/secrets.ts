/**
 * Finds secrets in what a client sent, in the forms in which they travel.
 *
 * @module
 */

/** The login of an `Authorization: Basic` field; undefined when it is another scheme or broken. */
export function basicOf(authorization: string): { readonly username: string; readonly password: string } | undefined {
  const encoded = /^basic (.+)$/i.exec(authorization)?.[1];
  if (encoded === undefined) return undefined;
  try {
    const pair = new TextDecoder().decode(Uint8Array.fromBase64(encoded));
    const at = pair.indexOf(":");
    return at < 0 ? undefined : { username: pair.slice(0, at), password: pair.slice(at + 1) };
  } catch {
    return undefined;
  }
}

/** Knows secrets by name. A name may stand for several values (`token`). User names are none. */
export class SecretFinder {
  readonly #names = new Map<string, string>();

  add(name: string, value: string): void {
    if (name !== "username" && value.length > 3) this.#names.set(value, name);
  }

  /** Names of the secrets in the texts, and in the pair of an `Authorization: Basic` field. */
  find(texts: readonly string[], authorization: string): readonly string[] {
    const basic = basicOf(authorization);
    const all = [...texts, ...texts.map(decoded), basic?.password ?? ""].join("\n");
    const found = [...this.#names].filter(([value]) => forms(value).some((form) => all.includes(form)));
    return [...new Set(found.map(([, name]) => name))].toSorted();
  }
}

function forms(value: string): readonly string[] {
  return [value, new TextEncoder().encode(value).toBase64(), JSON.stringify(value).slice(1, -1)];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return "";
  }
}
