/**
 * Type `acr`: Azure Container Registry (registries.md §2.4).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** Tags need the action metadata_read beside pull. */
export const acr: Flavour = defineFlavour({
  type: "acr",
  title: "Azure Container Registry",
  basePath: "namespace",
  tagsActions: "pull,metadata_read",
  loginHint:
    "Check CR_USERNAME and CR_PASSWORD: application ID and secret of a service principal, the admin user, or a token.",
  listHint: "Images can still be imported by name; to list, the account needs the role AcrPull " +
    "(with ABAC also Container Registry Repository Catalog Lister).",
});
