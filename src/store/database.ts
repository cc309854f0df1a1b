/**
 * One SQLite database of this process alone: opened, locked, checked, migrated; writes in groups where somebody waits for
 * the disk.
 *
 * node:sqlite answers on the event loop's own thread, so every wait for the disk is a pause of everything. What an
 * acknowledgement depends on is therefore committed with `synchronous=FULL` in groups, one wait for all that came in one
 * turn of the event loop; the rest with `synchronous=NORMAL`, which does not wait (sqlite.org/pragma.html#pragma_synchronous).
 *
 * @module
 */
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from "node:sqlite";
import { OutpostError } from "../core/errors.ts";
import { MIGRATIONS } from "./migrations.ts";

/** `PRAGMA application_id`: "OPst". Another number means somebody else's database. */
const APPLICATION_ID = 0x4f507374;

/** SQLite's primary result codes (sqlite.org/rescode.html). */
const CODE = { busy: 5, locked: 6, readOnly: 8, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 };

/** Options of {@link Database}. */
export interface DatabaseOptions {
  /** Path of the file; it is made when there is none. */
  readonly path: string;
  /** Runs a function in a later turn of the event loop. */
  readonly defer: (run: () => void) => void;
  /** Told how long each transaction took. */
  readonly onWrite?: ((milliseconds: number) => void) | undefined;
  /** Told when writing begins to fail, and when it works again. */
  readonly onFull?: ((full: boolean) => void) | undefined;
  /** Milliseconds, for `onWrite`. */
  readonly now: () => number;
  /** The numbered steps. @default the released ones */
  readonly migrations?: readonly string[] | undefined;
}

/** A row as it comes. */
export type Row = Record<string, SQLOutputValue>;

interface Waiting {
  readonly work: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** An open database. */
export class Database {
  readonly #options: DatabaseOptions;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #waiting: Waiting[] = [];
  #synchronous: "FULL" | "NORMAL" = "FULL";
  #full = false;
  #closed = false;

  /**
   * Opens the database.
   *
   * @throws {OutpostError} STORE_UNUSABLE, with advice, when another process has it, when it is damaged, of a newer
   * version or not ours, or cannot be opened.
   */
  constructor(options: DatabaseOptions) {
    this.#options = options;
    this.#db = open(options.path);
    try {
      this.#prepare();
    } catch (error) {
      this.#db.close();
      // What reads say of a disk that fails for now: nothing has been opened that could go on.
      const unavailable = error instanceof OutpostError && error.code === "STORE_UNAVAILABLE";
      throw unusable(options.path, unavailable ? error.cause : error);
    }
  }

  /** Runs a statement that answers rows. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#read(() => this.#statement(sql).all(...values) as Row[]);
  }

  /** Runs a statement that answers at most one row. */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#read(() => this.#statement(sql).get(...values) as Row | undefined);
  }

  /** Runs a statement; answers the number of rows that it changed. Inside {@link durable} or {@link lazy} only. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  /** Runs `work` in a transaction that is on disk when the promise resolves. `work` may be run once only, and not wait. */
  durable<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve: resolve as (value: unknown) => void, reject });
      if (this.#waiting.length === 1) this.#options.defer(() => this.#flush());
    });
  }

  /** Runs `work` in a transaction at once, without a wait for the disk. */
  async lazy<T>(work: () => T): Promise<T> {
    return await Promise.resolve(this.#transaction("NORMAL", work));
  }

  /** Commits what waits and closes. */
  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#statements.clear();
    this.#db.close();
  }

  #flush(): void {
    const group = this.#waiting;
    this.#waiting = [];
    if (group.length === 0 || this.#closed) return;
    const ends: (() => void)[] = [];
    try {
      this.#transaction("FULL", () => {
        for (const { work, resolve, reject } of group) {
          const end = this.#one(work);
          ends.push("value" in end ? () => resolve(end.value) : () => reject(end.error));
        }
      });
    } catch (error) {
      for (const { reject } of group) reject(error);
      return;
    }
    for (const end of ends) end();
  }

  /** One of a group: its own failure takes back its own changes and leaves the others theirs. */
  #one(work: () => unknown): { readonly value: unknown } | { readonly error: unknown } {
    this.#db.exec("SAVEPOINT one");
    try {
      const value = work();
      this.#db.exec("RELEASE one");
      return { value };
    } catch (error) {
      if (!(error instanceof OutpostError)) throw error;
      this.#db.exec("ROLLBACK TO one; RELEASE one");
      return { error };
    }
  }

  #transaction<T>(synchronous: "FULL" | "NORMAL", work: () => T): T {
    const startedAt = this.#options.now();
    try {
      if (this.#closed) throw new OutpostError("STORE_UNAVAILABLE", "Cannot write to the store: it is closed");
      if (this.#synchronous !== synchronous) this.#db.exec(`PRAGMA synchronous=${synchronous}`);
      this.#synchronous = synchronous;
      this.#db.exec("BEGIN IMMEDIATE");
      const value = work();
      this.#db.exec("COMMIT");
      this.#setFull(false);
      return value;
    } catch (error) {
      this.#rollBack();
      throw this.#explain(error);
    } finally {
      this.#options.onWrite?.(this.#options.now() - startedAt);
    }
  }

  #rollBack(): void {
    try {
      this.#db.exec("ROLLBACK");
    } catch {
      // SQLite has rolled back by itself, which it does for a full disk and for I/O errors.
    }
  }

  #read<T>(query: () => T): T {
    try {
      return query();
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #explain(error: unknown): unknown {
    const code = primaryCode(error);
    if (code === undefined) return error;
    const { path } = this.#options;
    if (code === CODE.corrupt || code === CODE.notADatabase) return damaged(path, error);
    if (code !== CODE.full && code !== CODE.ioError && code !== CODE.readOnly && code !== CODE.cannotOpen) return error;
    this.#setFull(true);
    const why = code === CODE.full ? "the disk is full" : "the disk does not take it";
    return new OutpostError("STORE_UNAVAILABLE", `Cannot write to the store ${path}: ${why}`, {
      hint: "Make room on the disk of OUTPOST_DATA_DIR; no restart is needed.",
      cause: error,
    });
  }

  #setFull(full: boolean): void {
    if (this.#full !== full) this.#options.onFull?.(full);
    this.#full = full;
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #prepare(): void {
    // An exclusive lock needs no shared-memory file, and is let go by the system when the process ends, however it ends.
    this.#db.exec("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT");
    const id = this.#pragma("application_id");
    const version = this.#pragma("user_version");
    const { migrations = MIGRATIONS, path } = this.#options;
    const isNew = id === 0 && version === 0 && this.get("SELECT count(*) AS n FROM sqlite_schema")?.["n"] === 0;
    if (!isNew && id !== APPLICATION_ID) throw notOurs(path);
    if (version > migrations.length) throw fromTheFuture(path, version, migrations.length);
    if (isNew) this.#db.exec(`PRAGMA auto_vacuum=INCREMENTAL; PRAGMA application_id=${APPLICATION_ID}`);
    this.#db.exec("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-1024");
    const check = this.get("PRAGMA quick_check(1)")?.["quick_check"];
    if (check !== "ok") throw damaged(path, new Error(String(check)));
    for (const [step, sql] of migrations.entries()) {
      if (step >= version) this.#db.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version=${step + 1}; COMMIT`);
    }
  }

  #pragma(name: string): number {
    return Number(this.get(`PRAGMA ${name}`)?.[name] ?? 0);
  }
}

