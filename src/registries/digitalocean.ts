/**
 * Type `digitalocean-cr` (registries.md §2.10).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** `registry.digitalocean.com[/<registry>]`; CR_TOKEN is user name and password. */
export const digitalocean: Flavour = defineFlavour({
  type: "digitalocean-cr",
  title: "DigitalOcean Container Registry",
  basePath: "namespace",
  loginHint: "Check CR_TOKEN: an API token that may read the registry.",
});
