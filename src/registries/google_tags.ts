/**
 * Google's own members of `tags/list`: the names below a name, and every manifest with its tags and the time of its
 * upload (registries.md §2.5; go-containerregistry's `pkg/v1/google/list.go`).
 *
 * @module
 */
import { isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { isRepository } from "../core/image_ref.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { REFUSED } from "./first_listing.ts";
import { apiUrl } from "./endpoint.ts";
import { protocolError, type Subject } from "./errors.ts";
import type { FlavourContext, RegistryCalls, TagSource } from "./flavour.ts";
import type { JsonCall } from "./json_source.ts";
import { byLink, restPages } from "./rest_pager.ts";

/** Digest and time of upload of all tags, in one call. */
export function googleTags(context: FlavourContext, registry: RegistryCalls): TagSource {
  return (name, signal) => {
    const call = tagsCall(context, name, "tags");
    return restPages({
      source: registry,
      call,
      items: ({ value }) => tagInfos(value, call.action),
      key: ({ tag }) => tag,
      next: byLink,
    }, signal);
  };
}

function tagsCall({ endpoint }: FlavourContext, name: string, subject: Subject): JsonCall {
  const what = subject === "catalog" ? "repositories below" : "tags of";
  return {
    url: apiUrl(endpoint, `${name}/tags/list`),
    action: `list the ${what} ${name} at ${endpoint.host}`,
    subject,
    scopes: [`repository:${name}:pull`],
  };
}

function tagInfos(value: unknown, action: string): readonly TagInfo[] {
  const fields = fieldsOf(value, action);
  const manifests = isRecord(fields["manifest"]) ? fields["manifest"] : undefined;
  const names = textsOf(fields["tags"]);
  if (manifests === undefined && names.length > 0) throw protocolError(action, "the answer holds no manifests");
  const known = Object.entries(manifests ?? {}).flatMap(([digest, manifest]) => {
    if (!isRecord(manifest) || !isDigest(digest)) return [];
    const lastPushed = timeOfMs(manifest["timeUploadedMs"]);
    return textsOf(manifest["tag"]).map((tag): TagInfo => ({ tag, digest, lastPushed }));
  });
  const named = new Set(known.map(({ tag }) => tag));
  const others = names.filter((tag) => !named.has(tag));
  return [...known, ...others.map((tag): TagInfo => ({ tag, digest: null, lastPushed: null }))];
}

function fieldsOf(value: unknown, action: string): Readonly<Record<string, unknown>> {
  if (isRecord(value) && ["tags", "manifest", "child"].some((member) => value[member] !== undefined)) return value;
  throw protocolError(action, "the answer is no list of tags");
}

/** Milliseconds since the epoch: a text at Container Registry, a number at Artifact Registry. */
function timeOfMs(value: unknown): string | null {
  const ms = typeof value === "string" || typeof value === "number" ? Number(value) : NaN;
  return ms > 0 && ms <= 8.64e15 ? new Date(ms).toISOString() : null;
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item: unknown) => typeof item === "string" && item !== "") : [];
}

/**
 * Names of repositories found by going down from names of which at least the project is known. A name is a repository
 * when it has manifests. Two requests for each name, a token and the list, so it is for those who have no other right.
 *
 * @throws {OutpostError} what the refusal of a root means; LIMIT_EXCEEDED.
 */
export async function* walkRepositories(
  context: FlavourContext,
  registry: RegistryCalls,
  roots: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<readonly string[], void, void> {
  const visit = (name: string): Promise<Node> => visitName(context, registry, name, signal);
  let seen = 0;
  for (let level = roots, depth = 0; level.length > 0; depth++) {
    const below: string[] = [];
    for (let at = 0; at < level.length; at += LIMITS.metadataRequests) {
      const outcomes = await Promise.allSettled(level.slice(at, at + LIMITS.metadataRequests).map(visit));
      const nodes = outcomes.flatMap((outcome) => nodeOf(outcome, depth === 0));
      const found = nodes.filter(({ repository }) => repository).map(({ name }) => name);
      if (found.length > 0) yield found;
      for (const { children } of nodes) below.push(...children);
      seen += nodes.length;
      if (seen + below.length > LIMITS.listedNames) {
        const { host } = context.endpoint;
        const problem = `it has more than ${LIMITS.listedNames} names`;
        throw new OutpostError("LIMIT_EXCEEDED", `Cannot list the repositories of ${host}: ${problem}`);
      }
    }
    level = below;
  }
}

interface Node {
  readonly name: string;
  readonly repository: boolean;
  readonly children: readonly string[];
}

/** A name below a root that may not be read is left out. */
function nodeOf(outcome: PromiseSettledResult<Node>, isRoot: boolean): readonly Node[] {
  if (outcome.status === "fulfilled") return [outcome.value];
  const error: unknown = outcome.reason;
  if (!isRoot && error instanceof OutpostError && REFUSED.has(error.code)) return [];
  throw error;
}

async function visitName(
  context: FlavourContext,
  registry: RegistryCalls,
  name: string,
  signal: AbortSignal,
): Promise<Node> {
  const call = tagsCall(context, name, "catalog");
  const fields = fieldsOf((await registry.call(call, signal)).value, call.action);
  const manifests = isRecord(fields["manifest"]) ? Object.keys(fields["manifest"]) : [];
  const repository = manifests.length > 0 || textsOf(fields["tags"]).length > 0;
  const children = textsOf(fields["child"]).map((child) => `${name}/${child}`).filter(isRepository);
  return { name, repository, children };
}
