/**
 * Type `oci`: any registry of the OCI distribution specification, zot, Gitea, Forgejo and Pulp among them.
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** The plain behaviour. */
export const oci: Flavour = defineFlavour({ type: "oci", title: "The registry" });
