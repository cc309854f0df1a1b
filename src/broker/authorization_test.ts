import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { OutpostError } from "../core/errors.ts";
import { AccessTokens } from "./access_tokens.ts";
import { renewingFetch } from "./authorization.ts";
import { Dispatcher } from "./dispatcher.ts";

/** Snyk's API: gives tokens t1, t2, … and answers the dispatcher by `accepts`. */
function bench(accepts: (header: string | null) => boolean, giveToken = (): boolean => true) {
  const clock = new FakeClock();
  const logger = new RecordingLogger();
  const asked: { readonly header: string | null; readonly body: string }[] = [];
  let tokens = 0;
  const fetch = async (request: Request): Promise<Response> => {
    if (new URL(request.url).pathname === "/oauth2/token") {
      if (!giveToken()) return new Response(null, { status: 503 });
      return Response.json({ access_token: `t${++tokens}`, token_type: "bearer", expires_in: 3600 });
    }
    const header = request.headers.get("authorization");
    asked.push({ header, body: await request.text() });
    return accepts(header)
      ? Response.json({ data: { attributes: { server_id: 4 } } })
      : Response.json({ message: "no" }, { status: 401 });
  };
  const authorization = new AccessTokens({
    apiUrl: "https://api.example",
    clientId: "id",
    clientSecret: "secret",
    fetch,
    clock,
    logger,
    onToken: () => {},
    onFailure: () => {},
  });
  const dispatcher = new Dispatcher({
    apiUrl: "https://api.example",
    pathPrefix: "/hidden/brokers",
    location: "here",
    token: "token",
    clientId: "22222222-2222-4222-8222-222222222222",
    clock,
    logger,
    fetch: renewingFetch(fetch, authorization),
  });
  return { clock, logger, asked, dispatcher, tokens: () => tokens };
}

describe("renewingFetch()", () => {
  it("§9 waits for the first token before the dispatcher is asked", async () => {
    const { asked, dispatcher, clock } = bench((header) => header === "bearer t1");
    await dispatcher.run(new AbortController().signal);
    expect(dispatcher.serverId).toBe("4");
    expect(asked).toHaveLength(1);
    expect(clock.sleeps.filter((ms) => ms >= 30_000)).toEqual([]);
  });

  it("§10.4 asks the dispatcher again at once, with the same body and a renewed token, after 401", async () => {
    const { asked, dispatcher, clock, logger } = bench((header) => header === "bearer t2");
    await dispatcher.run(new AbortController().signal);
    expect(dispatcher.serverId).toBe("4");
    expect(asked.map(({ header }) => header)).toEqual(["bearer t1", "bearer t2"]);
    expect(asked[1]?.body).toBe(asked[0]?.body);
    expect(asked[0]?.body).toContain("deployment_location");
    expect(clock.sleeps.filter((ms) => ms >= 30_000)).toEqual([]);
    expect(logger.lines.filter(({ level }) => level === "warn")).toEqual([]);
  });

  it("asks no third time: the dispatcher's own wait comes first", async () => {
    const { asked, dispatcher, clock } = bench(() => false);
    const life = new AbortController();
    const running = dispatcher.run(life.signal);
    await dispatcher.asked;
    await clock.advance(0);
    expect(asked.map(({ header }) => header)).toEqual(["bearer t1", "bearer t2"]);
    life.abort();
    await running;
  });

  it("asks nobody without a token, and fails with its reason", async () => {
    const { asked, dispatcher, logger, clock } = bench(() => true, () => false);
    const life = new AbortController();
    const running = dispatcher.run(life.signal);
    await dispatcher.asked;
    await clock.advance(0);
    expect(asked).toEqual([]);
    expect(JSON.stringify(logger.lines)).toContain("access token");
    life.abort();
    await running;
  });

  it("hands on any other answer", async () => {
    let sent = 0;
    const send = (): Promise<Response> => Promise.resolve(new Response(null, { status: ++sent === 1 ? 403 : 200 }));
    const authorization = {
      current: undefined,
      rejected: () => {
        throw new OutpostError("INTERNAL", "It was not rejected");
      },
      header: () => Promise.resolve("bearer x"),
    };
    expect((await renewingFetch(send, authorization)(new Request("https://api.example/"))).status).toBe(403);
    expect(sent).toBe(1);
  });
});
