/**
 * Repository lists that vendors keep by owner (organization, group, namespace): read one after the other.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { FlavourContext } from "./flavour.ts";
import { type Listing, REFUSED } from "./first_listing.ts";

/** An owner and its list, not yet started. */
export interface OwnedListing {
  /** For the log. */
  readonly owner: string;
  readonly list: Listing<string>;
}

/** The owners that the configuration names: the one in CR_BASE, else those of CR_NAMESPACES; lower case, each once. */
export function namedOwners({ endpoint, namespaces }: FlavourContext): readonly string[] {
  const named = endpoint.namePrefix === "" ? namespaces : [endpoint.namePrefix];
  const cleaned = named.map((name) => name.trim().replace(/^\/+|\/+$/g, "").toLowerCase());
  return [...new Set(cleaned)].filter((name) => name !== "");
}

/**
 * The pages of all owners, each name once. An owner whose list is refused, or who does not exist, is passed over with a
 * warning, so that one wrong name does not hide the others; when that happens to all of them, the first refusal is thrown.
 * A list that breaks off after its first page fails the whole: names would be missing without anybody knowing.
 *
 * @throws {OutpostError} as above, and for reasons that concern more than one owner.
 */
export async function* listByOwner(
  { endpoint, logger }: FlavourContext,
  owners: Iterable<OwnedListing> | AsyncIterable<OwnedListing>,
): AsyncGenerator<readonly string[], void, void> {
  const seen = new Set<string>();
  let refusal: OutpostError | undefined;
  let listed = false;
  for await (const { owner, list } of owners) {
    let begun = false;
    try {
      for await (const page of list()) {
        begun = true;
        const fresh = page.filter((name) => !seen.has(name));
        for (const name of fresh) seen.add(name);
        if (fresh.length > 0) yield fresh;
      }
      listed = true;
    } catch (error) {
      if (begun || !(error instanceof OutpostError) || !REFUSED.has(error.code)) throw error;
      refusal ??= error;
      logger.warn("The repositories of an owner cannot be listed", { host: endpoint.host, owner, code: error.code });
    }
  }
  if (!listed && refusal !== undefined) throw refusal;
}
