/**
 * The main job, through Snyk's broker server: what every arrangement of Outpost's halves and Snyk's has to do alike.
 *
 * @module
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ScanResult } from "../../src/core/scan_ports.ts";
import { alpineSample, debianSample, multiPlatformSample } from "../../src/lib/sample_images.ts";
import { type BrokerServer, startBrokerServer, type UpstreamRequest } from "../peers/broker_server.ts";
import { type DockerRegistry, startDockerRegistry } from "../peers/docker_registry.ts";
import { tagImage, writeOciLayout } from "../peers/images.ts";
import { poll, within } from "../peers/process.ts";
import { pushImage } from "../peers/skopeo.ts";
import type { DaemonProcess } from "./daemon.ts";

const USERNAME = "canary-user-91f2";
const PASSWORD = 'cAnAry"pass\\word%/+é';
const TAGS = Array.from({ length: 130 }, (_, i) => `v${i}`);
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** The peers that all arrangements share: a registry with images, and the broker server. */
export interface BrokerPeers extends AsyncDisposable {
  readonly registry: DockerRegistry;
  readonly server: BrokerServer;
  /** CR_TYPE, CR_BASE, CR_USERNAME and CR_PASSWORD. */
  readonly credentials: Readonly<Record<string, string>>;
  /** CR_CREDENTIALS, as the entry point of Snyk's container makes it, but with JSON's escapes. */
  readonly encodedCredentials: string;
}

/** Starts registry and server, and pushes the images. */
export async function startBrokerPeers(): Promise<BrokerPeers> {
  const dir = await Deno.makeTempDir({ prefix: "outpost-e2e-" });
  const registry = await startDockerRegistry({ mode: "htpasswd", username: USERNAME, password: PASSWORD });
  const server = await startBrokerServer();
  const debian = debianSample();
  for (
    const [name, tag, content] of [
      ["team/debian", "12", debian],
      ["team/alpine", "3.20", alpineSample()],
      ["multi", "latest", multiPlatformSample()],
      ["many", "v0", debian],
    ] as const
  ) {
    const layout = `${dir}/${name.replace("/", "-")}`;
    await writeOciLayout(layout, content, tag);
    await pushImage(registry, `oci:${layout}:${tag}`, name, tag);
  }
  await tagImage(registry, "many", TAGS, debian);
  await Deno.remove(dir, { recursive: true });
  return {
    registry,
    server,
    credentials: {
      CR_TYPE: "docker-registry",
      CR_BASE: registry.url,
      CR_USERNAME: USERNAME,
      CR_PASSWORD: PASSWORD,
    },
    encodedCredentials: encode({
      type: "docker-registry",
      username: USERNAME,
      password: PASSWORD,
      registryBase: registry.url,
    }),
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await registry.stop();
    },
  };
}

/** What stands between the broker server and the registry. */
export interface Arrangement extends AsyncDisposable {
  /** Our own processes: the one that the operator looks at first, the agent last. */
  readonly daemons: readonly [DaemonProcess, ...DaemonProcess[]];
  /** Addresses that show the operator its state, with status 200. */
  readonly stateUrls: readonly string[];
}

interface Answer {
  readonly status: number;
  readonly text: string;
  // The shapes differ by route; each test names what it reads.
  // deno-lint-ignore no-explicit-any
  readonly json: any;
}

