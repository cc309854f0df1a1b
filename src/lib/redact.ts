/**
 * Keeps secrets out of everything that is printed: by value, in the forms in which a value travels.
 *
 * @module
 */

/** Shorter values would hide ordinary text; they are refused as secrets by length, not by content. */
const MIN_LENGTH = 4;
/** Brokered requests bring new credentials all the time; the oldest of those are forgotten first. */
const MAX_DYNAMIC = 512;
const MASK = "***";

const SECRET_KEY = /token|password|passwd|secret|passphrase|credential|private.?key|authorization|cookie|api.?key/i;

/** Replaces known secrets in text, and the values of telling keys in objects. */
export class Redactor {
  readonly #fixed = new Set<string>();
  readonly #dynamic = new Map<string, readonly string[]>();
  #pattern: RegExp | undefined;

  /** Adds a secret of the configuration; it is never forgotten. */
  add(value: string | undefined): void {
    if (value === undefined || value.length < MIN_LENGTH) return;
    for (const form of forms(value)) this.#fixed.add(form);
    this.#pattern = undefined;
  }

  /** Adds a secret that came with a request; the newest 512 are kept. */
  addTransient(value: string | undefined): void {
    if (value === undefined || value.length < MIN_LENGTH || this.#dynamic.has(value)) return;
    this.#dynamic.set(value, forms(value));
    const oldest = this.#dynamic.keys().next().value;
    if (this.#dynamic.size > MAX_DYNAMIC && oldest !== undefined) this.#dynamic.delete(oldest);
    this.#pattern = undefined;
  }

  /** The text with every known secret masked, in plain, base64, URL-encoded and JSON-escaped form. */
  text(text: string): string {
    this.#pattern ??= this.#compile();
    return text.replace(this.#pattern, MASK);
  }

  /** The value as JSON text: telling keys masked, then every known secret masked wherever it still stands. */
  json(value: unknown): string {
    return this.text(
      JSON.stringify(value, function (this: Record<string, unknown>, key: string, inner: unknown): unknown {
        const original = this[key];
        if (key !== "" && SECRET_KEY.test(key) && (typeof inner === "string" || typeof inner === "object")) {
          return inner === null ? null : MASK;
        }
        if (original instanceof Error) return plainError(original);
        return typeof inner === "bigint" ? String(inner) : inner;
      }) ?? "null",
    );
  }

  #compile(): RegExp {
    const all = [...this.#fixed, ...[...this.#dynamic.values()].flat()].toSorted((a, b) => b.length - a.length);
    if (all.length === 0) return /(?!)/;
    return new RegExp(all.map((s) => s.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|"), "g");
  }
}

/** An error as data: name, message, code and causes, without the stack's file names. */
function plainError(error: Error): Record<string, unknown> {
  const code = (error as { code?: unknown }).code;
  return {
    name: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    ...(error.cause === undefined
      ? {}
      : { cause: error.cause instanceof Error ? plainError(error.cause) : String(error.cause) }),
    ...(error.name === "OutpostError" ? {} : { stack: error.stack }),
  };
}

/** The texts in which a value may stand: as is, escaped for JSON or a URL, and in base64 at each of its three alignments. */
function forms(value: string): readonly string[] {
  const bytes = new TextEncoder().encode(value);
  const all = new Set([
    value,
    JSON.stringify(value).slice(1, -1),
    encodeURIComponent(value),
    new URLSearchParams([["", value]]).toString().slice(1),
  ]);
  for (const shift of [0, 1, 2]) {
    const shifted = new Uint8Array(shift + bytes.length);
    shifted.set(bytes, shift);
    // Characters that also hold bits of the neighbours are cut off: they differ from place to place.
    const whole = Math.floor(((shift + bytes.length) * 8) / 6);
    const base64 = shifted.toBase64().slice(Math.ceil((shift * 8) / 6), whole);
    all.add(base64);
    all.add(base64.replaceAll("+", "-").replaceAll("/", "_"));
  }
  return [...all].filter((form) => form.length >= MIN_LENGTH);
}
