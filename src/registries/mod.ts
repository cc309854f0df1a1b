/**
 * The registry types, and the provider that opens registries of them.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Fetch, Logger, Registry, RegistryCredentials, RegistryProvider } from "../core/ports.ts";
import type { DirectExchange } from "../net/direct.ts";
import { HttpClient } from "../net/http.ts";
import { RequestGate } from "../net/retry.ts";
import type { ClientCertificate, HttpTransport, OpenTransport } from "../net/transport.ts";
import { acr } from "./acr.ts";
import { artifactory } from "./artifactory.ts";
import { credentialHash, type RegistryType, resolveType } from "./credentials.ts";
import { digitalocean } from "./digitalocean.ts";
import { dockerHub } from "./docker_hub.ts";
import { dockerRegistry } from "./docker_registry.ts";
import { ecr } from "./ecr.ts";
import type { Flavour } from "./flavour.ts";
import { gcr } from "./gcr.ts";
import { github } from "./github.ts";
import { gitlab } from "./gitlab.ts";
import { googleArtifact } from "./google_artifact.ts";
import { harbor } from "./harbor.ts";
import { nexus } from "./nexus.ts";
import { oci } from "./oci.ts";
import { OciRegistry } from "./oci_client.ts";
import { quay } from "./quay.ts";

export {
  configuredCredentials,
  type ConfiguredRegistry,
  credentialHash,
  encodeCredentials,
  parseBrokeredCredentials,
  type RegistryType,
  resolveType,
} from "./credentials.ts";
export type { Flavour } from "./flavour.ts";

/** Every registry type: one row here and one file beside it. */
export const REGISTRY_TYPES = {
  "artifactory-cr": artifactory,
  "harbor-cr": harbor,
  "acr": acr,
  "gcr": gcr,
  "google-artifact-cr": googleArtifact,
  "docker-hub": dockerHub,
  "quay-cr": quay,
  "nexus-cr": nexus,
  "github-cr": github,
  "digitalocean-cr": digitalocean,
  "gitlab-cr": gitlab,
  "ecr": ecr,
  "docker-registry": dockerRegistry,
  "oci": oci,
} as const satisfies Record<RegistryType, Flavour>;

/**
 * Whether both credentials are for the same registry: same origin, scheme and port included, after each type's own rules
 * for addresses. An `ecr` is told by its role and region, since these lead to its address. What cannot be used as an
 * address is no registry.
 */
export function isSameRegistry(one: RegistryCredentials, other: RegistryCredentials): boolean {
  const types = [resolveType(one.type), resolveType(other.type)];
  if (types.includes("ecr")) {
    return types[0] === types[1] && one.roleArn === other.roleArn && one.region === other.region;
  }
  const origin = originOf(one);
  return origin !== undefined && origin === originOf(other);
}

function originOf(credentials: RegistryCredentials): string | undefined {
  const type = resolveType(credentials.type);
  try {
    return type === undefined ? undefined : REGISTRY_TYPES[type].endpoint(credentials).origin;
  } catch {
    return undefined;
  }
}

/** Settings that hold for all registries of the process. */
export interface RegistryOptions {
  /** Authorities trusted beside the built-in ones, one PEM certificate each (`parseCertificates` of net/tls.ts). */
  readonly caCerts?: readonly string[] | undefined;
  /** Shown to the registry itself, never to token servers or blob stores of other origins. */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** Hosts besides the registry's own that may receive its logins (CR_AUTH_HOSTS). */
  readonly authHosts?: readonly string[] | undefined;
  /** Owners whose repositories are listed at vendors that list by owner (CR_NAMESPACES). */
  readonly namespaces?: readonly string[] | undefined;
  /** Value of `User-Agent`; Docker Hub refuses requests without one. */
  readonly userAgent?: string | undefined;
}

/** What {@link createRegistryProvider} needs. */
export interface RegistryProviderDependencies {
  readonly transport: HttpTransport;
  /** For the registry's own origin, see {@link HttpClientOptions.exchangeFor}. @default `fetch` for all */
  readonly exchange?: DirectExchange | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options?: RegistryOptions | undefined;
}

/** A provider that can be shut down. */
export interface ClosableRegistryProvider extends RegistryProvider {
  /** Closes all connections but those of `exchange`, which are its owner's; registries that it opened fail from then on. */
  close(): void;
}

/**
 * Makes the provider of registries. Clients, with their tokens, are kept by a hash of their credentials, the least
 * recently used of LIMITS.registryClients being forgotten; connections and the per-host gate are shared by all.
 *
 * `open` throws OutpostError CREDENTIALS_INVALID for an unknown type and CONFIG_INVALID for an address that cannot be used.
 */
export function createRegistryProvider(dependencies: RegistryProviderDependencies): ClosableRegistryProvider {
  return new Provider(dependencies);
}

class Provider implements ClosableRegistryProvider {
  readonly #dependencies: RegistryProviderDependencies;
  readonly #gate: RequestGate;
  readonly #clients = new Map<string, Registry>();
  #plain: OpenTransport | undefined;
  #certified: OpenTransport | undefined;

  constructor(dependencies: RegistryProviderDependencies) {
    this.#dependencies = dependencies;
    this.#gate = new RequestGate(dependencies);
  }

  open(credentials: RegistryCredentials): Registry {
    const key = credentialHash(credentials);
    const known = this.#clients.get(key);
    this.#clients.delete(key);
    const registry = known ?? this.#make(key, credentials);
    this.#clients.set(key, registry);
    const [oldest] = this.#clients.keys();
    // The forgotten client may still be at work; it holds nothing but its tokens.
    if (this.#clients.size > LIMITS.registryClients && oldest !== undefined) this.#clients.delete(oldest);
    return registry;
  }

  close(): void {
    for (const registry of [...this.#clients.values()]) registry.close();
    this.#plain?.close();
    this.#certified?.close();
    this.#plain = this.#certified = undefined;
  }

  #make(key: string, credentials: RegistryCredentials): Registry {
    const { clock, logger, exchange, options = {} } = this.#dependencies;
    const type = resolveType(credentials.type);
    if (type === undefined) {
      throw new OutpostError("CREDENTIALS_INVALID", "Cannot open the registry: its type is not known", {
        hint: `Use one of ${Object.keys(REGISTRY_TYPES).join(", ")}.`,
      });
    }
    const flavour: Flavour = REGISTRY_TYPES[type];
    const { origin } = flavour.endpoint(credentials);
    const client = new HttpClient({
      fetchFor: (url) => this.#fetchFor(url, origin),
      exchangeFor: (url) => url.origin === origin ? exchange : undefined,
      gate: this.#gate,
      clock,
      logger,
      userAgent: options.userAgent ?? "outpost",
    });
    const { authHosts = [], namespaces } = options;
    const registry = { client, flavour, credentials, authHosts, namespaces, clock, logger };
    return new OciRegistry(registry, () => this.#clients.delete(key));
  }

  #fetchFor(url: URL, registryOrigin: string): Fetch {
    const { transport, options = {} } = this.#dependencies;
    const { caCerts, clientCertificate } = options;
    if (clientCertificate === undefined || url.origin !== registryOrigin) {
      return (this.#plain ??= transport.open({ caCerts })).fetch;
    }
    return (this.#certified ??= transport.open({ caCerts, clientCertificate })).fetch;
  }
}
