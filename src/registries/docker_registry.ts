/**
 * Type `docker-registry`: the distribution project's own server (registries.md §2.1).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** `docker-registry` 2.x and 3.x, open, with htpasswd, or with a token server. */
export const dockerRegistry: Flavour = defineFlavour({
  type: "docker-registry",
  title: "Docker Registry",
  // 2.x sends all tags at once, 3.x always a Link.
  tagsLastMarker: false,
  listHint: "Images can still be imported by name; with a token server, grant registry:catalog:* to the account.",
});
