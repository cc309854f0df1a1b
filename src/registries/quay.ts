/**
 * Type `quay-cr` (registries.md §2.7).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** Quay refuses a token request with a catalog scope; a token without scope lists what the account may see. */
export const quay: Flavour = defineFlavour({
  type: "quay-cr",
  title: "Quay",
  basePath: "namespace",
  catalogScope: undefined,
  tagsPageSize: 100,
  loginHint: "Check CR_USERNAME and CR_PASSWORD; use a robot account (namespace+robot) and its token.",
});
