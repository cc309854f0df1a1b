/**
 * Every failure that an operator may meet when he connects a registry (registries.md §3.2), produced for real: by a real
 * docker-registry, real sockets and certificates, or a vendor's front. What is shown to him stands in
 * docs/registries/TROUBLESHOOTING.md, word for word.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LIMITS } from "../src/core/limits.ts";
import { OutpostError } from "../src/core/errors.ts";
import type { Clock, Registry, RegistryCredentials } from "../src/core/ports.ts";
import { createDenoTransport } from "../src/net/deno_transport.ts";
import { DirectClient, type DirectExchange } from "../src/net/direct.ts";
import { createRegistryProvider, type RegistryOptions } from "../src/registries/mod.ts";
import { collect } from "../src/registries/registry_suite.ts";
import { dialer } from "../src/world.ts";
import { RecordingLogger } from "./fakes/logger.ts";
import { systemClock } from "./fakes/clock.ts";
import { artifactoryPathFront } from "./fronts/artifactory_front.ts";
import { openFront } from "./fronts/docker_registry_front.ts";
import { ecrFront, roleOf } from "./fronts/ecr_front.ts";
import { flipped } from "./fronts/faults.ts";
import type { FrontDefinition } from "./fronts/front.ts";
import { googleArtifactFront } from "./fronts/google_front.ts";
import { type Subject, withSubject } from "./fronts/subject.ts";
import { type DockerRegistry, startDockerRegistry } from "./peers/docker_registry.ts";
import { peersAvailable } from "./peers/mod.ts";
import { freePort } from "./peers/process.ts";
import { type Certificate, createCa, selfSigned } from "./peers/tls.ts";

const signal = new AbortController().signal;

/** What an operator sees. */
interface Shown {
  readonly code: string;
  /** The step of `systemcheck` that failed; undefined when it is not what he was doing. */
  readonly step?: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** Time as it is, but for the wait for an answer, which is over soon. */
const hasty: Clock = {
  ...systemClock,
  sleep: (ms, abort) => systemClock.sleep(ms === LIMITS.responseTimeoutMs ? 50 : ms, abort),
};

async function withRegistry<T>(
  credentials: Partial<RegistryCredentials>,
  options: RegistryOptions,
  use: (registry: Registry) => Promise<T>,
  clock: Clock = systemClock,
): Promise<T> {
  const transport = createDenoTransport({ fetch, createHttpClient: Deno.createHttpClient });
  const direct = new DirectClient({ dial: dialer([]), clock });
  const exchange: DirectExchange = (request) => direct.exchange(request);
  const registries = createRegistryProvider({ transport, exchange, clock, logger: new RecordingLogger(), options });
  try {
    return await use(registries.open({ type: "oci", base: "", ...credentials }));
  } finally {
    registries.close();
    direct.close();
  }
}

/** The first step of a check that fails, with what is said of it. */
async function checked(registry: Registry): Promise<Shown> {
  const { steps, code = "-" } = await registry.validate(signal);
  const found = steps.find(({ ok }) => !ok);
  if (found === undefined) throw new Error("Every step passes");
  const { step, message, hint } = found;
  return { code, step, message, hint };
}

function check(
  credentials: Partial<RegistryCredentials>,
  options: RegistryOptions = {},
  clock: Clock = systemClock,
): Promise<Shown> {
  return withRegistry(credentials, options, checked, clock);
}

async function failed(work: Promise<unknown>): Promise<Shown> {
  const error = await work.then(() => new Error("It does not fail"), (thrown: unknown) => thrown);
  if (!(error instanceof OutpostError)) throw error;
  const { code, message, hint } = error;
  return { code, message, hint };
}

async function onFront(definition: FrontDefinition, use: (subject: Subject) => Promise<Shown>): Promise<Shown> {
  let shown: Shown | undefined;
  await withSubject(definition, async (subject) => void (shown = await use(subject)));
  if (shown === undefined) throw new Error("Nothing was shown");
  return shown;
}

type Handler = (request: Request) => Response;

async function serving(handler: Handler, use: (base: string) => Promise<Shown>, tls?: Certificate): Promise<Shown> {
  const identity = tls === undefined ? {} : { cert: tls.certPem, key: tls.keyPem };
  const listen = { hostname: "127.0.0.1", port: 0, onListen: () => {}, ...identity };
  await using server = Deno.serve(listen, handler);
  return await use(`${tls === undefined ? "http" : "https"}://localhost:${server.addr.port}`);
}

/** A TCP server that does one thing with each connection. */
async function talking(
  talk: (connection: Deno.Conn) => Promise<void>,
  use: (base: string) => Promise<Shown>,
): Promise<Shown> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const connection of listener) open.push(talk(connection).finally(() => connection.close()));
  })();
  try {
    return await use(`http://localhost:${(listener.addr as Deno.NetAddr).port}`);
  } finally {
    listener.close();
    await accepting;
    await Promise.all(open);
  }
}

