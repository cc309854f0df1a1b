import { describe, expect, it } from "vitest";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import {
  type DockerRegistry,
  type DockerRegistryOptions,
  startDockerRegistry,
} from "../../tests/peers/docker_registry.ts";
import { tagImage, uploadImage } from "../../tests/peers/images.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { createCa } from "../../tests/peers/tls.ts";
import type { LayerHandle, RegistryCredentials } from "../core/ports.ts";
import { readSource } from "../lib/byte_sources.ts";
import { buildImage } from "../lib/oci_builder.ts";
import { createDenoTransport } from "../net/deno_transport.ts";
import { DirectClient, type DirectExchange } from "../net/direct.ts";
import { type ClosableRegistryProvider, createRegistryProvider, type RegistryOptions } from "./mod.ts";
import { systemClock } from "../../tests/fakes/clock.ts";
import { codeOf, collect, type RegistrySubject, registrySuite } from "./registry_suite.ts";

const skip = !peersAvailable("docker-registry");
const signal = new AbortController().signal;

function provider(
  options: RegistryOptions = {},
  logger = new RecordingLogger(),
  exchange?: DirectExchange,
): ClosableRegistryProvider {
  const transport = createDenoTransport({ fetch, createHttpClient: Deno.createHttpClient });
  return createRegistryProvider({ transport, exchange, clock: systemClock, logger, options });
}

function credentialsFor(server: DockerRegistry): RegistryCredentials {
  return { type: "docker-registry", base: server.url, username: server.username, password: server.password };
}

function subjectFor(options: DockerRegistryOptions): () => Promise<RegistrySubject> {
  return async () => {
    const server = await startDockerRegistry(options);
    const registries = provider({ caCerts: server.caPem === undefined ? [] : [server.caPem] });
    return {
      upload: (repository, tags, content) => uploadImage(server, repository, tags, content),
      tag: (repository, tags, content) => tagImage(server, repository, tags, content),
      open: (overrides = {}) => registries.open({ ...credentialsFor(server), ...overrides }),
      needsLogin: server.username !== "",
      stop: async () => {
        registries.close();
        await server.stop();
      },
    };
  };
}

registrySuite("docker-registry, open", subjectFor({ mode: "open" }), { skip });
registrySuite("docker-registry, htpasswd", subjectFor({ mode: "htpasswd" }), { skip });
registrySuite("docker-registry, token server", subjectFor({ mode: "token" }), { skip });
registrySuite("docker-registry, TLS with a private CA", subjectFor({ mode: "tls" }), { skip });
registrySuite("docker-registry, htpasswd over TLS", subjectFor({ mode: "htpasswd", tls: true }), { skip });
registrySuite("docker-registry behind a path", subjectFor({ prefix: "/artifactory/api/docker/local" }), { skip });

const tiny = buildImage({ layers: [{ members: [{ path: "a", content: "a" }] }] });

