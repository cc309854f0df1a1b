/**
 * What every registry type must do at its vendor: the matrix of registries.md §9, one named test per cell. A test file
 * hands a front's definition to {@link conformanceSuite}.
 *
 * @module
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LIMITS } from "../../src/core/limits.ts";
import type { ValidationReport } from "../../src/core/ports.ts";
import { REGISTRY_TYPES } from "../../src/registries/mod.ts";
import { codeOf, collect } from "../../src/registries/registry_suite.ts";
import { readSource } from "../../src/lib/byte_sources.ts";
import { sha256Digest } from "../../src/lib/oci_builder.ts";
import { peersAvailable } from "../peers/mod.ts";
import { skopeo } from "../peers/skopeo.ts";
import { expectSecretsKept } from "./custody.ts";
import {
  badGateway,
  cutAfter,
  type Fault,
  flipped,
  hold,
  ignoresRange,
  linkLoop,
  linkTo,
  loginPage,
  realmAt,
  redirectLoop,
  redirectTo,
  setsCookie,
  tooManyRequests,
} from "./faults.ts";
import type { FrontDefinition } from "./front.ts";
import { IMAGES, Subject } from "./subject.ts";

const signal = new AbortController().signal;
const MANIFEST = /^registry GET .*\/manifests\//;
const TAGS = /^registry GET .*\/tags\/list/;
const BLOB = /^registry GET .*\/blobs\/sha256:/;
const ANY = /^registry /;

/** Runs the matrix on a front. Skipped where docker-registry is not installed. */
export function conformanceSuite(definition: FrontDefinition): void {
  const { type, variant } = definition;
  const label = variant === undefined ? type : `${type}, ${variant}`;
  const cell = (subject: () => Subject, name: string, body: (subject: Subject) => Promise<void>): void => {
    it(`${label}: ${name}`, async () => {
      subject().begin();
      await body(subject());
    });
  };
  describe.skipIf(!peersAvailable("docker-registry"))(label, () => {
    let started: Subject;
    beforeAll(async () => {
      started = await Subject.start(definition);
    });
    afterAll(() => started.stop());
    const add = (name: string, body: (subject: Subject) => Promise<void>): void => cell(() => started, name, body);
    loginCells(definition, add);
    listCells(definition, add);
    tagCells(definition, add);
    pullCells(definition, add);
    failureCells(definition, add);
    economyCells(add);
    clientCells(definition, add);
    add("no secret leaves", ({ front }) => Promise.resolve(expectSecretsKept(front)));
  });
}

type Add = (name: string, body: (subject: Subject) => Promise<void>) => void;

function hasLogin({ credentials }: FrontDefinition): boolean {
  return credentials.username !== undefined || credentials.roleArn !== undefined;
}

function loginCells(definition: FrontDefinition, add: Add): void {
  const flavour = REGISTRY_TYPES[definition.type];
  add("validate ok", async ({ open }) => {
    const report = await open().validate(signal);
    expect(report.steps.filter(({ ok }) => !ok)).toEqual([]);
    expect(report).toMatchObject({ ok: true, status: 200 });
    expect(report.steps.map(({ step }) => step)).toEqual(expect.arrayContaining(["api", "login", "list"]));
  });
  if (!hasLogin(definition)) return;
  add("wrong password", async ({ open, wrong }) => {
    const report = await open(wrong).validate(signal);
    expect(report).toMatchObject({ ok: false, code: "BAD_CREDENTIALS", hint: flavour.loginHint });
    expect([401, 403]).toContain(report.status);
    expect(JSON.stringify(report)).not.toContain("canary");
    expect(await codeOf(collect(open(wrong).repositories(signal)))).toBe("BAD_CREDENTIALS");
  });
  add("expired", async ({ open, front, repository }) => {
    const registry = open();
    await registry.resolve(repository(0), "oci", { signal });
    // A token that the registry has forgotten is replaced without a word.
    front.revokeTokens();
    await registry.resolve(repository(0), "oci", { signal });
    if (definition.expired === null) return;
    front.state.expired = true;
    const report: ValidationReport = await open().validate(signal);
    expect(report).toMatchObject({ ok: false, code: definition.expired ?? "EXPIRED_CREDENTIALS" });
    expect(report.hint).toBeDefined();
  });
  if (definition.noListRight === false) return;
  add("no list right", async ({ open, front, repository }) => {
    front.state.mayList = false;
    const registry = open();
    await expect(collect(registry.repositories(signal))).rejects.toMatchObject({
      code: "NO_CATALOG_PERMISSION",
      hint: flavour.listHint,
    });
    const report = await registry.validate(signal);
    expect(report).toMatchObject({ ok: true, status: 200 });
    expect(report.steps.at(-1)).toMatchObject({ step: "list", ok: false, hint: flavour.listHint });
    const { digests } = await registry.resolve(repository(0), "oci", { signal });
    expect(digests.manifest).toBe(IMAGES.oci.descriptor.digest);
  });
}

