import { Buffer } from "node:buffer";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BackoffClock, FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { brokenAfter, ScriptedRegistry, type SeenRequest, stalledAfter } from "../../tests/fakes/scripted_registry.ts";
import { LayerError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteSource, Clock } from "../core/ports.ts";
import type { Descriptor } from "../core/types.ts";
import { sha256Digest } from "../lib/oci_builder.ts";
import { DistributionApi } from "./distribution_api.ts";
import { oci } from "./oci.ts";
import { HttpClient } from "../net/http.ts";
import { RequestGate } from "../net/retry.ts";

const signal = new AbortController().signal;
const MiB = 1024 * 1024;
const content = Uint8Array.from({ length: 4 * MiB }, (_, at) => (at * 31 + (at >> 8)) & 255);
const descriptor: Descriptor = { mediaType: "", digest: sha256Digest(content), size: content.length };
const BLOB = `GET /v2/team/app/blobs/${descriptor.digest}`;

/** What one connection does to its answer. */
interface Fault {
  readonly deliver: number;
  readonly end: "break" | "close" | "go on";
  readonly answer: "range" | "whole" | "elsewhere" | "416";
  readonly etag: string;
}

interface Served {
  /** Body of the n-th answer, 1-based, from the offset that was asked for. */
  readonly body: (from: number, call: number) => BodyInit;
  readonly headers?: (from: number, call: number) => Record<string, string>;
  readonly status?: (from: number, call: number) => number;
}