describe.skipIf(skip)("a real docker-registry", () => {
  it("asks for one token per scope however many requests there are", async () => {
    await using server = await startDockerRegistry({ mode: "token" });
    await uploadImage(server, "team/app", ["1"], tiny);
    const before = server.tokens?.requests.length ?? 0;
    const registries = provider();
    const registry = registries.open(credentialsFor(server));
    await Promise.all(Array.from({ length: 12 }, () => registry.image("team/app", "1", { signal })));
    expect(server.tokens?.requests.slice(before).map(({ scopes }) => scopes)).toEqual([["repository:team/app:pull"]]);
    registries.close();
  });

  it("lists a hundred and one repositories over two pages", async () => {
    await using server = await startDockerRegistry();
    const names = Array.from({ length: 101 }, (_, at) => `r/${String(at).padStart(3, "0")}`);
    await Promise.all(names.map((name) => uploadImage(server, name, ["1"], tiny)));
    const registries = provider();
    const pages: number[] = [];
    const found: string[] = [];
    for await (const page of registries.open(credentialsFor(server)).repositories(signal)) {
      pages.push(page.length);
      found.push(...page);
    }
    expect(found).toEqual(names);
    expect(pages).toEqual([100, 1]);
    registries.close();
  });

  it("keeps repositories without tags", async () => {
    await using server = await startDockerRegistry();
    await uploadImage(server, "team/app", ["1"], tiny);
    const deleted = await fetch(`${server.url}/v2/team/app/manifests/${tiny.descriptor.digest}`, { method: "DELETE" });
    await deleted.body?.cancel();
    expect(deleted.status).toBe(202);
    const registries = provider();
    const registry = registries.open(credentialsFor(server));
    expect(await collect(registry.tags("team/app", signal))).toEqual([]);
    registries.close();
  });

  it("says what an account may not do", async () => {
    const grants = (_user: string, type: string): readonly string[] => type === "registry" ? [] : ["pull"];
    await using server = await startDockerRegistry({ mode: "token", token: { grants } });
    const registries = provider();
    const registry = registries.open(credentialsFor(server));
    expect(await codeOf(collect(registry.repositories(signal)))).toBe("NO_CATALOG_PERMISSION");
    const report = await registry.validate(signal);
    expect(report).toMatchObject({ ok: true, status: 200 });
    expect(report.steps.at(-1)).toMatchObject({ step: "list", ok: false });
    registries.close();
  });

  it("refuses a certificate of an unknown authority, and says which step failed", async () => {
    await using server = await startDockerRegistry({ mode: "tls" });
    const registries = provider();
    const report = await registries.open(credentialsFor(server)).validate(signal);
    expect(report).toMatchObject({ ok: false, status: 502, code: "TLS_UNKNOWN_CA" });
    expect(report.steps.map(({ step, ok }) => [step, ok])).toEqual([["dns", true], ["tcp", true], ["tls", false]]);
    expect(report.hint).toMatch(/CA_CERT/);
    registries.close();
  });

  it("says that nothing answers, and works again when the registry is back", async () => {
    await using server = await startDockerRegistry({ mode: "htpasswd" });
    await uploadImage(server, "team/app", ["1"], tiny);
    const registries = provider();
    const registry = registries.open(credentialsFor(server));
    await registry.resolve("team/app", "1", { signal });
    await server.pause();
    expect(await registry.validate(signal)).toMatchObject({ ok: false, status: 502, code: "CONNECTION_REFUSED" });
    await server.restart();
    expect(await registry.validate(signal)).toMatchObject({ ok: true });
    await registry.resolve("team/app", "1", { signal });
    registries.close();
  });

  it("names HTTP and HTTPS mixed up", async () => {
    await using open = await startDockerRegistry();
    await using tls = await startDockerRegistry({ mode: "tls" });
    const registries = provider();
    const wrong = (host: string, scheme: string): RegistryCredentials => ({ type: "oci", base: `${scheme}://${host}` });
    expect(await registries.open(wrong(open.host, "https")).validate(signal)).toMatchObject({ code: "HTTP_ONLY" });
    expect(await registries.open(wrong(tls.host, "http")).validate(signal)).toMatchObject({ code: "HTTPS_NEEDED" });
    registries.close();
  });

  it("shows its client certificate, and says when one is missing", async () => {
    const clients = await createCa("clients");
    const own = await clients.issue({ name: "outpost" });
    await using server = await startDockerRegistry({ mode: "htpasswd", tls: true, clientCaPem: clients.certPem });
    const caCerts = server.caPem === undefined ? [] : [server.caPem];
    const without = provider({ caCerts });
    const report = await without.open(credentialsFor(server)).validate(signal);
    expect(report).toMatchObject({ ok: false, code: "TLS_CLIENT_CERT" });
    expect(report.hint).toMatch(/CR_CLIENT_CERT/);
    without.close();
    const registries = provider({ caCerts, clientCertificate: { cert: own.certPem, key: own.keyPem } });
    expect(await registries.open(credentialsFor(server)).validate(signal)).toMatchObject({ ok: true });
    registries.close();
  });

  it("follows blobs to another origin without credentials", async () => {
    const seen: (string | null)[] = [];
    const layer = tiny.layers[0];
    await using store = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      seen.push(request.headers.get("authorization"));
      const digest = [...tiny.blobs.keys()].find((key) => request.url.includes(key.slice("sha256:".length)));
      return new Response(digest === undefined ? null : tiny.blobs.get(digest), {
        status: digest === undefined ? 404 : 200,
      });
    });
    const redirectTo = `http://127.0.0.1:${store.addr.port}/`;
    await using server = await startDockerRegistry({ mode: "htpasswd", redirectTo });
    await uploadImage(server, "team/app", ["1"], tiny);
    const direct = new DirectClient({
      dial: ({ hostname, port }) => Deno.connect({ hostname, port: Number(port) }),
      clock: systemClock,
    });
    const asked = new Set<string>();
    const registries = provider({}, undefined, (request) => {
      asked.add(request.url.origin);
      return direct.exchange(request);
    });
    const image = await registries.open(credentialsFor(server)).image("team/app", "1", { signal });
    const source = await (image.layers[0] as LayerHandle).open(signal);
    expect(await readSource(source)).toEqual(layer?.bytes);
    expect(seen).toEqual([null, null]);
    // The registry alone is on connections of our own.
    expect([...asked]).toEqual([server.url]);
    registries.close();
    direct.close();
  });
});
