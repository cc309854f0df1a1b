/**
 * Packages under construction: text databases state one field per line, and every bound on what a hostile one may make
 * us keep is applied here.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { OsPackage, Problem } from "../core/types.ts";

/** A package whose fields are still being read. */
export interface PackageDraft {
  name: string;
  version: string;
  source: string;
  sourceVersion: string;
  provides: string[];
  /** In order of first mention. */
  depends: Set<string>;
  autoInstalled: boolean;
  /** False when only its configuration files are left. */
  installed: boolean;
}

/** The packages of one database, with its bounds. */
export class PackageList {
  readonly #database: string;
  readonly #report: (problem: Problem) => void;
  readonly #drafts: PackageDraft[] = [];
  readonly #reported = new Set<string>();
  #relations = 0;

  constructor(database: string, report: (problem: Problem) => void) {
    this.#database = database;
    this.#report = report;
  }

  /** The package that fields belong to now. */
  get current(): PackageDraft | undefined {
    return this.#drafts.at(-1);
  }

  /** Starts a package; false when the bound on packages is hit and reading must stop. */
  start(name: string): boolean {
    if (this.#drafts.length >= LIMITS.osPackages) {
      this.limit(`more than ${LIMITS.osPackages} packages (osPackages)`);
      return false;
    }
    this.#drafts.push({
      name,
      version: "",
      source: "",
      sourceVersion: "",
      provides: [],
      depends: new Set(),
      autoInstalled: false,
      installed: true,
    });
    return true;
  }

  /** Room for one more dependency or provided name. */
  takeRelation(): boolean {
    if (this.#relations >= LIMITS.osRelations) {
      this.limit(`more than ${LIMITS.osRelations} dependencies and provided names (osRelations)`);
      return false;
    }
    this.#relations++;
    return true;
  }

  /** Reports a bound that was hit, once per bound. */
  limit(what: string): void {
    if (this.#reported.has(what)) return;
    this.#reported.add(what);
    const message = `Cannot read all of ${this.#database}: it has ${what}`;
    this.#report({ code: "LIMIT_EXCEEDED", subject: this.#database, message });
  }

  /** Marks packages that the package manager installed by itself. */
  markAutoInstalled(names: ReadonlySet<string>): void {
    for (const draft of this.#drafts) if (names.has(draft.name)) draft.autoInstalled = true;
  }

  /** The installed packages in the order of the database; those without a name are none. */
  finish(purl: (draft: PackageDraft) => string | undefined): OsPackage[] {
    return this.#drafts.filter((draft) => draft.installed && draft.name !== "").map((draft) => toPackage(draft, purl));
  }
}

function toPackage(draft: PackageDraft, purl: (draft: PackageDraft) => string | undefined): OsPackage {
  const url = purl(draft);
  return {
    name: draft.name,
    version: draft.version,
    ...(draft.source !== "" && { source: draft.source }),
    ...(draft.sourceVersion !== "" && { sourceVersion: draft.sourceVersion }),
    provides: draft.provides,
    depends: [...draft.depends],
    ...(draft.autoInstalled && { autoInstalled: true }),
    ...(url !== undefined && { purl: url }),
  };
}
