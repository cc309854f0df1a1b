/**
 * Image references: `[host/]repository[:tag][@digest]`, by the grammar of distribution/reference.
 *
 * @module
 */
import { type Digest, isDigest, parseDigest } from "./digest.ts";
import { OutpostError } from "./errors.ts";

/** A reference taken apart. `tag` and `digest` may both be absent: the caller decides what that means. */
export interface ImageRef {
  /** `host[:port]`, when the reference names one. */
  readonly host?: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const HOST = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?$/;

/** Whether the text is a repository name that may stand in a registry URL. */
export function isRepository(text: string): boolean {
  return text.length <= 255 && REPOSITORY.test(text);
}

/** Whether the text is a tag. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/**
 * Parses a reference. The first path part is a host when it holds a `.` or a `:`, or is `localhost`
 * (distribution/reference's rule); `host: false` takes every part as repository.
 *
 * @throws {OutpostError} REFERENCE_INVALID, with what is wrong.
 */
export function parseImageRef(text: string, options: { readonly host?: boolean } = {}): ImageRef {
  const invalid = (why: string): OutpostError =>
    new OutpostError("REFERENCE_INVALID", `Cannot use "${text.slice(0, 300)}" as an image reference: ${why}`, {
      hint: "Write it as host/repository:tag or host/repository@sha256:…, in lower case.",
    });
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf("@");
  if (at >= 0) {
    if (!isDigest(rest.slice(at + 1))) throw invalid("the part after @ is not a digest");
    digest = parseDigest(rest.slice(at + 1));
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(":");
  if (colon > rest.lastIndexOf("/")) {
    tag = rest.slice(colon + 1);
    if (!isTag(tag)) throw invalid(`"${tag.slice(0, 140)}" is not a tag`);
    rest = rest.slice(0, colon);
  }
  let host: string | undefined;
  const slash = rest.indexOf("/");
  if (options.host !== false && slash > 0) {
    const first = rest.slice(0, slash);
    if (first.includes(".") || first.includes(":") || first === "localhost") {
      if (!HOST.test(first)) throw invalid(`"${first}" is not a host name`);
      host = first;
      rest = rest.slice(slash + 1);
    }
  }
  if (rest !== rest.toLowerCase()) throw invalid("a repository name is lower case");
  if (!isRepository(rest)) throw invalid(`"${rest.slice(0, 255)}" is not a repository name`);
  return {
    ...(host === undefined ? {} : { host }),
    repository: rest,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The reference as text, in its canonical order. */
export function formatImageRef(ref: ImageRef): string {
  const host = ref.host === undefined ? "" : `${ref.host}/`;
  const tag = ref.tag === undefined ? "" : `:${ref.tag}`;
  const digest = ref.digest === undefined ? "" : `@${ref.digest}`;
  return `${host}${ref.repository}${tag}${digest}`;
}
