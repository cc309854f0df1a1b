/**
 * Type `google-artifact-cr`: Google Artifact Registry (registries.md §2.5).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** `<location>-docker.pkg.dev[/<project>/<repository>]`. Its catalog is empty whatever it holds. */
export const googleArtifact: Flavour = defineFlavour({
  type: "google-artifact-cr",
  title: "Google Artifact Registry",
  basePath: "namespace",
  emptyCatalogMeansUnsupported: true,
  loginHint: "Set CR_USERNAME to _json_key and CR_PASSWORD to the whole key file.",
  listHint: "This host gives no list of repositories; import images by name.",
});
