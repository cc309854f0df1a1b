/**
 * SOURCE of a command: a registry reference, or an archive on this machine.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";

/** An archive or layout on this machine. */
export interface ArchiveLocation {
  readonly kind: "archive";
  /** What the operator says it is; `auto` finds out. */
  readonly form: "auto" | "docker-archive" | "oci-archive";
  readonly path: string;
  /** Reference name inside an OCI layout. */
  readonly reference: string | undefined;
  /** What the image is called when nobody names it. */
  readonly name: string;
}

/** Where an image is. */
export type Source = { readonly kind: "registry"; readonly text: string } | ArchiveLocation;

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
  const [, scheme, rest] = ARCHIVE_PREFIX.exec(text) ?? [];
  if (scheme === "oci" && rest !== undefined) return layout(rest);
  if (scheme !== undefined && rest !== undefined) return archive(scheme === "kaniko-archive" ? "auto" : scheme, rest);
  const path = /^(?:\.{0,2}\/|\.{1,2}$|~\/)/.test(text) || /\.(?:tar|tgz|tar\.gz|tar\.zst|tzst)$/i.test(text);
  return path || await exists(text) ? archive("auto", text) : { kind: "registry", text };
}

function archive(form: string, path: string): ArchiveLocation {
  const known = form === "docker-archive" || form === "oci-archive" ? form : "auto";
  return { kind: "archive", form: known, path, reference: undefined, name: fileName(path) };
}

/** `DIR[:TAG]`: what follows the last colon is a reference name unless it holds a slash. */
function layout(text: string): ArchiveLocation {
  const colon = text.lastIndexOf(":");
  const tagged = colon > 0 && !text.slice(colon).includes("/");
  const path = tagged ? text.slice(0, colon) : text;
  return {
    kind: "archive",
    form: "auto",
    path,
    reference: tagged ? text.slice(colon + 1) : undefined,
    name: fileName(path),
  };
}

function fileName(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("/") + 1);
}
