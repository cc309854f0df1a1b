/**
 * Dotted paths into JSON (`a.b.0.c`, `*` for every member), as undefsafe reads them in accept rules and in
 * BROKER_VAR_SUB. Only own properties are seen: `__proto__` and `constructor` are names like any other.
 *
 * @module
 */

/** Every value that the path leads to, in order; at most `limit`. */
export function valuesAt(root: unknown, path: string, limit = 1_000): readonly unknown[] {
  let here: readonly unknown[] = [root];
  for (const part of path.split(".")) {
    const next: unknown[] = [];
    for (const value of here) {
      for (const inner of members(value, part)) {
        if (next.length < limit) next.push(inner);
      }
    }
    here = next;
  }
  return here;
}

function members(value: unknown, part: string): readonly unknown[] {
  if (typeof value !== "object" || value === null) return [];
  if (part === "*") return Object.values(value);
  return Object.hasOwn(value, part) ? [(value as Record<string, unknown>)[part]] : [];
}

/** Replaces the value at the path by what `change` returns; does nothing where the path leads nowhere. No `*` here. */
export function changeAt(root: unknown, path: string, change: (value: unknown) => unknown): void {
  const parts = path.split(".");
  const last = parts.pop() ?? "";
  const [parent] = parts.length === 0 ? [root] : valuesAt(root, parts.join("."), 1);
  if (typeof parent !== "object" || parent === null || !Object.hasOwn(parent, last)) return;
  const value = change((parent as Record<string, unknown>)[last]);
  Object.defineProperty(parent, last, { value, writable: true, enumerable: true, configurable: true });
}
