import { describe, expect, it } from "vitest";
import { BackoffClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { A_PULL, BASIC, BEARER, challenge, LOGIN, TAGS, TAGS_REPLY, token } from "../../tests/fakes/scripted_open.ts";
import { type Exchange, ScriptedRegistry } from "../../tests/fakes/scripted_registry.ts";
import { LIMITS } from "../core/limits.ts";
import type { RegistryCredentials } from "../core/ports.ts";
import { HttpClient } from "../net/http.ts";
import { RequestGate } from "../net/retry.ts";
import { DistributionApi } from "./distribution_api.ts";
import { defineFlavour, type Flavour } from "./flavour.ts";
import { fixedLogin, type Login, type LoginSource } from "./login.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const CREDENTIALS: RegistryCredentials = { type: "oci", base: "registry.example", ...LOGIN };
const EXPIRED = { errors: [{ code: "DENIED", message: "Your authorization token has expired. Reauthenticate." }] };

function basic(password: string): string {
  return `Basic ${btoa(`AWS:${password}`)}`;
}

/** A vendor whose passwords are short-lived: each renewal gives the next one. */
function shortLived(): { readonly flavour: Flavour; readonly renewed: string[] } {
  const renewed: string[] = [];
  const source: LoginSource = {
    present: true,
    get: () => Promise.resolve({ username: "AWS", password: `p${renewed.length}` }),
    renew: (stale: Login) => {
      renewed.push(stale.password);
      return Promise.resolve(renewed.length > 2 ? undefined : { username: "AWS", password: `p${renewed.length}` });
    },
  };
  const flavour = defineFlavour({ type: "oci", title: "Test", preferBasic: true, login: () => source });
  return { flavour, renewed };
}

function api(script: ScriptedRegistry, flavour: Flavour, credentials = CREDENTIALS): DistributionApi {
  const clock = new BackoffClock([LIMITS.responseTimeoutMs]);
  const logger = new RecordingLogger();
  const gate = new RequestGate({ clock, logger });
  const client = new HttpClient({ fetchFor: () => script.open().fetch, gate, clock, logger, userAgent: "test" });
  return new DistributionApi({ client, flavour, credentials, authHosts: ["auth.example"], clock, logger });
}

const plain = defineFlavour({ type: "oci", title: "Test" });

describe("a login that a type brings", () => {
  it("is renewed once when the registry calls it expired", async () => {
    const { flavour, renewed } = shortLived();
    const script = new ScriptedRegistry([
      { match: TAGS, headers: { authorization: basic("p0") }, reply: { status: 403, body: EXPIRED } },
      { match: TAGS, headers: { authorization: basic("p1") }, reply: TAGS_REPLY },
    ]);
    expect(await collect(api(script, flavour).tags("a", signal))).toEqual(["1"]);
    expect(renewed).toEqual(["p0"]);
    script.assertDone();
  });

  it("is not renewed again and again", async () => {
    const { flavour, renewed } = shortLived();
    const script = new ScriptedRegistry([{ match: TAGS, reply: { status: 403, body: EXPIRED } }]);
    expect(await codeOf(collect(api(script, flavour).tags("a", signal)))).toBe("EXPIRED_CREDENTIALS");
    expect(renewed).toEqual(["p0"]);
    expect(script.lines).toHaveLength(2);
  });

  it("does not answer the refusal of another origin", async () => {
    const { flavour, renewed } = shortLived();
    const script = new ScriptedRegistry([
      { match: TAGS, reply: { status: 307, headers: { location: "https://other.example/x" } } },
      { match: "GET https://other.example/x", headers: { authorization: null }, reply: { status: 403 } },
    ]);
    expect(await codeOf(collect(api(script, flavour).tags("a", signal)))).toBe("REPO_FORBIDDEN");
    expect(renewed).toEqual([]);
  });
});

describe("fixedLogin()", () => {
  it("is what the credentials hold", async () => {
    expect(await fixedLogin(CREDENTIALS).get(signal)).toEqual(LOGIN);
    expect(fixedLogin(CREDENTIALS).present).toBe(true);
    expect(fixedLogin({ type: "oci", base: "h" }).present).toBe(false);
  });
});

describe("DistributionApi", () => {
  it("names the token server once it is found safe", async () => {
    const named = (header: string): DistributionApi =>
      api(new ScriptedRegistry([challenge("GET /v2/", header)]), plain);
    expect((await named(BEARER).tokenServer(signal))?.href).toBe("https://auth.example/token");
    expect(await named('Basic realm="x"').tokenServer(signal)).toBeUndefined();
    expect(await codeOf(named('Bearer realm="https://evil.example/token"').tokenServer(signal))).toBe("UNSAFE_REALM");
  });

  it("calls other paths of the registry with its login, and only those", async () => {
    const script: readonly Exchange[] = [
      challenge("GET /v2/", BEARER),
      token(A_PULL, "t"),
      { match: "GET /acr/v1/a", headers: { authorization: "Bearer t" }, reply: { body: { x: 1 } } },
    ];
    const registry = api(new ScriptedRegistry(script), plain);
    const call = { action: "list", subject: "tags" as const, scopes: ["repository:a:pull"] };
    const { value } = await registry.call({ ...call, url: new URL("https://registry.example/acr/v1/a") }, signal);
    expect(value).toEqual({ x: 1 });
    await expect(registry.call({ ...call, url: new URL("https://other.example/") }, signal)).rejects.toThrow(TypeError);
  });

  it("sends HTTP Basic to a token server as configured", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER),
      token(A_PULL, "t"),
      { match: TAGS, headers: { authorization: "Bearer t" }, reply: TAGS_REPLY },
    ]);
    await collect(api(script, plain).tags("a", signal));
    expect(script.requests.map(({ headers }) => headers.get("authorization"))).toEqual([null, BASIC, "Bearer t"]);
  });
});
