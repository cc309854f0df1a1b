/**
 * Type `artifactory-cr`: JFrog Artifactory (registries.md §2.2).
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { RegistryCredentials } from "../core/ports.ts";
import { Artifactory } from "./artifactory_api.ts";
import { type Endpoint, parseBase } from "./endpoint.ts";
import { firstListing } from "./first_listing.ts";
import {
  type CatalogSource,
  defineFlavour,
  type Flavour,
  type FlavourContext,
  type RegistryCalls,
  type TagSource,
} from "./flavour.ts";
import { jwtSubject } from "./jwt.ts";
import { fixedLogin, type LoginSource } from "./login.ts";

/**
 * Three ways to a Docker repository of Artifactory, told by CR_BASE:
 *
 * - `host/artifactory/api/docker/<repository>`: that repository; works whatever stands before Artifactory.
 * - `<repository>.host` or `host:port`: a name or port per repository, set up in the proxy.
 * - `host/artifactory` or `host/<repository>`: the repository is the first part of the image's name (`/v2/<repository>/…`);
 *   without one, all Docker repositories of the instance are listed.
 *
 * HTTP Basic everywhere, which takes passwords, API keys, identity and access tokens.
 */
export const artifactory: Flavour = defineFlavour({
  type: "artifactory-cr",
  title: "Artifactory",
  endpoint: ({ base }) => endpointOf(base),
  preferBasic: true,
  login: ({ credentials }) => login(credentials),
  sources: (context, registry) => {
    const api = new Artifactory({ context, registry, contextPath: contextPathOf(context.endpoint) });
    const place = placeOf(context);
    return {
      catalog: catalogSource(api, place, context, registry),
      tags: tagSource(api, place, context.endpoint, registry),
    };
  },
  loginHint:
    "Check CR_USERNAME and CR_PASSWORD; with single sign-on use an access token or an identity token, with its owner " +
    "as the user name.",
  expiredHint: "Make a new access token, identity token or API key, and set CR_PASSWORD (or CR_TOKEN).",
  listHint: "Images can still be imported by name; listing needs the right Read, in older versions a privileged user.",
  baseHint: "Write CR_BASE as host/artifactory/api/docker/<repository>, or as host/artifactory for all of them.",
});

/** Where CR_BASE leads. */
type Place =
  | { readonly form: "repository"; readonly key: string }
  | { readonly form: "name"; readonly keys: readonly string[] }
  | { readonly form: "host"; readonly keys: readonly string[] };

const API_PATH = /^(.*)\/api\/(?:docker|oci)\/([^/]+)$/;

function endpointOf(base: string): Endpoint {
  const whole = parseBase(base, "before-v2");
  const parts = whole.basePrefix.split("/").filter((part) => part !== "");
  const at = parts.findIndex((part, index) => part === "api" && /^(?:docker|oci)$/.test(parts[index + 1] ?? ""));
  if (at >= 0 && parts.length > at + 2) {
    const namePrefix = parts.slice(at + 3).join("/").toLowerCase();
    return { ...whole, basePrefix: `/${parts.slice(0, at + 3).join("/")}`, namePrefix };
  }
  const instance = at >= 0 || parts.at(-1) === "artifactory";
  return { ...whole, basePrefix: "", namePrefix: instance ? "" : parts.join("/").toLowerCase() };
}

/** Where Artifactory's own API is: before `/api/docker/…`, by default `/artifactory`. */
function contextPathOf({ basePrefix }: Endpoint): string {
  return API_PATH.exec(basePrefix)?.[1] ?? "/artifactory";
}

function placeOf({ endpoint, credentials, namespaces }: FlavourContext): Place {
  const key = API_PATH.exec(endpoint.basePrefix)?.[2];
  if (key !== undefined) return { form: "repository", key };
  const [first = ""] = endpoint.namePrefix.split("/");
  if (first !== "") return { form: "name", keys: [first] };
  const bare = parseBase(credentials.base, "before-v2").basePrefix === "";
  return { form: bare ? "host" : "name", keys: namespaces };
}

function catalogSource(
  api: Artifactory,
  place: Place,
  { endpoint }: FlavourContext,
  registry: RegistryCalls,
): CatalogSource {
  if (place.form === "repository") return (signal) => registry.catalog(signal);
  const instance: CatalogSource = (signal) => api.images(place.keys, signal);
  if (place.form === "host") {
    return (signal) => firstListing([() => registry.catalog(signal), () => instance(signal)]);
  }
  const lists = endpoint.namePrefix === "" ? [instance] : [instance, (signal: AbortSignal) => registry.catalog(signal)];
  return (signal) => firstListing(lists.map((list) => () => list(signal)));
}

/** By AQL in one call, by the storage API with one or two calls a tag; after them the caller's HEAD of each manifest. */
function tagSource(api: Artifactory, place: Place, endpoint: Endpoint, registry: RegistryCalls): TagSource {
  return (name, signal) => {
    const [first = "", ...rest] = name.split("/");
    const named = { key: first, path: rest.join("/") };
    const label = { key: endpoint.host.split(/[.:]/)[0] ?? "", path: name };
    const images = place.form === "host"
      ? [named, label]
      : [place.form === "name" ? named : { key: place.key, path: name }];
    const queries = images.map((image) => () => api.tagsByQuery(image, signal));
    // Only where the repository is known for sure: every tag costs calls.
    const stored = place.form === "host"
      ? []
      : images.map((image) => () =>
        api.tagsByStorage(image, registry.tags(name, signal), LIMITS.metadataRequests, signal)
      );
    return firstListing([...queries, ...stored], ({ code }) => code !== "RATE_LIMITED" && code !== "CANCELLED");
  };
}

/** CR_TOKEN serves as the password when there is none; its owner stands in it, unless it is a reference token. */
function login(credentials: RegistryCredentials): LoginSource {
  const { username, password, token } = credentials;
  if (token === undefined || (password ?? "") !== "") return fixedLogin(credentials);
  const owner = username || jwtSubject(token)?.split("/users/").at(-1) || "";
  return fixedLogin({ ...credentials, username: owner, password: token });
}
