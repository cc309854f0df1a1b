/**
 * Type `nexus-cr`: Sonatype Nexus Repository (registries.md §2.8).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** A connector port, or `host/repository/<repository>` on the main port. */
export const nexus: Flavour = defineFlavour({
  type: "nexus-cr",
  title: "Nexus",
  preferBasic: true,
  listHint:
    "Images can still be imported by name; listing needs nx-repository-view-docker-<repository>-browse and -read.",
  baseHint: "Write CR_BASE as host:port of the repository's connector, or as host/repository/<repository>.",
});