function serve(served: Served): ScriptedRegistry {
  let call = 0;
  const reply = (request: SeenRequest): Response => {
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "") ?? [];
    const from = Number(start ?? 0);
    if (start !== undefined) expect(Number(end)).toBe(content.length - 1);
    call++;
    const status = served.status?.(from, call) ?? (start === undefined ? 200 : 206);
    const range: Record<string, string> = status === 206
      ? { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` }
      : {};
    const headers = { etag: '"one"', ...range, ...served.headers?.(from, call) };
    return new Response(served.body(from, call), { status, headers });
  };
  return new ScriptedRegistry([{ match: BLOB, headers: { "accept-encoding": "identity" }, reply }]);
}

function open(
  script: ScriptedRegistry,
  clock: Clock = new BackoffClock([LIMITS.responseTimeoutMs]),
): Promise<ByteSource> {
  const logger = new RecordingLogger();
  const { fetch } = script.open();
  const client = new HttpClient({
    fetchFor: () => fetch,
    gate: new RequestGate({ clock, logger }),
    clock,
    logger,
    userAgent: "t",
  });
  const credentials = { type: "oci", base: "registry.example" };
  const api = new DistributionApi({ client, flavour: oci, credentials, authHosts: [], clock, logger });
  return api.openBlob("team/app", descriptor, signal);
}

async function read(
  script: ScriptedRegistry,
  clock?: Clock,
): Promise<{ readonly bytes: Uint8Array; readonly error?: unknown }> {
  const pieces: Uint8Array[] = [];
  let error: unknown;
  try {
    const source = await open(script, clock);
    for (let piece = await source.read(); piece !== undefined; piece = await source.read()) pieces.push(piece.slice());
  } catch (thrown) {
    error = thrown;
  }
  const bytes = new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  return error === undefined ? { bytes } : { bytes, error };
}

async function expectWhole(script: ScriptedRegistry, requests: number): Promise<void> {
  const { bytes, error } = await read(script);
  expect(error).toBeUndefined();
  expect(sha256Digest(bytes)).toBe(descriptor.digest);
  expect(script.requests.length).toBe(requests);
  script.assertDone();
}

describe("openBlob()", () => {
  it("hands on the bytes of one answer", async () => {
    await expectWhole(serve({ body: (from) => content.slice(from) }), 1);
  });

  it.each(Array.from({ length: 16 }, (_, at) => at))("R3: goes on after a cut at %i/16", async (sixteenths) => {
    const cut = (content.length / 16) * sixteenths;
    await expectWhole(
      serve({ body: (from, call) => call === 1 ? brokenAfter(content.slice(0, cut)) : content.slice(from) }),
      2,
    );
  });

  it("R3: goes on after a cut at each sixteenth in turn, one more request per cut", async () => {
    const step = content.length / 16;
    const script = serve({
      body: (from) =>
        from + step < content.length ? brokenAfter(content.slice(from, from + step)) : content.slice(from),
    });
    await expectWhole(script, 16);
    expect(script.requests[3]?.headers.get("range")).toBe(`bytes=${3 * step}-${content.length - 1}`);
  });

  it("R3: takes an answer that ends early without an error for a cut", async () => {
    await expectWhole(serve({ body: (from, call) => call === 1 ? content.slice(0, MiB) : content.slice(from) }), 2);
  });

  const interrupted = (rest: (from: number, call: number) => BodyInit) => (from: number, call: number): BodyInit =>
    call === 1 ? brokenAfter(content.slice(0, MiB)) : rest(from, call);

  it("R3: skips what it has when a range is answered with the whole", async () => {
    await expectWhole(serve({ status: () => 200, body: interrupted(() => content) }), 2);
  });

  it.each<readonly [string, Partial<Served>]>([
    ["lacks Content-Range", {
      headers: (_, call): Record<string, string> => call === 2 ? { "content-range": "" } : {},
    }],
    ["starts elsewhere", {
      headers: (_, call): Record<string, string> =>
        call === 2 ? { "content-range": `bytes 5-${content.length - 1}/${content.length}` } : {},
    }],
    ["has another ETag", { headers: (_, call): Record<string, string> => call === 2 ? { etag: '"two"' } : {} }],
    ["is 416", { status: (from, call) => call === 2 ? 416 : from > 0 ? 206 : 200 }],
  ])("R3: starts over when the answer to a range %s", async (_, served) => {
    const script = serve({ ...served, body: interrupted((from, call) => call === 2 ? content.slice(from) : content) });
    await expectWhole(script, 3);
    expect(script.requests[2]?.headers.get("range")).toBeNull();
  });

  it("R3: gives up after LIMITS.resumesWithoutProgress resumes that bring nothing, and names the layer", async () => {
    const clock = new BackoffClock([LIMITS.noProgressMs]);
    const script = serve({ body: (_, call) => brokenAfter(content.slice(0, call === 1 ? MiB : 0)) });
    const { bytes, error } = await read(script, clock);
    expect(bytes.length).toBe(MiB);
    expect(error).toBeInstanceOf(LayerError);
    expect(error).toMatchObject({ code: "CONNECTION_RESET", layer: descriptor.digest, retryable: true });
    expect((error as Error).message).toContain(descriptor.digest);
    expect(script.requests.length).toBe(1 + LIMITS.resumesWithoutProgress);
    expect(clock.waits).toEqual([750, 1500]);
  });

  it("does not take a trickle for progress", async () => {
    const script = serve({ body: (from) => brokenAfter(content.slice(from, from + 1)) });
    const { error } = await read(script);
    expect(error).toMatchObject({ code: "CONNECTION_RESET" });
    expect(script.requests.length).toBe(1 + LIMITS.resumesWithoutProgress);
  });

  it("R6: resumes a body that stalls", async () => {
    const clock = new FakeClock();
    const script = serve({
      body: (from, call) => call === 1 ? stalledAfter(content.slice(0, MiB)) : content.slice(from),
    });
    const reading = read(script, clock);
    await clock.advance(LIMITS.noProgressMs - 1);
    expect(script.requests.length).toBe(1);
    await clock.advance(1);
    const { bytes, error } = await reading;
    expect(error).toBeUndefined();
    expect(sha256Digest(bytes)).toBe(descriptor.digest);
    expect(script.requests.length).toBe(2);
  });

  it("R4: refuses a blob that is announced with another size, before reading it", async () => {
    const script = serve({ headers: () => ({ "content-length": "7" }), body: () => "1234567" });
    await expect(open(script)).rejects.toMatchObject({
      code: "INTEGRITY",
      layer: descriptor.digest,
      message: `Cannot read layer ${descriptor.digest}: it has 7 bytes instead of ${descriptor.size}`,
    });
  });

  it("R4: refuses a blob that is longer than announced", async () => {
    const longer = new Uint8Array(content.length + 1);
    longer.set(content);
    const { bytes, error } = await read(serve({ body: () => longer }));
    expect(error).toMatchObject({ code: "INTEGRITY", layer: descriptor.digest });
    expect(bytes.length).toBe(0);
  });

  it("R4: refuses a range of something of another size", async () => {
    const script = serve({
      headers: (from): Record<string, string> => from > 0 ? { "content-range": `bytes ${from}-9/10` } : {},
      body: interrupted((from) => content.slice(from)),
    });
    expect((await read(script)).error).toMatchObject({ code: "INTEGRITY" });
  });

  it("does not mind how the connection ends once all bytes are here", async () => {
    await expectWhole(serve({ body: () => brokenAfter(content) }), 1);
  });

  it("says what the registry's refusal means, and names the layer", async () => {
    const script = new ScriptedRegistry([{
      match: BLOB,
      reply: { status: 404, body: { errors: [{ code: "BLOB_UNKNOWN" }] } },
    }]);
    await expect(open(script)).rejects.toMatchObject({ code: "BLOB_NOT_FOUND", layer: descriptor.digest, status: 404 });
  });

  it("gives the right bytes or an error, whatever the connections do", async () => {
    const fault: fc.Arbitrary<Fault> = fc.record({
      deliver: fc.integer({ min: 0, max: content.length }),
      end: fc.constantFrom("break" as const, "close" as const, "go on" as const),
      answer: fc.constantFrom("range" as const, "whole" as const, "elsewhere" as const, "416" as const),
      etag: fc.constantFrom('"one"', '"two"'),
    });
    const run = async (faults: readonly Fault[]): Promise<void> => {
      const at = (call: number): Fault =>
        faults[call - 1] ?? { deliver: content.length, end: "go on", answer: "range", etag: '"one"' };
      const script = serve({
        status: (from, call) => {
          const { answer } = at(call);
          return from === 0 || answer === "whole" ? 200 : answer === "416" ? 416 : 206;
        },
        headers: (from, call): Record<string, string> =>
          from > 0 && at(call).answer === "elsewhere"
            ? { etag: at(call).etag, "content-range": `bytes ${from + 1}-9/${content.length}` }
            : { etag: at(call).etag },
        body: (from, call) => {
          const { deliver, end, answer } = at(call);
          const rest = content.slice(answer === "whole" ? 0 : from);
          if (end === "go on") return rest;
          return end === "break" ? brokenAfter(rest.slice(0, deliver)) : rest.slice(0, deliver);
        },
      });
      const { bytes, error } = await read(script);
      expect(Buffer.compare(bytes, content.subarray(0, bytes.length))).toBe(0);
      if (error === undefined) expect(bytes.length).toBe(content.length);
      else expect(error).toBeInstanceOf(LayerError);
    };
    await fc.assert(fc.asyncProperty(fc.array(fault, { maxLength: 6 }), run), { numRuns: 60 });
  });

  it("reads no further than its consumer", async () => {
    let pulls = 0;
    const endless = new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull(controller): void {
        pulls++;
        controller.enqueue(content.slice(0, 1024));
      },
    }, { highWaterMark: 0 });
    const source = await open(serve({ body: () => endless }));
    await source.read();
    await source.read();
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(pulls).toBeLessThanOrEqual(3);
    await source.close();
    await expect(source.read()).rejects.toThrow("given up");
  });
});

describe("openBlob() of a redirecting registry", () => {
  it("X7: resumes at the registry, not where it was redirected to", async () => {
    const redirect = (
      n: number,
    ): { match: string; reply: { status: number; headers: { location: string } }; once: boolean } => ({
      match: BLOB,
      reply: { status: 307, headers: { location: `https://blobs.example/${n}` } },
      once: true,
    });
    const range = `bytes=${MiB}-${content.length - 1}`;
    const script = new ScriptedRegistry([
      redirect(1),
      {
        match: "GET https://blobs.example/1",
        headers: { authorization: null },
        reply: () => new Response(brokenAfter(content.slice(0, MiB))),
        once: true,
      },
      redirect(2),
      {
        match: "GET https://blobs.example/2",
        headers: { range, authorization: null },
        reply: () =>
          new Response(content.slice(MiB), {
            status: 206,
            headers: { "content-range": `bytes ${MiB}-${content.length - 1}/${content.length}` },
          }),
        once: true,
      },
    ]);
    await expectWhole(script, 4);
  });
});
