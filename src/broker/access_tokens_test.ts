import { afterEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { LIMITS } from "../core/limits.ts";
import { AccessTokens } from "./access_tokens.ts";

const never = (): AbortSignal => new AbortController().signal;

describe("AccessTokens", () => {
  let end = new AbortController();
  afterEach(() => {
    end.abort();
    end = new AbortController();
  });

  function bench(answer: (count: number, request: Request) => Response | Promise<Response>) {
    const clock = new FakeClock();
    const logger = new RecordingLogger();
    const requests: Request[] = [];
    const secrets: string[] = [];
    let failures = 0;
    const tokens = new AccessTokens({
      apiUrl: "https://api.example/base/",
      clientId: "the-client",
      clientSecret: "the secret&",
      clock,
      logger,
      fetch: (request) => {
        requests.push(request.clone());
        return Promise.resolve(answer(requests.length, request));
      },
      onToken: (token) => secrets.push(token),
      onFailure: () => failures++,
    });
    return { tokens, clock, logger, requests, secrets, failures: () => failures };
  }

  const token = (count: number, expires_in: unknown = 3_600): Response =>
    Response.json({ access_token: `t${count}`, token_type: "bearer", expires_in });

  it("asks for a token as OAuth's client credentials grant does, once for everybody", async () => {
    const { tokens, requests, secrets } = bench((count) => token(count));
    expect(tokens.current).toBeUndefined();
    expect(await Promise.all([tokens.header(never()), tokens.header(never())])).toEqual(["bearer t1", "bearer t1"]);
    expect(tokens.current).toBe("bearer t1");
    const [request] = requests;
    expect([request?.method, request?.url, request?.headers.get("content-type")]).toEqual([
      "POST",
      "https://api.example/base/oauth2/token",
      "application/x-www-form-urlencoded",
    ]);
    expect(await request?.text()).toBe(
      "grant_type=client_credentials&client_id=the-client&client_secret=the+secret%26",
    );
    expect(secrets).toEqual(["t1"]);
  });

  it.each([
    ["an hour", 3_600, 3_600_000 - LIMITS.brokerTokenMarginMs],
    ["less than the margin", 30, 15_000],
    ["nothing", null, LIMITS.brokerTokenLifetimeMs - LIMITS.brokerTokenMarginMs],
    ["nonsense", "soon", LIMITS.brokerTokenLifetimeMs - LIMITS.brokerTokenMarginMs],
    ["for ever", 1e300, LIMITS.brokerTokenLifetimeMaxMs - LIMITS.brokerTokenMarginMs],
  ])("renews a token that says %s before it expires, and not earlier", async (_, expiresIn, afterMs) => {
    const { tokens, clock, requests } = bench((count) => token(count, expiresIn));
    const running = tokens.run(end.signal);
    await clock.advance(0);
    await clock.advance(afterMs - 1);
    expect(requests).toHaveLength(1);
    await clock.advance(1);
    expect([requests.length, tokens.current]).toEqual([2, "bearer t2"]);
    end.abort();
    await running;
  });

  it("gets another token when the one in use is rejected, not for an older one", async () => {
    const { tokens, requests } = bench((count) => token(count));
    await tokens.header(never());
    tokens.rejected("bearer t1");
    tokens.rejected("bearer t1");
    expect(await tokens.header(never())).toBe("bearer t2");
    tokens.rejected("bearer t1");
    expect(await tokens.header(never())).toBe("bearer t2");
    expect(requests).toHaveLength(2);
  });

  it("tries again with growing waits, says why, and keeps the last token meanwhile", async () => {
    const { tokens, clock, logger, failures } = bench((count) =>
      count < 4 ? new Response("no", { status: 503 }) : token(count)
    );
    const running = tokens.run(end.signal);
    await clock.advance(0);
    for (let i = 0; i < 3; i++) await clock.advance(LIMITS.brokerApiRetryMaxMs);
    expect(tokens.current).toBe("bearer t4");
    expect(failures()).toBe(3);
    const lines = logger.lines.filter(({ level }) => level === "error");
    expect(lines.map(({ fields }) => [fields["failures"], fields["waitMs"]])).toEqual([[1, 750], [2, 1_500], [
      3,
      3_000,
    ]]);
    end.abort();
    await running;
  });

  it.each([
    ["400", () => new Response("{}", { status: 400 }), { code: "BROKER_REFUSED", retryable: false }],
    ["401", () => new Response("{}", { status: 401 }), { code: "BROKER_REFUSED", retryable: false }],
    ["429", () => new Response("{}", { status: 429 }), { code: "BROKER_REFUSED", retryable: true }],
    ["a redirect", () => new Response(null, { status: 302, headers: { location: "http://evil.example" } }), {
      code: "BROKER_REFUSED",
    }],
    ["no JSON", () => new Response("<html>"), { code: "BROKER_REFUSED", retryable: true }],
    ["no token", () => Response.json({ token_type: "bearer" }), { code: "BROKER_REFUSED" }],
    ["CR and LF", () => Response.json({ access_token: "a\r\nx: y", token_type: "bearer" }), { code: "BROKER_REFUSED" }],
    ["an odd type", () => Response.json({ access_token: "a", token_type: "a b" }), { code: "BROKER_REFUSED" }],
    ["too much", () => new Response("x".repeat(LIMITS.brokerApiBytes + 1)), { code: "BROKER_REFUSED" }],
    ["nothing", () => Promise.reject(new TypeError("http://user:pw@api.example refused")), {
      code: "CONNECTION_FAILED",
    }],
  ])("refuses an answer: %s", async (_, answer, expected) => {
    const { tokens } = bench(answer);
    const error = await tokens.header(never()).catch((error: unknown) => error);
    expect(error).toMatchObject(expected);
    expect(String(error)).not.toContain("pw@");
    expect(tokens.current).toBeUndefined();
  });

  it("gives up an answer that does not come", async () => {
    const { tokens, clock } = bench((_, { signal }) =>
      new Promise<Response>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
    );
    const failure = expect(tokens.header(never())).rejects.toMatchObject({ code: "TIMEOUT" });
    await clock.advance(LIMITS.brokerApiTimeoutMs);
    await failure;
  });
});
