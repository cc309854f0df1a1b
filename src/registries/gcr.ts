/**
 * Type `gcr`: Google Container Registry's host names, now served by Artifact Registry (registries.md §2.5).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** `gcr.io`, `us.gcr.io`, `eu.gcr.io`, `asia.gcr.io`. */
export const gcr: Flavour = defineFlavour({
  type: "gcr",
  title: "Google Container Registry",
  basePath: "namespace",
  emptyCatalogMeansUnsupported: true,
  loginHint: "Set CR_USERNAME to _json_key and CR_PASSWORD to the whole key file.",
  listHint: "This host gives no list of repositories; import images by name.",
});
