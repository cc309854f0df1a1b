/**
 * Type `ecr`: Amazon Elastic Container Registry (registries.md §2.12).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { defineFlavour, type Flavour } from "./flavour.ts";

/** Its logins come from AWS' own APIs, which are not called yet: opening it says so. */
export const ecr: Flavour = defineFlavour({
  type: "ecr",
  title: "Amazon ECR",
  endpoint: () => {
    throw new OutpostError("CONFIG_INVALID", "Cannot open the registry: type ecr is not supported yet", {
      hint: "Use type oci with CR_BASE=<account>.dkr.ecr.<region>.amazonaws.com, CR_USERNAME=AWS and a password from " +
        "aws ecr get-login-password, which is valid for 12 hours.",
    });
  },
});
