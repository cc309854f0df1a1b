/**
 * Paths inside a tar archive, made relative to the root of the image.
 *
 * @module
 */

/**
 * Cleans the name of a tar member: relative to the root, `/`-separated, without `.`, `..` and empty parts. `..` stops
 * at the root, as in a chroot (`../../x` is `x`). The root itself is the empty string.
 */
export function cleanPath(name: string): string {
  let start = 0;
  if (name.startsWith("./")) start = 2;
  let end = name.length;
  if (end > start && name.charCodeAt(end - 1) === SLASH) end--;
  return isClean(name, start, end) ? name.slice(start, end) : resolveParts(name);
}

const SLASH = 0x2f;
const DOT = 0x2e;

/** Most names need no work: one look at each character instead of a split per entry. */
function isClean(name: string, start: number, end: number): boolean {
  let part = start;
  for (let i = start; i <= end; i++) {
    if (i < end && name.charCodeAt(i) !== SLASH) continue;
    const length = i - part;
    if (length === 0) return start === end;
    if (name.charCodeAt(part) === DOT && (length === 1 || (length === 2 && name.charCodeAt(part + 1) === DOT))) {
      return false;
    }
    part = i + 1;
  }
  return true;
}

function resolveParts(name: string): string {
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}