const ok: Handler = () => Response.json({});
const page = (status: number): Response =>
  new Response("<!doctype html><h1>Hello</h1>", { status, headers: { "content-type": "text/html" } });

describe.skipIf(!peersAvailable("docker-registry"))("what goes wrong between Outpost and a registry", () => {
  let plain: DockerRegistry;
  let tokens: DockerRegistry;
  let mutual: DockerRegistry;
  let table: string;

  beforeAll(async () => {
    table = await Deno.readTextFile(new URL("../docs/registries/TROUBLESHOOTING.md", import.meta.url));
    plain = await startDockerRegistry({ mode: "htpasswd" });
    tokens = await startDockerRegistry({
      mode: "token",
      token: { grants: (_, type, name, actions) => type === "registry" || name === "team/secret" ? [] : actions },
    });
    mutual = await startDockerRegistry({ mode: "tls", clientCaPem: (await createCa()).certPem });
  });
  afterAll(async () => {
    for (const registry of [plain, tokens, mutual]) await registry?.stop();
  });

  const login = ({ host, username, password }: DockerRegistry): Partial<RegistryCredentials> => ({
    base: `http://${host}`,
    username,
    password,
  });
  const trusting = async (options: Parameters<typeof selfSigned>[0]): Promise<Shown> => {
    const ca = await createCa();
    return await serving(ok, (base) => check({ base }, { caCerts: [ca.certPem] }), await ca.issue(options));
  };

  const rows: readonly (readonly [kind: string, code: string, step: string, produce: () => Promise<Shown>])[] = [
    ["bad-credentials", "BAD_CREDENTIALS", "login", () => check({ ...login(plain), password: "wrong-password" })],
    ["bad-credentials, none given", "BAD_CREDENTIALS", "login", () => check({ base: `http://${plain.host}` })],
    [
      "bad-credentials, token server",
      "BAD_CREDENTIALS",
      "login",
      () => check({ ...login(tokens), password: "wrong-password" }),
    ],
    ["expired-credentials", "EXPIRED_CREDENTIALS", "login", () =>
      onFront(artifactoryPathFront, ({ front, open }) => {
        front.state.expired = true;
        return checked(open());
      })],
    ["no-catalog-permission", "-", "list", () => check(login(tokens))],
    [
      "catalog-unsupported",
      "-",
      "list",
      () =>
        serving(
          (request) =>
            request.url.endsWith("/v2/") ? ok(request) : new Response("404 page not found\n", { status: 404 }),
          (base) => check({ base }),
        ),
    ],
    [
      "repo-forbidden",
      "REPO_FORBIDDEN",
      "",
      () => withRegistry(login(tokens), {}, (registry) => failed(collect(registry.tags("team/secret", signal)))),
    ],
    [
      "repo-not-found",
      "REPO_NOT_FOUND",
      "",
      () => withRegistry(login(plain), {}, (registry) => failed(collect(registry.tags("team/absent", signal)))),
    ],
    [
      "tag-not-found",
      "TAG_NOT_FOUND",
      "",
      () => withRegistry(login(plain), {}, (registry) => failed(registry.resolve("team/absent", "1.0", { signal }))),
    ],
    ["tls-unknown-ca", "TLS_UNKNOWN_CA", "tls", () => check({ base: mutual.host })],
    ["tls-self-signed-ca-leaf", "TLS_SELF_SIGNED_CA_LEAF", "tls", async () => {
      const own = await selfSigned({ ca: true });
      return await serving(ok, (base) => check({ base }, { caCerts: [own.certPem] }), own);
    }],
    ["tls-name", "TLS_NAME", "tls", () => trusting({ hosts: ["other.example", "10.0.0.1"] })],
    [
      "tls-expired",
      "TLS_EXPIRED",
      "tls",
      () => trusting({ notBefore: new Date("2024-03-01T00:00:00Z"), notAfter: new Date("2025-03-01T00:00:00Z") }),
    ],
    [
      "tls-expired, not valid yet",
      "TLS_EXPIRED",
      "tls",
      () => trusting({ notBefore: new Date("2048-03-01T00:00:00Z"), notAfter: new Date("2049-03-01T00:00:00Z") }),
    ],
    [
      "tls-client-cert",
      "TLS_CLIENT_CERT",
      "tls",
      () => check({ base: `localhost:${mutual.port}` }, { caCerts: [mutual.caPem ?? ""] }),
    ],
    ["http-only", "HTTP_ONLY", "tls", () => check({ base: plain.host })],
    ["https-needed", "HTTPS_NEEDED", "tls", () => check({ base: `http://${mutual.host}` })],
    ["dns", "DNS", "dns", () => check({ base: "no-such-host.invalid" })],
    ["refused", "CONNECTION_REFUSED", "tcp", () => check({ base: `http://127.0.0.1:${freePort()}` })],
    ["timeout", "TIMEOUT", "tcp", () =>
      talking(async (connection) => {
        const buffer = new Uint8Array(1024);
        while (await connection.read(buffer).catch(() => null) !== null);
      }, (base) => check({ base }, {}, hasty))],
    [
      "reset",
      "CONNECTION_RESET",
      "tcp",
      () => talking(async (connection) => void await connection.read(new Uint8Array(1024)), (base) => check({ base })),
    ],
    ["blocked-port", "BLOCKED_PORT", "tcp", () => check({ base: "http://127.0.0.1:10080" })],
    ["not-a-registry", "NOT_A_REGISTRY", "api", () => serving(() => page(404), (base) => check({ base }))],
    [
      "not-a-registry, Artifactory",
      "NOT_A_REGISTRY",
      "api",
      () => serving(() => page(404), (base) => check({ type: "artifactory-cr", base })),
    ],
    [
      "login-page",
      "LOGIN_PAGE",
      "api",
      () =>
        serving(() => page(200), (sso) => serving(() => Response.redirect(`${sso}/login`), (base) => check({ base }))),
    ],
    ["rate-limited", "RATE_LIMITED", "api", () =>
      serving(
        () => new Response(null, { status: 429, headers: { "retry-after": "Fri, 01 Jan 2049 00:00:00 GMT" } }),
        (base) => check({ base }),
      )],
    ["unsafe-realm", "UNSAFE_REALM", "login", () =>
      serving(
        () =>
          new Response(null, {
            status: 401,
            headers: { "www-authenticate": 'Bearer realm="https://auth.other.example/token"' },
          }),
        (base) => check({ base, username: "u", password: "canary" }),
      )],
    ["assume-role", "BAD_CREDENTIALS", "login", () =>
      onFront(ecrFront, ({ open }) => {
        aws({ AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY: "canary-base-secret-key" });
        return checked(open({ externalId: "another" }));
      })],
    ["no-aws-credentials", "BAD_CREDENTIALS", "login", () =>
      onFront(ecrFront, ({ open }) => {
        aws({});
        return checked(open({ roleArn: roleOf("210987654321") }));
      })],
    ["integrity", "INTEGRITY", "", () =>
      onFront(openFront, ({ front, open, repository }) => {
        front.inject(/manifests/, flipped(9), LIMITS.attempts);
        return failed(open().resolve(repository(0), "oci", { signal }));
      })],
    ["unsupported-image", "UNSUPPORTED_IMAGE", "", () => {
      const type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
      const body = JSON.stringify({ schemaVersion: 1, name: "team/app", tag: "1.0", fsLayers: [], history: [] });
      const answer: Handler = () => new Response(body, { headers: { "content-type": type } });
      return serving(
        answer,
        (base) => withRegistry({ base }, {}, (registry) => failed(registry.image("team/app", "1.0", { signal }))),
      );
    }],
  ];

  it.each(rows)("%s", async (kind, code, step, produce) => {
    const shown = await produce();
    expect(shown).toMatchObject({ code, ...(step === "" ? {} : { step }) });
    expect(shown.message).toMatch(/^Cannot /);
    expect(shown.hint).toBeDefined();
    expect(`${shown.message}${shown.hint}`).not.toMatch(/canary|wrong-password/);
    expect(table).toContain(row(kind, shown));
  });

  it("catalog-empty-by-design", () =>
    withSubject(googleArtifactFront, async ({ front, open, repository }) => {
      const names = await collect(open().repositories(signal));
      expect(names).toEqual([repository(0)]);
      expect(front.lines().some((line) => line.includes("_catalog"))).toBe(false);
    }));

  it("leaves nothing in the table that no test produces", () => {
    const kinds = table.match(/^\| `[a-z-]+[^|]*/gm)?.map((cell) => cell.slice(2).trim()) ?? [];
    expect(kinds).toEqual([...rows.map(([kind]) => `\`${kind}\``), "`catalog-empty-by-design`"]);
  });
});

/** Makes these the only AWS settings of the process. */
function aws(values: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(Deno.env.toObject())) if (name.startsWith("AWS_")) Deno.env.delete(name);
  const none = { AWS_CONFIG_FILE: "/nonexistent/config", AWS_SHARED_CREDENTIALS_FILE: "/nonexistent/credentials" };
  const all = { ...none, AWS_EC2_METADATA_DISABLED: "true", ...values };
  for (const [name, value] of Object.entries(all)) Deno.env.set(name, value);
}

/** A row of the table; hosts and ports of the tests are those of an example there. */
function row(kind: string, { code, step, message, hint = "" }: Shown): string {
  const cell = (text: string): string =>
    text.replace(/\b(?:127\.0\.0\.1|localhost)(?::\d+)?/g, "registry.example").replace(
      /sha256:[0-9a-f]{64}/g,
      "sha256:…",
    )
      .replaceAll("|", "\\|");
  const where = step === undefined ? "–" : step;
  return `| \`${kind}\` | ${where} | ${code === "-" ? "–" : `\`${code}\``} | ${cell(message)} | ${cell(hint)} |`;
}