function listCells({ catalogPage }: FrontDefinition, add: Add): void {
  const listed = async ({ open, holds }: Subject, count: number): Promise<void> => {
    const names = holds(count);
    expect(await collect(open().repositories(signal))).toEqual(names);
  };
  add("list > 1 page at the cap", (subject) => listed(subject, catalogPage + 1));
  add("exactly one full page", (subject) => listed(subject, catalogPage));
  add("empty", (subject) => listed(subject, 0));
}

function tagCells({ dates, tagsPage }: FrontDefinition, add: Add): void {
  const names = (count: number): string[] =>
    Array.from({ length: count }, (_, at) => `t${String(at).padStart(5, "0")}`);
  add("tags incl. null", async ({ open, tagged, repository }) => {
    const registry = open();
    tagged([]);
    expect(await collect(registry.tags(repository(1), signal))).toEqual([]);
    expect(await collect(registry.tagsWithMetadata(repository(1), signal))).toEqual([]);
    const all = names(tagsPage + 1);
    tagged(all.slice(0, tagsPage));
    expect((await collect(registry.tags(repository(1), signal))).toSorted()).toEqual(all.slice(0, tagsPage));
    tagged(all.slice(tagsPage));
    expect((await collect(registry.tags(repository(1), signal))).toSorted()).toEqual(all);
  });
  add("metadata", async ({ open, front, repository, stored }) => {
    const expected = (front.library.tags(stored(repository(0))) ?? []).map(({ tag, digest, pushed }) => ({
      tag,
      digest,
      lastPushed: dates ? pushed : null,
    }));
    const found = await collect(open().tagsWithMetadata(repository(0), signal));
    expect(found.toSorted((a, b) => a.tag < b.tag ? -1 : 1)).toEqual(expected);
  });
}

function pullCells(_: FrontDefinition, add: Add): void {
  add("OCI + Docker + index pull", async ({ open, repository }) => {
    const registry = open();
    for (const [tag, content] of [["oci", IMAGES.oci], ["docker", IMAGES.docker], ["index", IMAGES.oci]] as const) {
      const image = await registry.image(repository(0), tag, { signal });
      expect(image.digests.manifest).toBe(content.descriptor.digest);
      expect(image.digests.index).toBe(tag === "index" ? IMAGES.index.descriptor.digest : undefined);
      expect(image.config).toEqual(content.config);
      for (const layer of image.layers) {
        expect(sha256Digest(await readSource(await layer.open(signal)))).toBe(layer.digest);
      }
    }
  });
  add("resume", async ({ front, open, repository, blobSite }) => {
    const { layers } = await open().image(repository(0), "oci", { signal });
    const [layer] = layers;
    if (layer === undefined) throw new Error("The image has no layer");
    const bytes = new RegExp(`^${blobSite} GET .*/blobs/sha256:`);
    const before = front.records.length;
    front.inject(bytes, cutAfter(70_000));
    expect(sha256Digest(await readSource(await layer.open(signal)))).toBe(layer.digest);
    const ranges = front.records.slice(before).map(({ headers }) => headers["range"]).filter((r) => r !== undefined);
    expect(ranges.length).toBeGreaterThan(0);
    for (const range of ranges) expect(range).toMatch(/^bytes=[1-9]\d*-\d+$/);
    front.inject(bytes, cutAfter(70_000));
    front.inject(bytes, ignoresRange);
    expect(sha256Digest(await readSource(await layer.open(signal)))).toBe(layer.digest);
  });
}

