// deno-lint-ignore-file require-await -- the port's methods reject instead of throwing
/**
 * Jobs, callbacks and results in SQLite.
 *
 * @module
 */
import type {
  Accepted,
  Backlog,
  CompletedTarget,
  HeldJob,
  JobDetail,
  JobFilter,
  JobState,
  JobSummary,
  Lease,
  LeasedJob,
  NewJob,
  PendingCallback,
  Retention,
  Store,
  StoredError,
} from "../core/store.ts";
import { Database, type DatabaseOptions } from "./database.ts";
import { busy, finalState } from "./job_rules.ts";
import { bytes, callbackSummary, count, leased, optional, summary, text, totals } from "./rows.ts";

const SUMMARY = `SELECT j.*,
  (SELECT count(*) FROM callbacks c WHERE c.job_id = j.id AND c.state = 'pending') AS pending,
  (SELECT count(*) FROM callbacks c WHERE c.job_id = j.id AND c.state = 'dead') AS dead,
  (SELECT count(*) FROM callbacks c WHERE c.job_id = j.id AND c.outcome = 'success' AND c.state <> 'dead') AS succeeded,
  (SELECT count(*) FROM callbacks c WHERE c.job_id = j.id AND c.outcome = 'partial' AND c.state <> 'dead') AS partly,
  (SELECT count(*) FROM callbacks c WHERE c.job_id = j.id AND c.kind = 'result'
    AND (c.outcome = 'error' OR c.state = 'dead')) AS failed
  FROM jobs j`;

/** The first of each job that is not delivered, when its time has come. */
const DUE = `SELECT c.*, j.request_id, j.request FROM callbacks c JOIN jobs j ON j.id = c.job_id
  WHERE c.state = 'pending' AND c.next_at <= ?
    AND c.job_id NOT IN (SELECT value FROM json_each(?))
    AND NOT EXISTS (SELECT 1 FROM callbacks e WHERE e.job_id = c.job_id AND e.state = 'pending' AND e.sequence < c.sequence)
  ORDER BY c.next_at, c.created_at LIMIT 1`;

const CLAIM = `SELECT * FROM jobs WHERE state IN ('queued', 'scanning') AND lease_until <= ?1
  AND (not_before <= ?1 OR cancelled = 1) ORDER BY cancelled DESC, accepted_at, rowid LIMIT 1`;

/** A {@link Store} in a file. */
export class SqliteStore implements Store {
  readonly durable = true;
  readonly shared = false;
  readonly #db: Database;
  /**
   * Leases of callbacks, by job: of the first that is pending, since no other is handed out. They are of this process,
   * which has the database alone, so that a full disk does not keep callbacks from being sent.
   */
  readonly #sending = new Map<string, { readonly sequence: number; readonly owner: string; readonly until: number }>();

  /**
   * Opens the store; leases of processes that ended are let go, since this one alone has the database.
   *
   * @throws {OutpostError} STORE_UNUSABLE, with advice.
   */
  constructor(options: DatabaseOptions) {
    this.#db = new Database(options);
    void this.#db.lazy(() => this.#db.run("UPDATE jobs SET lease_owner = NULL, lease_until = 0 WHERE lease_until > 0"))
      .catch(() => {});
  }

