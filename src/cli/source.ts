/**
 * SOURCE of a command: a registry reference, or an archive on this machine.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";

/** Where an image is. */
export type Source =
  | { readonly kind: "registry"; readonly text: string }
  /** `text` as layers/archive.ts takes it; `name` is what the image is called when nobody names it. */
  | { readonly kind: "archive"; readonly text: string; readonly name: string };

const ARCHIVE_PREFIX = /^(docker-archive|oci-archive|kaniko-archive|oci):(.+)$/;

/**
 * Decides by form: a known prefix, or a path (it starts with `/`, `./`, `../` or `~`, or ends in an archive's
 * extension) is an archive; so is whatever exists as a file. Everything else is a registry reference, which
 * `registry:` and `docker://` name explicitly.
 *
 * @throws {OutpostError} USAGE for an empty source.
 */
export async function parseSource(text: string, exists: (path: string) => Promise<boolean>): Promise<Source> {
  if (text.trim() === "") throw new OutpostError("USAGE", "Cannot scan: SOURCE is empty");
  const explicit = /^(?:registry:|docker:\/\/)(.+)$/.exec(text);
  if (explicit?.[1] !== undefined) return { kind: "registry", text: explicit[1] };
  const prefixed = ARCHIVE_PREFIX.exec(text);
  if (prefixed?.[2] !== undefined) return { kind: "archive", text, name: fileName(prefixed[2]) };
  const path = /^(?:\.{0,2}\/|\.{1,2}$|~\/)/.test(text) || /\.(?:tar|tgz|tar\.gz|tar\.zst|tzst)$/i.test(text);
  const isArchive = path || await exists(text);
  return isArchive ? { kind: "archive", text, name: fileName(text) } : { kind: "registry", text };
}

function fileName(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("/") + 1);
}
