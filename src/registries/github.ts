/**
 * Type `github-cr`: GitHub's container registry (registries.md §2.9).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** `ghcr.io[/<owner>]`. */
export const github: Flavour = defineFlavour({
  type: "github-cr",
  title: "GitHub Container Registry",
  basePath: "namespace",
  loginHint:
    "Use a classic personal access token with read:packages, authorised for single sign-on where that is used; " +
    "fine-grained tokens do not work.",
  listHint: "GitHub's registry gives no list of repositories; import images by name.",
});
