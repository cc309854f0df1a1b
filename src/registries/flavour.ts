/**
 * What makes one registry type differ from another. Pulling never differs but for scopes and redirects, so a flavour
 * says where the registry is, how names are written, and a few facts; the protocol lives in oci_client.ts.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger, RegistryCredentials } from "../core/ports.ts";
import type { TagInfo } from "../core/types.ts";
import type { Redactor } from "../lib/redact.ts";
import type { HttpClient } from "../net/http.ts";
import type { RegistryType } from "./credentials.ts";
import { type BasePath, type Endpoint, parseBase, qualifyName } from "./endpoint.ts";
import type { JsonSource } from "./json_source.ts";
import type { LoginSource } from "./login.ts";
import type { VendorApiOptions } from "./vendor_api.ts";

/** Names of repositories as they stand on the wire, page by page. */
export type CatalogSource = (signal: AbortSignal) => AsyncIterable<readonly string[]>;

/** Tags of a repository (its wire name) with digest and last push, page by page; null where the vendor does not tell. */
export type TagSource = (name: string, signal: AbortSignal) => AsyncIterable<readonly TagInfo[]>;

/** Where a type's lists come from. What is left out comes from `/v2`. */
export interface Sources {
  /** Instead of `/v2/_catalog`. To try that one after it, combine them by `firstListing` (first_listing.ts). */
  readonly catalog?: CatalogSource;
  /**
   * Instead of `tags/list` and a HEAD per tag. When it fails before its first page for any other reason than a rate limit
   * the tags are listed by `/v2`, so a source needs no fallback of its own.
   */
  readonly tags?: TagSource;
}

/** The registry itself, for what a type does beside pulling; errors are classified. */
export interface RegistryCalls extends JsonSource {
  /** `/v2/_catalog`. */
  catalog(signal: AbortSignal): AsyncIterable<readonly string[]>;
  /** `/v2/<name>/tags/list`. */
  tags(name: string, signal: AbortSignal): AsyncIterable<readonly string[]>;
  /** Header fields of a manifest, by one HEAD. `name` is the wire name, `reference` a tag or digest. */
  manifestHeaders(name: string, reference: string, signal: AbortSignal): Promise<Headers>;
  /** A call to any path at the registry's own origin, with the registry's login. */
  call: JsonSource["call"];
  /**
   * The token server that the registry names, after the check by which it may get the login; undefined when it names none.
   *
   * @throws {OutpostError} UNSAFE_REALM.
   */
  tokenServer(signal: AbortSignal): Promise<URL | undefined>;
}

/** What a type's login and sources are made from. One per registry client. */
export interface FlavourContext {
  readonly endpoint: Endpoint;
  readonly credentials: RegistryCredentials;
  /** Owners whose repositories are listed where the account's own do not tell (CR_NAMESPACES). */
  readonly namespaces: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
  /** For a vendor's own client library, which speaks for itself: our connections, retries and gates. */
  readonly client: HttpClient;
  /** Takes secrets out of texts of others. */
  readonly redactor: Redactor;
  /** A vendor's API at another origin. */
  openApi(options: VendorApiOptions): JsonSource;
}

/** A registry type. */
export interface Flavour {
  readonly type: RegistryType;
  /** The product's own name, for messages. */
  readonly title: string;
  /**
   * Where the registry is.
   *
   * @throws {OutpostError} CONFIG_INVALID.
   */
  endpoint(credentials: RegistryCredentials): Endpoint;
  /** A repository's name on the wire. */
  wireName(endpoint: Endpoint, repository: string): string;
  /** What to log in with, when that is not CR_USERNAME and CR_PASSWORD. Called once per client. */
  readonly login?: (context: FlavourContext) => LoginSource;
  /** Where the lists come from, when not from `/v2`. Called once per client. */
  readonly sources?: (context: FlavourContext, registry: RegistryCalls) => Sources;
  /** What a check of the registry shows besides, such as a quota: a sentence, or undefined when there is nothing to tell. */
  readonly remark?: (registry: RegistryCalls, endpoint: Endpoint, signal: AbortSignal) => Promise<string | undefined>;
  /** Token scope for the repository list; undefined asks for a token without scope. */
  readonly catalogScope: string | undefined;
  /** Actions asked for on a repository whose tags are listed. */
  readonly tagsActions: string;
  readonly catalogPageSize: number;
  readonly tagsPageSize: number;
  /**
   * Whether a full page of tags without a `Link` is followed by another, asked for by its last name: true where `Link` may be
   * missing, at the price of one more request for lists that end with a full page.
   */
  readonly tagsLastMarker: boolean;
  /** Actions asked for on a repository that is pulled from. */
  readonly pullActions: string;
  /** Sends HTTP Basic at once: anonymous answers are poorer than an account's, or tokens do not work everywhere. */
  readonly preferBasic: boolean;
  /** Hosts of token servers that belong to it in spite of another name. */
  readonly realmHosts: readonly string[];
  /** What to change when the login is refused. */
  readonly loginHint: string;
  /** What to change when the login has expired. */
  readonly expiredHint: string;
  /** What to change when repositories cannot be listed. */
  readonly listHint: string;
  /** What to change when there is no registry at the address. */
  readonly baseHint: string;
}

/** What a type's file states; the rest is the plain OCI behaviour. */
export type FlavourOptions =
  & Pick<Flavour, "type" | "title">
  & Partial<Flavour>
  & { readonly basePath?: BasePath };

/** Makes a flavour: the plain OCI behaviour, with what differs put over it. */
export function defineFlavour(options: FlavourOptions): Flavour {
  const { basePath = "before-v2", ...differences } = options;
  return {
    endpoint: (credentials) => parseBase(credentials.base, basePath),
    wireName: qualifyName,
    catalogScope: "registry:catalog:*",
    tagsActions: "pull",
    pullActions: "pull",
    catalogPageSize: LIMITS.catalogPageSize,
    tagsPageSize: LIMITS.tagsPageSize,
    tagsLastMarker: true,
    preferBasic: false,
    realmHosts: [],
    loginHint: "Check CR_USERNAME and CR_PASSWORD; with single sign-on or two factors use an access token.",
    expiredHint: "Renew CR_PASSWORD (or CR_TOKEN).",
    listHint: "Images can still be imported by name; to list them, give the account the right to read the catalog.",
    baseHint: "Check CR_BASE: host, port and, behind a proxy, the path.",
    ...differences,
  };
}
