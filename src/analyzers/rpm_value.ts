/**
 * What the readers of rpm's three database formats have in common: a database is a list of header blobs.
 *
 * @module
 */
/** One entry of an rpm database. */
export interface RpmValue {
  /** Where it stands, for messages: `row 7`, `page 3, item 5`. */
  readonly place: string;
  /** The header blob; undefined when the entry holds none. */
  readonly blob: Uint8Array | undefined;
}

/** Takes the description of a damaged part that was passed over. */
export type OnDamage = (what: string) => void;