/** One suite for the arrangement that `start` makes for a token of its own. */
export function brokerSuite(
  name: string,
  token: string,
  peers: () => BrokerPeers,
  start: (peers: BrokerPeers, token: string) => Promise<Arrangement>,
): void {
  describe(name, () => {
    let registry: DockerRegistry;
    let server: BrokerServer;
    let arrangement: Arrangement;
    const seen: string[] = [];

    beforeAll(async () => {
      ({ registry, server } = peers());
      arrangement = await start(peers(), token);
      await within(20_000, "the broker connection", (signal) => server.connected(token, signal, 2));
    });
    afterAll(() => arrangement?.[Symbol.asyncDispose]());

    /** Asks as Snyk does: through the broker server, naming the credential by its variable. */
    async function ask(
      path: string,
      init: { method?: string; body?: unknown; authorization?: string } = {},
    ): Promise<Answer> {
      const response = await fetch(server.brokerUrl(token, path), {
        method: init.method ?? "GET",
        headers: {
          authorization: init.authorization ?? "${CR_CREDENTIALS}",
          "x-broker-var-sub": "authorization",
          ...(init.body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(init.body === undefined ? {} : { body: JSON.stringify(init.body) }),
      });
      const text = await response.text();
      seen.push(text, JSON.stringify([...response.headers]));
      return {
        status: response.status,
        text,
        json: text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : undefined,
      };
    }

    function upstream(match: (request: UpstreamRequest) => boolean): Promise<UpstreamRequest> {
      return within(30_000, "a callback", (signal) => server.upstream.waitFor(match, signal));
    }

    // deno-lint-ignore no-explicit-any
    const body = (request: UpstreamRequest): any => request.json;

    function packages(result: { scanResults: readonly ScanResult[] }): string[] {
      const graph = result.scanResults[0]?.facts.find((fact) => fact.type === "depGraph")?.data as {
        pkgs: { id: string }[];
      };
      return graph.pkgs.map((pkg) => pkg.id).slice(1);
    }

    it("validates the substituted credentials", async () => {
      expect(await ask("/validate-credentials")).toMatchObject({ status: 200, json: { ok: true } });
    });

    it("lists repositories and tags, 130 of them included", async () => {
      expect((await ask("/list")).json).toEqual(["many", "multi", "team/alpine", "team/debian"]);
      expect((await ask("/list/team/debian")).json).toEqual(["12"]);
      expect((await ask("/list-paginated/many")).json.toSorted()).toEqual(TAGS.toSorted());
    });

    it("lists tags with digests, and with a date only when the registry tells one", async () => {
      const { json } = await ask("/list-with-metadata/team/debian");
      expect(json).toHaveLength(1);
      expect(json[0]).toMatchObject({ tag: "12", digest: expect.stringMatching(DIGEST), lastPushed: null });
    });

    it("identifies images", async () => {
      const plain = await ask("/get-state-identifier?image=team/debian:12");
      expect(plain.json.id).toMatch(DIGEST);
      const multi = await ask("/get-state-identifier?image=multi:latest&platform=linux/arm64");
      expect(multi.json.id).toMatch(DIGEST);
      expect(multi.json.indexDigest).toMatch(DIGEST);
      expect(multi.json.id).not.toBe(multi.json.indexDigest);
    });

    it("shows an image's configuration and manifest", async () => {
      const { json } = await ask("/image-metadata/team/debian?tag=12");
      expect(json.config.os).toBe("linux");
      expect(json.manifest.layers).toHaveLength(json.config.rootfs.diff_ids.length);
      expect(Array.isArray(json.attestations)).toBe(true);
    });

    it("scans images and delivers results, then done, as callbacks", async () => {
      const accepted = await ask("/scan", {
        method: "POST",
        body: {
          correlation: "keep-me",
          images: [{ name: "team/debian:12", key: 1 }, { repository: "team/alpine", tag: "3.20", key: 2 }, {
            name: "team/none:1",
            key: 3,
          }],
        },
      });
      expect(accepted).toMatchObject({ status: 202, json: { accepted: 3 } });
      const { id } = accepted.json;
      const done = await upstream((request) => request.path === "/api/v2/import/done" && body(request).id === id);
      expect(body(done)).toEqual({ correlation: "keep-me", id, total: 3, succeeded: 2, partial: 0, failed: 1 });
      const results = server.upstream.requests.filter((r) => r.path === "/api/v2/import/result" && body(r).id === id)
        .map(body);
      expect(results.map(({ sequence, key, status, correlation }) => ({ sequence, key, status, correlation }))).toEqual(
        [
          { sequence: 0, key: 1, status: "success", correlation: "keep-me" },
          { sequence: 1, key: 2, status: "success", correlation: "keep-me" },
          { sequence: 2, key: 3, status: "error", correlation: "keep-me" },
        ],
      );
      expect(results[0].scanResults[0].identity).toEqual({ type: "deb", args: { platform: "linux/amd64" } });
      expect(results[1].scanResults[0].identity.type).toBe("apk");
      expect(packages(results[0]).length).toBeGreaterThan(5);
      expect(packages(results[1]).length).toBeGreaterThan(5);
      expect(results[2].error).toMatchObject({ code: "TAG_NOT_FOUND", message: expect.stringContaining("team/none") });
    });

    it("discovers one image by digest on the v1 path", async () => {
      const { id: digest } = (await ask("/get-state-identifier?image=multi:latest")).json;
      const accepted = await ask("/discover", {
        method: "POST",
        body: { target: { name: `multi@${digest}` }, projectId: "p" },
      });
      expect(accepted.status).toBe(202);
      const result = await upstream((request) =>
        request.path === "/v1/import/app" && body(request).id === accepted.json.id
      );
      expect(body(result)).toMatchObject({ status: "success", projectId: "p" });
    });

    it("blocks what no rule allows", async () => {
      expect((await ask("/metrics")).status).toBe(401);
      expect((await ask("/list/../metrics")).status).not.toBe(200);
    });

    it("explains wrong credentials, unknown repositories and unknown tags", async () => {
      const authorization = encode({
        type: "docker-registry",
        username: USERNAME,
        password: "wrong-canary-pass",
        registryBase: registry.url,
      });
      const refused = await ask("/validate-credentials", { authorization });
      expect(refused).toMatchObject({ status: 401, json: { ok: false, code: "BAD_CREDENTIALS" } });
      expect(refused.json.hint).toContain("CR_PASSWORD");
      expect(await ask("/list", { authorization })).toMatchObject({ status: 401, json: { code: "BAD_CREDENTIALS" } });
      const repository = await ask("/list/team/none");
      expect(repository).toMatchObject({ status: 404, json: { code: "REPO_NOT_FOUND" } });
      const tag = await ask("/get-state-identifier?image=team/debian:nope");
      expect(tag).toMatchObject({ status: 404, json: { code: "TAG_NOT_FOUND" } });
      expect(tag.json.message).toContain("nope");
      expect(await ask("/scan", { method: "POST", body: {} })).toMatchObject({
        status: 400,
        json: { code: "REQUEST_INVALID" },
      });
    });

    it("explains a registry that is down, and works again when it is back", async () => {
      await registry.pause();
      const down = await ask("/validate-credentials");
      expect(down).toMatchObject({ status: 502, json: { ok: false, code: "CONNECTION_REFUSED" } });
      expect(down.json.message).toContain(registry.host);
      await registry.restart();
      expect((await ask("/validate-credentials")).status).toBe(200);
    });

    it("serves the next request after the broker server restarted", async () => {
      await server.restart();
      await within(20_000, "the reconnection", (signal) => server.connected(token, signal));
      expect((await ask("/list")).status).toBe(200);
    });

    it("shows its state on its own ports", async () => {
      for (const url of arrangement.stateUrls) {
        const response = await fetch(url);
        seen.push(await response.text());
        expect({ url, status: response.status }).toEqual({ url, status: 200 });
      }
    });

    it("P5: shows no secret in logs, answers, metrics or error bodies", () => {
      const needles = [
        token,
        PASSWORD,
        JSON.stringify(PASSWORD).slice(1, -1),
        encodeURIComponent(PASSWORD),
        "wrong-canary-pass",
        base64Core(PASSWORD),
      ];
      const logs = arrangement.daemons.map(({ process }) => process.log());
      for (const text of [...logs, ...seen]) {
        for (const needle of needles) expect(text.includes(needle)).toBe(false);
      }
      for (const log of logs) expect(log).toContain('"level":"debug"');
    });

    it("P7: ends on SIGTERM with exit code 0", async () => {
      const ready = (response: Response): boolean => response.status === 200;
      for (const { url, process } of arrangement.daemons) {
        await within(10_000, "readiness", (signal) => poll(`${url}/readyz`, ready, process, signal));
        await process.stop();
        expect(await process.status).toMatchObject({ code: 0 });
      }
    });
  });
}

function encode(credentials: Readonly<Record<string, string>>): string {
  return new TextEncoder().encode(JSON.stringify(credentials)).toBase64();
}

/** The part of a text's base64 that does not depend on what stands before it, for the alignment of the text itself. */
function base64Core(text: string): string {
  return new TextEncoder().encode(text).toBase64().replace(/=+$/, "").slice(0, -1);
}
