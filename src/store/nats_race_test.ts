/** P1: several processes work on the same jobs at once, and now and then one of them is gone. */
import { expect, it } from "vitest";
import { systemClock } from "../../tests/fakes/clock.ts";
import { peer } from "../../tests/peers/mod.ts";
import { startNatsServer } from "../../tests/peers/nats_server.ts";
import { NatsLink } from "./nats_connection.ts";
import { NatsStore } from "./nats_store.ts";
import { newJob } from "./store_suite.ts";

const JOBS = 12;
const IMAGES = 3;
const LEASE_MS = 100;

/** What the other side and the workers have seen. */
interface Seen {
  /** `job sequence` of each end that the store took. */
  readonly ended: string[];
  /** `job sequence` of each callback, as they were sent. */
  readonly sent: string[];
  /** A clock of their own, so that leases end as often as they like. */
  now: number;
}

/** Numbers in [0, 1) that follow from the seed (mulberry32). */
function chances(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6D2B79F5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Works until every job has come to its end; one time in ten it forgets what it held, as a process that was killed. */
async function work(store: NatsStore, name: string, seen: Seen, chance: () => number): Promise<void> {
  let lives = 0;
  for (;;) {
    const owner = `${name}-${lives}`;
    const lease = (): { owner: string; now: number; until: number } => {
      seen.now += Math.floor(chance() * 20);
      return { owner, now: seen.now, until: seen.now + LEASE_MS };
    };
    const job = await store.claim(lease());
    for (let sequence = job?.position ?? 0; job !== undefined && sequence < IMAGES; sequence++) {
      if (chance() < 0.1) {
        lives++;
        break;
      }
      const result = { resultKey: `${job.id}-${sequence}`, result: new Uint8Array([sequence]) };
      const end = { owner, sequence, outcome: "success", now: lease().now, ...result } as const;
      const sendUntil = chance() < 0.5 ? end.now + LEASE_MS : undefined;
      if (!await store.complete(job.id, { ...end, sendUntil })) break;
      seen.ended.push(`${job.id} ${sequence}`);
      if (chance() < 0.2) await store.heartbeat(lease(), chance() < 0.5 ? [job.id] : []);
    }
    const callback = await store.nextCallback(lease(), []);
    if (callback !== undefined) {
      const { jobId, sequence, kind, resultKey } = callback;
      if (kind === "result") expect(await store.result(resultKey ?? "", 1)).toEqual(new Uint8Array([sequence]));
      seen.sent.push(`${jobId} ${sequence}`);
      if (chance() < 0.1) lives++;
      else if (chance() < 0.2) await store.postpone(jobId, sequence, { owner, nextAt: seen.now + 50 });
      else await store.settle(jobId, sequence, { owner, now: seen.now });
    }
    if (job !== undefined || callback !== undefined) continue;
    const { queued, scanning, pending } = await store.backlog();
    if (queued + scanning + pending === 0) return;
    // Time passes for those who wait, too, and what others did has to be seen.
    seen.now += 10;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

it.skipIf(!peer("nats-server").available)(
  "P1 each image ends once, its callbacks come in order, whoever is gone",
  async () => {
    await using server = await startNatsServer();
    for (const seed of [1, 2, 3, 4, 5]) {
      const open = async (): Promise<NatsStore> => {
        const link = await NatsLink.open({ target: { servers: [server.url] }, name: "test", clock: systemClock });
        return await NatsStore.open({
          link,
          prefix: `race-${seed}`,
          replicas: undefined,
          newId: () => crypto.randomUUID(),
        });
      };
      const stores = [await open(), await open(), await open()];
      try {
        const [first] = stores as [NatsStore];
        for (let n = 0; n < JOBS; n++) await first.accept(newJob(`j${n}`, { total: IMAGES, acceptedAt: n }));
        const seen: Seen = { ended: [], sent: [], now: 1000 };
        // Those that have seen nothing yet would think that there is nothing to do.
        await Promise.all(stores.map(async (store) => {
          while ((await store.backlog()).queued < JOBS) await new Promise((resolve) => setTimeout(resolve, 1));
        }));
        await Promise.all(stores.map((store, n) => work(store, `process-${n}`, seen, chances(10 * seed + n))));
        const images = Array.from({ length: JOBS * IMAGES }, (_, at) => `j${Math.floor(at / IMAGES)} ${at % IMAGES}`);
        expect([seed, seen.ended.toSorted()]).toEqual([seed, images.toSorted()]);
        for (let n = 0; n < JOBS; n++) {
          const sequences = seen.sent.filter((one) => one.startsWith(`j${n} `)).map((one) => Number(one.split(" ")[1]));
          // Repeated, but never before the one that comes first.
          expect([seed, [...new Set(sequences)]]).toEqual([seed, [0, 1, 2, 3]]);
          expect(await first.job(`j${n}`)).toMatchObject({ state: "done", pending: 0, dead: 0 });
        }
      } finally {
        await Promise.all(stores.map((store) => store.close()));
      }
    }
  },
);
