/**
 * The database's shape: numbered steps, each run once, in order. A step that was released is never changed.
 *
 * @module
 */

/** Step n brings a database from version n to n + 1 (`PRAGMA user_version`). */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    request_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    total INTEGER NOT NULL,
    closing INTEGER NOT NULL,
    request TEXT NOT NULL,
    credentials BLOB NOT NULL,
    position INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    accepted_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_until INTEGER NOT NULL DEFAULT 0,
    error TEXT
  ) STRICT;
  CREATE INDEX jobs_by_state ON jobs (state, accepted_at);
  CREATE INDEX jobs_by_request ON jobs (request_id);
  CREATE TABLE callbacks (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    result_key TEXT,
    payload TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    ended_at INTEGER,
    error TEXT,
    PRIMARY KEY (job_id, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX callbacks_due ON callbacks (next_at) WHERE state = 'pending';
  CREATE INDEX callbacks_by_result ON callbacks (result_key) WHERE result_key IS NOT NULL;
  CREATE TABLE results (
    key TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    body BLOB NOT NULL
  ) STRICT;
  CREATE INDEX results_by_use ON results (used_at, bytes);
  `,
];
