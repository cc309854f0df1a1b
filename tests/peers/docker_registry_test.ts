import { describe, expect, it } from "vitest";
import { type DockerRegistryOptions, startDockerRegistry } from "./docker_registry.ts";
import { peersAvailable } from "./mod.ts";

async function status(url: string, authorization?: string, client?: Deno.HttpClient): Promise<number> {
  const headers = authorization === undefined ? {} : { authorization };
  const response = await fetch(url, { headers, ...(client === undefined ? {} : { client }) });
  await response.body?.cancel();
  return response.status;
}

async function running(
  options: DockerRegistryOptions,
  test: (registry: Awaited<ReturnType<typeof startDockerRegistry>>) => Promise<void>,
): Promise<void> {
  await using registry = await startDockerRegistry(options);
  await test(registry);
}

describe.skipIf(!peersAvailable("docker-registry"))("startDockerRegistry()", () => {
  it("serves everybody in open mode, under a prefix, and after a restart on the same port", () =>
    running({ prefix: "/artifactory/api/docker/local" }, async (registry) => {
      expect(await status(`${registry.url}/v2/`)).toBe(200);
      await registry.pause();
      await expect(status(`${registry.url}/v2/`)).rejects.toThrow();
      await registry.restart();
      expect(await status(`${registry.url}/v2/_catalog`)).toBe(200);
      expect(registry.log()).toContain("/v2/_catalog");
    }));

  it("asks for a password in htpasswd mode", () =>
    running({ mode: "htpasswd", password: 'pä:ss"\\ %20' }, async (registry) => {
      expect(await status(`${registry.url}/v2/`)).toBe(401);
      expect(await status(`${registry.url}/v2/`, `Basic ${btoa("outpost:wrong")}`)).toBe(401);
      expect(await status(`${registry.url}/v2/`, registry.basic)).toBe(200);
    }));

  it("accepts the tokens of its token server in token mode, within their scope", () =>
    running(
      { mode: "token", token: { grants: (_user, type) => type === "registry" ? ["*"] : [] } },
      async (registry) => {
        const probe = await fetch(`${registry.url}/v2/_catalog`);
        await probe.body?.cancel();
        expect(probe.status).toBe(401);
        expect(probe.headers.get("www-authenticate")).toContain(`realm="${registry.tokens?.realm}"`);
        const authorization = registry.basic ?? "";
        const query = "service=outpost-test-registry&scope=registry:catalog:*&scope=repository:a/b:pull";
        const answer = await fetch(`${registry.tokens?.realm}?${query}`, { headers: { authorization } });
        const { token } = await answer.json() as { token: string };
        expect(await status(`${registry.url}/v2/_catalog`, `Bearer ${token}`)).toBe(200);
        expect(await status(`${registry.url}/v2/a/b/tags/list`, `Bearer ${token}`)).toBe(401);
        expect(registry.tokens?.requests).toEqual([
          { method: "GET", account: "outpost", scopes: ["registry:catalog:*", "repository:a/b:pull"], status: 200 },
        ]);
        expect(await status(`${registry.tokens?.realm}?${query}`)).toBe(401);
      },
    ));

  it("speaks TLS with a certificate of its private CA in tls mode", () =>
    running({ mode: "tls" }, async (registry) => {
      using client = Deno.createHttpClient({ caCerts: [registry.caPem ?? ""] });
      expect(await status(`${registry.url}/v2/`, undefined, client)).toBe(200);
      await expect(status(`${registry.url}/v2/`)).rejects.toThrow();
    }));
});