function open(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { timeout: 0 });
  } catch (error) {
    throw unusable(path, error);
  }
}

/** SQLite's own words for some codes (`sqlite3_errstr`): Deno gives statements' errors a code, others only these. */
const WORDS: readonly (readonly [string, number])[] = [
  ["database is locked", CODE.busy],
  ["file is not a database", CODE.notADatabase],
  ["disk image is malformed", CODE.corrupt],
  ["database or disk is full", CODE.full],
  ["disk I/O error", CODE.ioError],
  ["readonly database", CODE.readOnly],
  ["unable to open database", CODE.cannotOpen],
];

/** The primary result code of an error of SQLite; undefined for any other. */
function primaryCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("code" in error) || error.code !== "ERR_SQLITE_ERROR") return undefined;
  if ("errcode" in error && typeof error.errcode === "number") return error.errcode & 0xff;
  return WORDS.find(([words]) => error.message.includes(words))?.[1] ?? 1;
}

function unusable(path: string, error: unknown): unknown {
  const code = primaryCode(error);
  if (error instanceof OutpostError) return error;
  if (code === CODE.busy || code === CODE.locked) {
    return new OutpostError("STORE_UNUSABLE", `Cannot open the store ${path}: another Outpost process uses it`, {
      hint: "One data directory serves one daemon: stop the other, or set OUTPOST_DATA_DIR to another directory.",
      cause: error,
    });
  }
  if (code === CODE.corrupt || code === CODE.notADatabase) return damaged(path, error);
  const why = code === CODE.full ? "the disk is full" : "it cannot be read and written";
  return new OutpostError("STORE_UNUSABLE", `Cannot open the store ${path}: ${why}`, {
    hint:
      "OUTPOST_DATA_DIR has to be a directory that this user may write, with room on its disk, and that the process is allowed to (deno run --allow-write=DIR).",
    cause: error,
  });
}

function damaged(path: string, cause: unknown): OutpostError {
  return new OutpostError("STORE_UNUSABLE", `Cannot use the store ${path}: the database is damaged`, {
    hint:
      "Nothing was changed. Restore the file from a backup, or recover it (sqlite3 state.db .recover | sqlite3 new.db), or move it away to start empty: scans that it holds are then lost and have to be asked for again.",
    cause,
  });
}

function notOurs(path: string): OutpostError {
  return new OutpostError("STORE_UNUSABLE", `Cannot use the store ${path}: it is a database of another program`, {
    hint: "Set OUTPOST_DATA_DIR to a directory of its own.",
  });
}

function fromTheFuture(path: string, version: number, known: number): OutpostError {
  return new OutpostError(
    "STORE_UNUSABLE",
    `Cannot use the store ${path}: it has version ${version}, and this Outpost knows versions up to ${known}`,
    { hint: "A newer Outpost wrote it: run that one, or set OUTPOST_DATA_DIR to another directory." },
  );
}
