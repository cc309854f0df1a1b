/**
 * Type `google-artifact-cr`: Google Artifact Registry (registries.md §2.5).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";
import { GOOGLE_EXPIRED_HINT, GOOGLE_LIST_HINT, GOOGLE_LOGIN_HINT, googleSources } from "./google_sources.ts";

const HOST = /^([a-z0-9-]+)-docker\.pkg\.dev$/;

/** `<location>-docker.pkg.dev[/<project>[/<repository>]]`. */
export const googleArtifact: Flavour = defineFlavour({
  type: "google-artifact-cr",
  title: "Google Artifact Registry",
  basePath: "namespace",
  sources: (context, registry) => {
    const location = HOST.exec(context.endpoint.host)?.[1];
    return googleSources(context, registry, location === undefined ? undefined : { location });
  },
  loginHint: GOOGLE_LOGIN_HINT,
  expiredHint: GOOGLE_EXPIRED_HINT,
  listHint: GOOGLE_LIST_HINT,
});
