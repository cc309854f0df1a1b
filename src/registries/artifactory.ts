/**
 * Type `artifactory-cr`: JFrog Artifactory (registries.md §2.2).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** CR_BASE is `host/artifactory/api/docker/<repository>`, or a host (or port) of its own per repository. */
export const artifactory: Flavour = defineFlavour({
  type: "artifactory-cr",
  title: "Artifactory",
  preferBasic: true,
  loginHint: "Check CR_USERNAME and CR_PASSWORD; with single sign-on use an access token or an identity token.",
  listHint: "Images can still be imported by name; listing needs the right Read, in older versions a privileged user.",
  baseHint: "Write CR_BASE as host/artifactory/api/docker/<repository>.",
});
