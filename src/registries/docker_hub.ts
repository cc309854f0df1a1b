/**
 * Type `docker-hub` (registries.md §2.6).
 *
 * @module
 */
import { parseBase } from "./endpoint.ts";
import { defineFlavour, type Flavour } from "./flavour.ts";

/** Names under which people write Docker Hub; the images are all at one place. */
const HUB = new Set([
  "",
  "docker.io",
  "www.docker.com",
  "index.docker.io",
  "registry-1.docker.io",
  "hub.docker.com",
  "registry.hub.docker.com",
]);
const REGISTRY = "https://registry-1.docker.io";

/** Docker Hub; another host in CR_BASE is taken as a mirror of it. Names without a namespace are official images. */
export const dockerHub: Flavour = defineFlavour({
  type: "docker-hub",
  title: "Docker Hub",
  endpoint: ({ base }) => {
    const written = base.trim();
    const given = written === "" || written === "undefined" ? undefined : parseBase(written, "namespace");
    return given !== undefined && !HUB.has(given.host) ? given : parseBase(REGISTRY, "namespace");
  },
  wireName: (_, repository) => repository.includes("/") ? repository : `library/${repository}`,
  realmHosts: ["auth.docker.io"],
  loginHint: "Check CR_USERNAME and CR_PASSWORD; use a personal access token with the right Read.",
  listHint: "Docker Hub's registry gives no list of repositories; import images by name.",
});
