/**
 * Puts built images where peers read them: folders, archives, registries over HTTP.
 *
 * @module
 */
import type { Digest } from "../../src/core/digest.ts";
import { type BuiltContent, ociLayout } from "../../src/lib/oci_builder.ts";
import { writeTar } from "../../src/lib/tar_writer.ts";
import type { DockerRegistry } from "./docker_registry.ts";

/** Writes an OCI image layout that offers the content as `name`. */
export async function writeOciLayout(dir: string, content: BuiltContent, name = "latest"): Promise<void> {
  await Deno.mkdir(`${dir}/blobs/sha256`, { recursive: true });
  for (const member of ociLayout([{ content, names: [name] }])) {
    if (!("content" in member)) continue;
    const bytes = typeof member.content === "string" ? new TextEncoder().encode(member.content) : member.content;
    await Deno.writeFile(`${dir}/${member.path}`, bytes);
  }
}

/** Writes an oci-archive, a tar of a layout. */
export async function writeOciArchive(file: string, content: BuiltContent, name = "latest"): Promise<void> {
  await Deno.writeFile(file, writeTar(ociLayout([{ content, names: [name] }])));
}

/**
 * Uploads the content over the registry's own HTTP API, with monolithic uploads, and tags it. Faster than skopeo, and
 * byte-exact.
 *
 * @throws {Error} when the registry answers anything but 201.
 */
export async function uploadImage(
  registry: DockerRegistry,
  repository: string,
  tags: readonly string[],
  content: BuiltContent,
): Promise<void> {
  const api = await openRepository(registry, repository);
  const manifests = new Set(content.manifests.map((manifest) => manifest.digest));
  try {
    for (const [digest, bytes] of content.blobs) {
      if (!manifests.has(digest)) await api.blob(digest, bytes);
    }
    for (const { digest, mediaType } of content.manifests) {
      await api.manifest(digest, mediaType, bytesOf(content, digest));
    }
    for (const tag of tags) {
      await api.manifest(tag, content.descriptor.mediaType, bytesOf(content, content.descriptor.digest));
    }
  } finally {
    api.close();
  }
}

/** Gives an uploaded image further tags: one PUT of the manifest each, so that hundreds are cheap. */
export async function tagImage(
  registry: DockerRegistry,
  repository: string,
  tags: readonly string[],
  content: BuiltContent,
): Promise<void> {
  const api = await openRepository(registry, repository);
  try {
    const { mediaType, digest } = content.descriptor;
    for (const tag of tags) await api.manifest(tag, mediaType, bytesOf(content, digest));
  } finally {
    api.close();
  }
}

/** The file in which the registry keeps a blob: to damage it on purpose. */
export function blobFile(registry: DockerRegistry, digest: Digest): string {
  const hex = digest.slice(7);
  return `${registry.storage}/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
}

/** The writing side of one repository's HTTP API. */
export interface RepositoryUpload {
  /** A monolithic upload. */
  blob(digest: Digest, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** A streamed upload: `digest` is asked for when the body has been read to its end. */
  stream(body: ReadableStream<Uint8Array<ArrayBuffer>>, digest: () => Digest): Promise<void>;
  manifest(reference: string, mediaType: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  close(): void;
}

/** Opens a repository for uploads; close it. Every method throws when the registry answers an error. */
export async function openRepository(registry: DockerRegistry, repository: string): Promise<RepositoryUpload> {
  const authorization = await authorize(registry, `repository:${repository}:pull,push`);
  const client = registry.caPem === undefined ? undefined : Deno.createHttpClient({ caCerts: [registry.caPem] });
  const send = async (
    url: string | URL,
    method: string,
    type?: string,
    body?: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>>,
  ): Promise<Response> => {
    const headers = {
      ...(authorization === undefined ? {} : { authorization }),
      ...(type === undefined ? {} : { "content-type": type }),
    };
    const response = await fetch(url, {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
      ...(client === undefined ? {} : { client }),
    });
    const answer = await response.text();
    if (!response.ok) throw new Error(`${method} ${url} answered ${response.status}: ${answer}`);
    return response;
  };
  const base = `${registry.url}/v2/${repository}`;
  return {
    blob: async (digest, bytes) => {
      const started = await send(`${base}/blobs/uploads/`, "POST");
      const target = new URL(started.headers.get("location") ?? "", base);
      target.searchParams.set("digest", digest);
      await send(target, "PUT", "application/octet-stream", bytes);
    },
    stream: async (body, digest) => {
      const started = await send(`${base}/blobs/uploads/`, "POST");
      const target = new URL(started.headers.get("location") ?? "", base);
      const written = await send(target, "PATCH", "application/octet-stream", body);
      const last = new URL(written.headers.get("location") ?? "", base);
      last.searchParams.set("digest", digest());
      await send(last, "PUT", "application/octet-stream");
    },
    manifest: async (reference, mediaType, bytes) => {
      await send(`${base}/manifests/${reference}`, "PUT", mediaType, bytes);
    },
    close: () => client?.close(),
  };
}

/** An Authorization header that lets its bearer do what the scope says; undefined where there is no login. */
export async function authorize(registry: DockerRegistry, scope: string): Promise<string | undefined> {
  if (registry.tokens === undefined) return registry.basic;
  const url = new URL(registry.tokens.realm);
  url.searchParams.set("service", "outpost-test-registry");
  url.searchParams.set("scope", scope);
  const response = await fetch(url, { headers: { authorization: registry.basic ?? "" } });
  const answer = await response.json() as { readonly token?: string };
  if (answer.token === undefined) throw new Error(`The token server answered ${response.status}`);
  return `Bearer ${answer.token}`;
}

function bytesOf(content: BuiltContent, digest: Digest): Uint8Array<ArrayBuffer> {
  const bytes = content.blobs.get(digest);
  if (bytes === undefined) throw new Error(`The content has no blob ${digest}`);
  return bytes;
}
