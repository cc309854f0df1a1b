/**
 * Type `harbor-cr` (registries.md §2.3).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** Harbor answers HTTP Basic everywhere, and its catalog nothing else. */
export const harbor: Flavour = defineFlavour({
  type: "harbor-cr",
  title: "Harbor",
  basePath: "namespace",
  preferBasic: true,
  loginHint: "Check CR_USERNAME and CR_PASSWORD; robot names contain a $, which shells replace unless it is quoted; " +
    "users of single sign-on use their CLI secret.",
  listHint: "Images can still be imported by name; Harbor shows its catalog to system administrators only.",
});