function failureCells(definition: FrontDefinition, add: Add): void {
  add("429", async ({ front, open, repository, clock }) => {
    const registry = open();
    await registry.resolve(repository(0), "oci", { signal });
    const ways: readonly ((at: number) => Readonly<Record<string, string>>)[] = [
      (at) => ({ "retry-after": String((at - clock.now()) / 1000) }),
      (at) => ({ "retry-after": new Date(at).toUTCString() }),
      (at) => ({ "x-retry-after": String(Math.ceil(at / 1000)) }),
    ];
    for (const headers of ways) {
      const from = clock.now();
      front.inject(MANIFEST, tooManyRequests(headers(from + 7_000)));
      await registry.resolve(repository(0), "oci", { signal });
      expect(clock.now() - from).toBeGreaterThanOrEqual(6_000);
    }
    front.inject(MANIFEST, tooManyRequests({ "retry-after": "3600" }));
    const at = new Date(clock.now() + 3600_000).toISOString().slice(0, 13);
    await expect(registry.resolve(repository(0), "oci", { signal })).rejects.toMatchObject({
      code: "RATE_LIMITED",
      status: 429,
      hint: expect.stringContaining(at),
    });
    clock.skip(LIMITS.retryMaxMs);
    await registry.resolve(repository(0), "oci", { signal });
  });
  add("faults", async ({ front, open, repository }) => {
    const registry = open();
    const resolved = (): Promise<string> => codeOf(registry.resolve(repository(0), "oci", { signal }));
    expect(await resolved()).toBe("no error");
    for (const fault of [badGateway, setsCookie]) {
      front.inject(MANIFEST, fault);
      expect(await resolved()).toBe("no error");
    }
    const broken: readonly (readonly [Fault, string])[] = [
      [loginPage, "LOGIN_PAGE"],
      [redirectLoop, "UNSAFE_REDIRECT"],
      [flipped(9), "INTEGRITY"],
    ];
    for (const [fault, code] of broken) {
      front.inject(MANIFEST, fault, LIMITS.redirects + 1);
      expect(await resolved()).toBe(code);
      front.reset();
    }
    front.inject(TAGS, linkLoop, 3);
    expect((await collect(registry.tags(repository(0), signal))).toSorted()).toEqual(["docker", "index", "oci"]);
    front.reset();
    front.inject(TAGS, linkTo("elsewhere"));
    expect(await codeOf(collect(registry.tags(repository(0), signal)))).toBe("REGISTRY_PROTOCOL");
    front.inject(BLOB, redirectTo("elsewhere"), LIMITS.attempts);
    expect(await codeOf(registry.image(repository(0), "oci", { signal }))).not.toBe("no error");
  });
  add("slow", async ({ front, open, repository }) => {
    const registry = open();
    await registry.resolve(repository(0), "oci", { signal });
    const held = hold();
    front.inject(MANIFEST, held.fault);
    const caller = new AbortController();
    const waiting = codeOf(registry.resolve(repository(0), "oci", { signal: caller.signal }));
    await held.arrived;
    // Others are served meanwhile, and the caller may leave.
    await registry.resolve(repository(0), "docker", { signal });
    caller.abort();
    expect(await waiting).toBe("CANCELLED");
    held.release();
  });
  if (!hasLogin(definition) || REGISTRY_TYPES[definition.type].preferBasic) return;
  add("token server elsewhere", async ({ front, open, repository }) => {
    front.inject(ANY, realmAt("elsewhere"), LIMITS.attempts);
    expect(await codeOf(open().resolve(repository(0), "oci", { signal }))).toBe("UNSAFE_REALM");
  });
}

function economyCells(add: Add): void {
  add("one request per call", async ({ front, open, repository }) => {
    const registry = open();
    const calls = [
      () => registry.resolve(repository(0), "oci", { signal }),
      () => collect(registry.tags(repository(0), signal)),
    ];
    for (const call of calls) await call();
    for (const call of calls) {
      const before = front.records.length;
      await call();
      expect(front.lines(before)).toHaveLength(1);
    }
  });
}

function clientCells({ skopeo: site = "registry", credentials, skopeoLogin }: FrontDefinition, add: Add): void {
  if (site === null || !peersAvailable("skopeo")) return;
  add("skopeo pulls", async ({ front, repository }) => {
    const { username, password } = credentials;
    const pair = skopeoLogin ?? (username === undefined ? undefined : `${username}:${password}`);
    const login = pair === undefined ? [] : ["--src-creds", pair];
    const target = await Deno.makeTempDir({ prefix: "outpost-skopeo-" });
    try {
      const source = `docker://${front.host(site)}/${repository(0)}:oci`;
      await skopeo(["copy", "--src-tls-verify=false", ...login, source, `dir:${target}`]);
      const manifest = await Deno.readFile(`${target}/manifest.json`);
      expect(sha256Digest(manifest)).toBe(IMAGES.oci.descriptor.digest);
    } finally {
      await Deno.remove(target, { recursive: true });
    }
  });
}
