/**
 * What makes one registry type differ from another. Pulling never differs but for scopes and redirects, so a flavour
 * says where the registry is, how names are written, and a few facts; the protocol lives in oci_client.ts.
 *
 * @module
 */
import type { RegistryCredentials } from "../core/ports.ts";
import { LIMITS } from "../core/limits.ts";
import type { RegistryType } from "./credentials.ts";
import { type BasePath, type Endpoint, parseBase, qualifyName } from "./endpoint.ts";

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
  /** Token scope for the repository list; undefined asks for a token without scope. */
  readonly catalogScope: string | undefined;
  /** Actions asked for on a repository whose tags are listed. */
  readonly tagsActions: string;
  readonly catalogPageSize: number;
  readonly tagsPageSize: number;
  /** Sends HTTP Basic at once: anonymous answers are poorer than an account's, or tokens do not work everywhere. */
  readonly preferBasic: boolean;
  /** An empty repository list says nothing: this type keeps its list elsewhere. */
  readonly emptyCatalogMeansUnsupported: boolean;
  /** Hosts of token servers that belong to it in spite of another name. */
  readonly realmHosts: readonly string[];
  /** What to change when the login is refused. */
  readonly loginHint: string;
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
    catalogPageSize: LIMITS.catalogPageSize,
    tagsPageSize: LIMITS.tagsPageSize,
    preferBasic: false,
    emptyCatalogMeansUnsupported: false,
    realmHosts: [],
    loginHint: "Check CR_USERNAME and CR_PASSWORD; with single sign-on or two factors use an access token.",
    listHint: "Images can still be imported by name; to list them, give the account the right to read the catalog.",
    baseHint: "Check CR_BASE: host, port and, behind a proxy, the path.",
    ...differences,
  };
}
