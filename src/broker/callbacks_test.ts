import { afterEach, describe, expect, it } from "vitest";
import { brokerBench, closeBrokerBenches, eventually } from "../../tests/fakes/broker_bench.ts";
import { LIMITS } from "../core/limits.ts";
import type { Fetch } from "../core/ports.ts";
import type { Callback } from "./callbacks.ts";

const never = (): AbortSignal => new AbortController().signal;
const UUIDS = Array.from({ length: 5 }, (_, n) => `${n}0000000-1111-4111-8111-111111111111`);
const WEBHOOK = "/webhook/github/00000000-0000-4000-8000-000000000000";

const callback = (more: Partial<Callback> = {}): Callback => ({
  method: "POST",
  url: "/v2/import/done",
  headers: {},
  body: new TextEncoder().encode("{}"),
  ...more,
});

describe("callbacks (§6)", () => {
  afterEach(closeBrokerBenches);

  /** Sends a callback to an open socket, answers it, and gives what went over the wire and what came back. */
  async function exchange(sent: Partial<Callback>, answer: unknown, rules?: unknown) {
    const { client, primary } = brokerBench(() => expect.unreachable(), { rules });
    primary().accept();
    const result = client.callback(callback(sent), never());
    const [event] = await eventually(() => primary().sentOf("event").slice(1));
    primary().receive({ kind: "ack", id: event?.id ?? 0, args: [answer] });
    const argument = event?.args[0] as { readonly headers: Record<string, string>; readonly requestId: string };
    return { argument, answer: await result };
  }

  it("§6 takes the request's id from the first header that has a UUID, and echoes it", async () => {
    const names = [
      "x-akamai-request-id",
      "x-request-id",
      "snyk-request-id",
      "x-github-delivery",
      "x-gitlab-event-uuid",
    ];
    for (const [at] of names.entries()) {
      const headers = Object.fromEntries(names.map((name, n) => [name, n < at ? "none" : UUIDS[n] ?? ""]));
      const { argument, answer } = await exchange({ headers }, { status: 200 });
      expect(argument.requestId).toBe(UUIDS[at]);
      expect([argument.headers["snyk-request-id"], answer.headers["snyk-request-id"]]).toEqual([UUIDS[at], UUIDS[at]]);
    }
    const { argument } = await exchange({ headers: { "x-request-id": "none" } }, { status: 200 });
    expect(argument.requestId).toBe("22222222-2222-4222-8222-222222222222");
  });

  it("§6 names the request's id also when no rule accepts it", async () => {
    const { client, primary } = brokerBench(() => expect.unreachable());
    primary().accept();
    const blocked = await client.callback(
      callback({ url: "/no", headers: { "x-request-id": UUIDS[0] ?? "" } }),
      never(),
    );
    expect([blocked.status, blocked.headers["snyk-request-id"]]).toEqual([401, UUIDS[0]]);
  });

  it("§6 lets the public rules decide on methods", async () => {
    const rules = { public: [{ method: "GET", path: "/a" }, { method: "any", path: "/b" }] };
    const { argument } = await exchange({ method: "get", url: "/a" }, { status: 200 }, rules);
    expect(argument).toMatchObject({ method: "GET", url: "/a", streamingID: "" });
    const { client } = brokerBench(() => expect.unreachable(), { rules });
    expect((await client.callback(callback({ url: "/a" }), never())).status).toBe(401);
    expect((await exchange({ method: "PATCH", url: "/b" }, { status: 200 }, rules)).answer.status).toBe(200);
  });

  it("§6 sends neither transfer-encoding nor other fields of the hop", async () => {
    const hop = ["transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "proxy-authorization"];
    const headers = Object.fromEntries([...hop, "x-own"].map((name) => [name, name === "connection" ? "x-hop" : "1"]));
    const { argument } = await exchange({ headers: { ...headers, "x-hop": "1" } }, { status: 200 });
    expect(Object.keys(argument.headers).toSorted()).toEqual(["snyk-request-id", "x-own"]);
  });

  it("§6 inflates gzip and deflate, and tells nobody of a coding that is gone", async () => {
    for (const format of ["gzip", "deflate"] as const) {
      const packed = new Blob(["{}"]).stream().pipeThrough(new CompressionStream(format));
      const body = new Uint8Array(await new Response(packed).arrayBuffer());
      const { argument } = await exchange({ body, headers: { "content-encoding": format } }, { status: 200 });
      expect(argument).toMatchObject({ body: new TextEncoder().encode("{}") });
      expect(argument.headers).not.toHaveProperty("content-encoding");
    }
  });

  describe("webhooks", () => {
    const rules = { public: [{ method: "POST", path: "/webhook/*" }] };

    function api(respond: (request: Request) => Response | Promise<Response>) {
      const asked: Request[] = [];
      const fetch: Fetch = async (request) => {
        asked.push(request.clone());
        return await respond(request);
      };
      return {
        asked,
        ...brokerBench(() => expect.unreachable(), { rules, fetch, apiUrl: "https://api.example/base" }),
      };
    }

    it("§6 go to the API by HTTP while no socket is open", async () => {
      const headers = { "x-github-delivery": UUIDS[0] ?? "", "transfer-encoding": "chunked", "x-event": "push" };
      const { asked, client } = api(() =>
        Response.json({ ok: true }, { status: 202, headers: { connection: "close" } })
      );
      const answer = await client.callback(callback({ url: `${WEBHOOK}?x=1`, headers }), never());
      expect(answer).toMatchObject({ status: 202, headers: { "snyk-request-id": UUIDS[0] } });
      expect(answer.headers).not.toHaveProperty("connection");
      expect(new TextDecoder().decode(answer.body)).toBe('{"ok":true}');
      expect(asked.map(({ method, url, redirect }) => [method, url, redirect])).toEqual([
        ["POST", `https://api.example${WEBHOOK}?x=1`, "manual"],
      ]);
      expect(Object.fromEntries(asked[0]?.headers ?? [])).toMatchObject({
        "x-event": "push",
        "snyk-request-id": UUIDS[0],
        "x-snyk-broker": "aaaa-...-eeee",
      });
      expect(asked[0]?.headers.has("transfer-encoding")).toBe(false);
      expect(await asked[0]?.text()).toBe("{}");
    });

    it("§6 go by websocket while one is open, and other callbacks never by HTTP", async () => {
      const { asked, client, primary } = api(() => expect.unreachable());
      const other = client.callback(callback({ url: "/v2/import/done" }), never());
      expect((await other).status).toBe(401);
      await expect(client.callback(callback({ method: "GET", url: WEBHOOK }), never())).resolves.toMatchObject({
        status: 401,
      });
      primary().accept();
      const sent = client.callback(callback({ url: WEBHOOK }), never());
      await eventually(() => primary().sentOf("event").slice(1));
      primary().receive({ kind: "ack", id: 1, args: [{ status: 200 }] });
      expect((await sent).status).toBe(200);
      expect(asked).toEqual([]);
    });

    it("§6 tell what is wrong when the API does not answer", async () => {
      const refused = api(() => Promise.reject(new TypeError("http://user:pw@api")));
      await expect(refused.client.callback(callback({ url: WEBHOOK }), never())).rejects.toMatchObject({
        code: "BROKER_DISCONNECTED",
        message: "Cannot send the webhook: neither broker nor API can be reached",
      });
      const endless = api(() => new Response(new Uint8Array(LIMITS.brokerRequestBodyBytes + 1)));
      await expect(endless.client.callback(callback({ url: WEBHOOK }), never())).rejects.toMatchObject({
        code: "BROKER_REFUSED",
      });
    });
  });
});