  accept(job: NewJob): Promise<Accepted> {
    return this.#db.durable(() => {
      const known = this.#db.get(
        "SELECT id FROM jobs WHERE request_id = ? AND kind = ? AND request = ?",
        job.requestId,
        job.kind,
        job.request,
      );
      if (known !== undefined) return { id: text(known["id"]), duplicate: true };
      const waiting = count(this.#db.get("SELECT count(*) AS n FROM jobs WHERE state = 'queued'")?.["n"]);
      if (waiting >= job.maxQueued) throw busy(waiting);
      this.#db.run(
        `INSERT INTO jobs (id, request_id, kind, state, total, closing, request, credentials, accepted_at, updated_at)
         VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?)`,
        job.id,
        job.requestId,
        job.kind,
        job.total,
        job.closing ? 1 : 0,
        job.request,
        job.credentials,
        job.acceptedAt,
        job.acceptedAt,
      );
      return { id: job.id, duplicate: false };
    });
  }

  claim({ owner, now, until }: Lease): Promise<LeasedJob | undefined> {
    return this.#db.lazy(() => {
      const row = this.#db.get(CLAIM, now);
      if (row === undefined) return undefined;
      this.#db.run(
        `UPDATE jobs SET state = 'scanning', attempts = attempts + 1, lease_owner = ?, lease_until = ?, updated_at = ?
         WHERE id = ?`,
        owner,
        until,
        now,
        text(row["id"]),
      );
      return { ...leased(row), attempts: count(row["attempts"]) + 1 };
    });
  }

  async heartbeat({ owner, until }: Lease): Promise<void> {
    for (const [id, held] of this.#sending) if (held.owner === owner) this.#sending.set(id, { ...held, until });
    await this.#db.lazy(() => this.#db.run("UPDATE jobs SET lease_until = ? WHERE lease_owner = ?", until, owner));
  }

  async held(owner: string): Promise<readonly HeldJob[]> {
    return this.#db.all("SELECT id, cancelled FROM jobs WHERE lease_owner = ?", owner)
      .map((row) => ({ id: text(row["id"]), cancelled: row["cancelled"] === 1 }));
  }

  async defer(
    id: string,
    { owner, notBefore, now, error }: {
      readonly owner: string;
      readonly notBefore: number;
      readonly now: number;
      readonly error: StoredError;
    },
  ): Promise<void> {
    await this.#db.lazy(() =>
      this.#db.run(
        `UPDATE jobs SET state = 'queued', not_before = ?, error = ?, updated_at = ?, lease_owner = NULL, lease_until = 0
         WHERE id = ? AND state = 'scanning' AND lease_owner = ?`,
        notBefore,
        JSON.stringify(error),
        now,
        id,
        owner,
      )
    );
  }

  async release(id: string, { owner, now }: { readonly owner: string; readonly now: number }): Promise<void> {
    await this.#db.lazy(() =>
      this.#db.run(
        `UPDATE jobs SET state = 'queued', attempts = max(0, attempts - 1), updated_at = ?, lease_owner = NULL, lease_until = 0
         WHERE id = ? AND state = 'scanning' AND lease_owner = ?`,
        now,
        id,
        owner,
      )
    );
  }

  complete(id: string, target: CompletedTarget): Promise<boolean> {
    return this.#db.durable(() => {
      const job = this.#db.get("SELECT * FROM jobs WHERE id = ?", id);
      const { owner, now, resultKey, result } = target;
      if (job === undefined || job["state"] !== "scanning" || job["position"] !== target.sequence) return false;
      if (job["lease_owner"] !== owner) return false;
      if (resultKey !== undefined && result !== undefined) {
        this.#db.run(
          "INSERT OR REPLACE INTO results (key, bytes, used_at, body) VALUES (?, ?, ?, ?)",
          resultKey,
          result.length,
          now,
          result,
        );
      }
      this.#addCallback(id, target.sequence, "result", target);
      const last = target.sequence + 1 === job["total"];
      this.#db.run(
        "UPDATE jobs SET position = ?, attempts = 1, error = NULL, not_before = 0, updated_at = ? WHERE id = ?",
        target.sequence + 1,
        now,
        id,
      );
      if (last) this.#report(id, target.sequence + 1, job["closing"] === 1, now);
      return true;
    });
  }

  #report(id: string, sequence: number, closing: boolean, now: number): void {
    this.#db.run(
      `UPDATE jobs SET state = 'reporting', lease_owner = NULL, lease_until = 0, attempts = 0,
         credentials = CASE substr(credentials, 1, 1) WHEN x'01' THEN x'' ELSE credentials END WHERE id = ?`,
      id,
    );
    if (closing) this.#addCallback(id, sequence, "closing", { now });
  }

  #addCallback(
    id: string,
    sequence: number,
    kind: "result" | "closing",
    { outcome, resultKey, error, now }: Partial<CompletedTarget> & { readonly now: number },
  ): void {
    this.#db.run(
      `INSERT INTO callbacks (job_id, sequence, kind, state, outcome, result_key, payload, created_at, next_at)
       VALUES (?, ?, ?, 'pending', ?, ?, ?, ?, ?)`,
      id,
      sequence,
      kind,
      outcome ?? null,
      resultKey ?? null,
      error ?? null,
      now,
      now,
    );
  }

  async nextCallback({ owner, now, until }: Lease, except: readonly string[]): Promise<PendingCallback | undefined> {
    const others = [...this.#sending].filter(([, held]) => held.owner !== owner && held.until > now).map(([id]) => id);
    const row = this.#db.get(DUE, now, JSON.stringify([...except, ...others]));
    if (row === undefined) return undefined;
    this.#sending.set(text(row["job_id"]), { sequence: count(row["sequence"]), owner, until });
    const jobId = text(row["job_id"]);
    return {
      jobId,
      requestId: text(row["request_id"]),
      sequence: count(row["sequence"]),
      kind: row["kind"] === "closing" ? "closing" : "result",
      request: text(row["request"]),
      resultKey: optional(row["result_key"]),
      error: optional(row["payload"]),
      attempts: count(row["attempts"]),
      createdAt: count(row["created_at"]),
      totals: totals(this.#db.get(`${SUMMARY} WHERE j.id = ?`, jobId)),
    };
  }

  async result(key: string, now: number): Promise<Uint8Array | undefined> {
    const body = this.#db.get("SELECT body FROM results WHERE key = ?", key)?.["body"];
    if (!(body instanceof Uint8Array)) return undefined;
    // That it was used is worth no failure: a full disk must not keep results from being delivered.
    await this.#db.lazy(() => this.#db.run("UPDATE results SET used_at = ? WHERE key = ?", now, key)).catch(() => {});
    return body;
  }

  async hasResults(prefix: string): Promise<boolean> {
    return this.#db.get("SELECT 1 FROM results WHERE key >= ? AND key < ? LIMIT 1", prefix, `${prefix}\uffff`) !==
      undefined;
  }

  async postpone(
    jobId: string,
    sequence: number,
    { owner, nextAt }: { readonly owner: string; readonly nextAt: number },
  ): Promise<void> {
    if (this.#isAnothers(jobId, sequence, owner)) return;
    await this.#db.lazy(() =>
      this.#db.run(
        "UPDATE callbacks SET attempts = attempts + 1, next_at = ? WHERE job_id = ? AND sequence = ? AND state = 'pending'",
        nextAt,
        jobId,
        sequence,
      )
    );
    this.#letGo(jobId, sequence);
  }

  async settle(
    jobId: string,
    sequence: number,
    { owner, now, error }: {
      readonly owner: string;
      readonly now: number;
      readonly error?: StoredError | undefined;
    },
  ): Promise<JobState> {
    const ends = error === undefined || !this.#isAnothers(jobId, sequence, owner);
    const state = await this.#db.lazy(() => {
      if (ends) this.#endCallback(jobId, sequence, now, error);
      const job = this.#db.get(`${SUMMARY} WHERE j.id = ?`, jobId);
      const state = text(job?.["state"]) as JobState;
      if (state !== "reporting" || count(job?.["pending"]) > 0) return state;
      const end = finalState(totals(job), count(job?.["total"]), count(job?.["dead"]));
      this.#db.run("UPDATE jobs SET state = ?, updated_at = ? WHERE id = ?", end, now, jobId);
      return end;
    });
    if (ends) this.#letGo(jobId, sequence);
    return state;
  }

  #endCallback(jobId: string, sequence: number, now: number, error: StoredError | undefined): void {
    this.#db.run(
      `UPDATE callbacks SET state = ?, ended_at = ?, error = ? WHERE job_id = ? AND sequence = ? AND state = 'pending'`,
      error === undefined ? "delivered" : "dead",
      now,
      error === undefined ? null : JSON.stringify(error),
      jobId,
      sequence,
    );
  }

  #isAnothers(jobId: string, sequence: number, owner: string): boolean {
    const held = this.#sending.get(jobId);
    return held?.sequence === sequence && held.owner !== owner;
  }

  #letGo(jobId: string, sequence: number): void {
    if (this.#sending.get(jobId)?.sequence === sequence) this.#sending.delete(jobId);
  }

  cancel(id: string, now: number): Promise<JobState | undefined> {
    return this.#db.durable(() => {
      const state = this.#db.get("SELECT state FROM jobs WHERE id = ?", id)?.["state"];
      this.#db.run(
        "UPDATE jobs SET cancelled = 1, updated_at = ? WHERE id = ? AND state IN ('queued', 'scanning')",
        now,
        id,
      );
      return state === undefined ? undefined : text(state) as JobState;
    });
  }

  resend(id: string, now: number): Promise<number> {
    return this.#db.durable(() => {
      const changed = this.#db.run(
        `UPDATE callbacks SET state = 'pending', attempts = 0, created_at = ?, next_at = ?, ended_at = NULL, error = NULL
         WHERE job_id = ? AND state = 'dead'`,
        now,
        now,
        id,
      );
      if (changed > 0) {
        this.#db.run(
          "UPDATE jobs SET state = 'reporting', updated_at = ? WHERE id = ? AND state IN ('done', 'partial', 'failed')",
          now,
          id,
        );
      }
      return changed;
    });
  }

  async list({ state, limit }: JobFilter): Promise<readonly JobSummary[]> {
    const rows = state === undefined
      ? this.#db.all(`${SUMMARY} ORDER BY j.accepted_at DESC, j.rowid DESC LIMIT ?`, limit)
      : this.#db.all(`${SUMMARY} WHERE j.state = ? ORDER BY j.accepted_at DESC, j.rowid DESC LIMIT ?`, state, limit);
    return rows.map(summary);
  }

  async job(id: string): Promise<JobDetail | undefined> {
    const row = this.#db.get(`${SUMMARY} WHERE j.id = ?`, id);
    if (row === undefined) return undefined;
    const callbacks = this.#db.all("SELECT * FROM callbacks WHERE job_id = ? ORDER BY sequence", id).map(
      callbackSummary,
    );
    return { ...summary(row), request: text(row["request"]), credentials: bytes(row["credentials"]), callbacks };
  }

  async backlog(): Promise<Backlog> {
    const row = this.#db.get(`SELECT
      (SELECT count(*) FROM jobs WHERE state = 'queued') AS queued,
      (SELECT count(*) FROM jobs WHERE state = 'scanning') AS scanning,
      (SELECT count(*) FROM callbacks WHERE state = 'pending') AS pending,
      (SELECT coalesce(sum(bytes), 0) FROM results WHERE key IN
        (SELECT result_key FROM callbacks WHERE state = 'pending' AND result_key IS NOT NULL)) AS bytes`);
    return {
      queued: count(row?.["queued"]),
      scanning: count(row?.["scanning"]),
      pending: count(row?.["pending"]),
      pendingBytes: count(row?.["bytes"]),
    };
  }

  async nextDue(now: number): Promise<number | undefined> {
    const at = this.#db.get(
      `SELECT min(t) AS t FROM (
        SELECT min(max(not_before, lease_until)) AS t FROM jobs WHERE state IN ('queued', 'scanning') AND max(not_before, lease_until) > ?1
        UNION ALL SELECT min(next_at) FROM callbacks WHERE state = 'pending' AND next_at > ?1)`,
      now,
    )?.["t"];
    const leases = [...this.#sending.values()].map(({ until }) => until).filter((until) => until > now);
    const next = leases.reduce((a, b) => Math.min(a, b), typeof at === "number" ? at : Infinity);
    return Number.isFinite(next) ? next : undefined;
  }

  async purge({ before, maxBytes }: Retention): Promise<number> {
    const removed = await this.#db.lazy(() => {
      const jobs = this.#db.run(
        "DELETE FROM jobs WHERE state IN ('done', 'partial', 'failed') AND updated_at < ?",
        before,
      );
      const unused =
        `key NOT IN (SELECT result_key FROM callbacks WHERE state <> 'delivered' AND result_key IS NOT NULL)`;
      this.#db.run(`DELETE FROM results WHERE used_at < ? AND ${unused}`, before);
      const total = count(this.#db.get("SELECT coalesce(sum(bytes), 0) AS n FROM results")?.["n"]);
      let over = total - maxBytes;
      const oldest = over > 0
        ? this.#db.all(`SELECT key, bytes FROM results WHERE ${unused} ORDER BY used_at, key`)
        : [];
      for (const row of oldest) {
        if (over <= 0) break;
        over -= count(row["bytes"]);
        this.#db.run("DELETE FROM results WHERE key = ?", text(row["key"]));
      }
      return jobs;
    });
    this.#db.all("PRAGMA incremental_vacuum(2000)");
    return removed;
  }

  close(): void {
    this.#db.close();
  }
}
