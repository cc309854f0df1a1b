import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { LIMITS } from "../core/limits.ts";
import { Dispatcher } from "./dispatcher.ts";

const TOKEN = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

function bench(answer: (request: Request) => Response | Promise<Response>) {
  const clock = new FakeClock();
  const logger = new RecordingLogger();
  const requests: Request[] = [];
  const dispatcher = new Dispatcher({
    apiUrl: "https://api.example/some/path",
    pathPrefix: "/hidden/broker",
    location: "rack 7",
    token: TOKEN,
    clientId: "22222222-2222-4222-8222-222222222222",
    clock,
    logger,
    fetch: async (request) => {
      requests.push(request);
      return await answer(request);
    },
  });
  const life = new AbortController();
  const running = dispatcher.run(life.signal);
  const stop = async (): Promise<void> => {
    life.abort();
    await running;
    expect(clock.pending).toBe(0);
  };
  return { clock, logger, requests, dispatcher, running, stop };
}

const named = (id: unknown): Response => Response.json({ data: { attributes: { server_id: id } } });

describe("Dispatcher", () => {
  it("asks as the reference does, once, and takes the server's id", async () => {
    const { requests, dispatcher, running, logger } = bench(() => named(7));
    await running;
    await dispatcher.asked;
    expect(dispatcher.serverId).toBe("7");
    expect(requests).toHaveLength(1);
    const [request] = requests;
    const url = new URL(request?.url ?? "");
    expect(url.origin).toBe("https://api.example");
    expect(url.pathname).toMatch(/^\/hidden\/broker\/[0-9a-f]{64}\/connections\/22222222-2222-4222-8222-222222222222$/);
    expect(url.searchParams.get("version")).toBe("2022-12-01~experimental");
    expect(request?.method).toBe("POST");
    expect(request?.headers.get("content-type")).toBe("application/vnd.api+json");
    expect(await request?.json()).toEqual({
      data: { attributes: { deployment_location: "rack 7", broker_token_first_char: "a" } },
    });
    expect(JSON.stringify(logger.lines)).not.toContain(TOKEN);
  });

  it.each([[0, "0"], ["12", "12"]])("takes %j", async (id, expected) => {
    const { dispatcher, running } = bench(() => named(id));
    await running;
    expect(dispatcher.serverId).toBe(expected);
  });

  it.each([
    ["-1", () => named(-1)],
    ["a name", () => named("pod&x=1")],
    ["null", () => named(null)],
    ["an empty object", () => Response.json({})],
    ["no JSON", () => new Response("<html>")],
    ["brackets", () => new Response("[".repeat(100_000))],
    ["a body without end", () => new Response("1".repeat(LIMITS.brokerDispatcherBytes + 1))],
    ["a redirect", () => new Response(null, { status: 302, headers: { location: "http://127.0.0.1:9/" } })],
    ["500", () => new Response("no", { status: 500 })],
    ["a failure", () => Promise.reject(new TypeError(`http://user:hunter2@api.example/${TOKEN} is down`))],
  ])("connects without an id when it is answered %s", async (_name, answer) => {
    const { clock, dispatcher, logger, stop } = bench(answer);
    await dispatcher.asked;
    expect(dispatcher.serverId).toBe(undefined);
    await clock.advance(0);
    expect(logger.lines.map(({ message }) => message)).toEqual(["Connecting without high availability for now"]);
    expect(JSON.stringify(logger.lines)).not.toContain("hunter2");
    await stop();
  });

  it("asks again with growing waits, and keeps nobody waiting meanwhile", async () => {
    let answers = 0;
    const { clock, dispatcher, running, requests } = bench(() => ++answers < 4 ? new Response(null) : named(3));
    clock.chance = 1;
    await dispatcher.asked;
    for (const waitMs of [30_000, 60_000, 120_000]) {
      expect(dispatcher.serverId).toBe(undefined);
      await clock.advance(waitMs);
    }
    await running;
    expect(dispatcher.serverId).toBe("3");
    expect(requests).toHaveLength(4);
  });

  it("keeps connections waiting no longer than brokerDispatcherTimeoutMs", async () => {
    const { clock, dispatcher, stop } = bench((request) =>
      new Promise((_, reject) => {
        request.signal.addEventListener("abort", () => reject(request.signal.reason));
      })
    );
    let asked = false;
    const waiting = dispatcher.asked.then(() => asked = true);
    await clock.advance(LIMITS.brokerDispatcherTimeoutMs - 1);
    expect(asked).toBe(false);
    await clock.advance(1);
    await waiting;
    await stop();
  });
});
