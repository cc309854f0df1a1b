/**
 * Type `gcr`: Google Container Registry's host names, now served by Artifact Registry (registries.md §2.5).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";
import { GOOGLE_EXPIRED_HINT, GOOGLE_LIST_HINT, GOOGLE_LOGIN_HINT, googleSources } from "./google_sources.ts";

/** Locations of the repositories behind the hosts; the repositories have the hosts' names. */
const LOCATIONS: Readonly<Record<string, string>> = {
  "gcr.io": "us",
  "us.gcr.io": "us",
  "eu.gcr.io": "europe",
  "asia.gcr.io": "asia",
};

/** `gcr.io`, `us.gcr.io`, `eu.gcr.io`, `asia.gcr.io`, each `[/<project>]`. */
export const gcr: Flavour = defineFlavour({
  type: "gcr",
  title: "Google Container Registry",
  basePath: "namespace",
  sources: (context, registry) => {
    const { host } = context.endpoint;
    const location = LOCATIONS[host];
    return googleSources(context, registry, location === undefined ? undefined : { location, repository: host });
  },
  loginHint: GOOGLE_LOGIN_HINT,
  expiredHint: GOOGLE_EXPIRED_HINT,
  listHint: GOOGLE_LIST_HINT,
});
