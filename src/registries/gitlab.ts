/**
 * Type `gitlab-cr`: GitLab's container registry (registries.md §2.11).
 *
 * @module
 */
import { defineFlavour, type Flavour } from "./flavour.ts";

/** `registry.gitlab.com`, `registry.<host>` or `<host>:5050`, with or without a group. */
export const gitlab: Flavour = defineFlavour({
  type: "gitlab-cr",
  title: "GitLab Container Registry",
  basePath: "namespace",
  loginHint: "Use a personal, group or project access token, or a deploy token, with read_registry.",
  listHint: "GitLab shows its catalog to instance administrators only; import images by name.",
});
