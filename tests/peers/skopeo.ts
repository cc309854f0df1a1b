/**
 * Debian's skopeo: a real client that fills registries and writes archives.
 *
 * @module
 */
import type { DockerRegistry } from "./docker_registry.ts";
import { peerPath } from "./mod.ts";
import { run } from "./process.ts";

/** Options of {@link pushImage}. */
export interface PushOptions {
  /** Converts the manifest instead of keeping its bytes: `v2s2` makes a Docker image of an OCI one. */
  readonly format?: "oci" | "v2s2";
}

/**
 * Copies an image with all its platforms into a registry. `source` is a transport name of skopeo's:
 * `oci:DIR:NAME`, `oci-archive:FILE:NAME`, `docker-archive:FILE`. Returns skopeo's output.
 *
 * @throws {Error} with skopeo's message.
 */
export async function pushImage(
  registry: DockerRegistry,
  source: string,
  repository: string,
  tag: string,
  options: PushOptions = {},
): Promise<string> {
  const keep = options.format === undefined ? ["--preserve-digests"] : ["--format", options.format];
  return await withAccess(
    registry,
    (access) =>
      skopeo(["copy", "--all", ...keep, ...access("dest-"), source, `docker://${registry.host}/${repository}:${tag}`]),
  );
}

/** Copies an image out of a registry: `target` is `docker-archive:FILE:NAME:TAG`, `oci-archive:FILE:NAME`, `oci:DIR:NAME` or `dir:DIR`. */
export async function pullImage(
  registry: DockerRegistry,
  repository: string,
  reference: string,
  target: string,
): Promise<string> {
  const separator = reference.includes(":") ? "@" : ":";
  return await withAccess(
    registry,
    (access) =>
      skopeo(["copy", ...access("src-"), `docker://${registry.host}/${repository}${separator}${reference}`, target]),
  );
}

/** Lists the tags of a repository as skopeo sees them. */
export async function listTags(registry: DockerRegistry, repository: string): Promise<readonly string[]> {
  const output = await withAccess(
    registry,
    (access) => skopeo(["list-tags", ...access(""), `docker://${registry.host}/${repository}`]),
  );
  return (JSON.parse(output) as { readonly Tags: readonly string[] }).Tags;
}

/**
 * Runs skopeo with a home of its own, so that the user's login and caches neither help nor suffer.
 *
 * @throws {Error} with skopeo's message.
 */
export async function skopeo(args: readonly string[]): Promise<string> {
  const home = await Deno.makeTempDir({ prefix: "outpost-skopeo-" });
  try {
    const result = await run(peerPath("skopeo"), ["--insecure-policy", ...args], {
      env: { HOME: home, XDG_RUNTIME_DIR: home, XDG_DATA_HOME: home, TMPDIR: home },
    });
    if (result.code !== 0) throw new Error(`skopeo ${args[0]} failed: ${result.stderr.trim()}`);
    return result.stdout;
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

async function withAccess(
  registry: DockerRegistry,
  work: (access: (prefix: string) => string[]) => Promise<string>,
): Promise<string> {
  const login = registry.username === "" ? [] : [`${registry.username}:${registry.password}`];
  const certificates = await Deno.makeTempDir({ prefix: "outpost-certs-" });
  try {
    if (registry.caPem !== undefined) await Deno.writeTextFile(`${certificates}/ca.crt`, registry.caPem);
    return await work((prefix) => [
      ...(registry.caPem === undefined ? [`--${prefix}tls-verify=false`] : [`--${prefix}cert-dir`, certificates]),
      ...login.flatMap((pair) => [`--${prefix}creds`, pair]),
    ]);
  } finally {
    await Deno.remove(certificates, { recursive: true });
  }
}
