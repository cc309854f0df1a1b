import { describe, expect, it } from "vitest";
import { provider } from "../../tests/fakes/scripted_open.ts";
import { ScriptedRegistry } from "../../tests/fakes/scripted_registry.ts";
import { CR_TYPES } from "../config/schema.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Registry } from "../core/ports.ts";
import { apiUrl } from "./endpoint.ts";
import { REGISTRY_TYPES } from "./mod.ts";

describe("REGISTRY_TYPES", () => {
  it("has every type that the configuration knows, under its own name", () => {
    expect(Object.keys(REGISTRY_TYPES).toSorted()).toEqual([...CR_TYPES].toSorted());
    for (const [name, flavour] of Object.entries(REGISTRY_TYPES)) expect(flavour.type).toBe(name);
  });

  it.each<readonly [keyof typeof REGISTRY_TYPES, string, string, string]>([
    ["docker-hub", "", "nginx", "https://registry-1.docker.io/v2/library/nginx"],
    ["docker-hub", "undefined", "org/app", "https://registry-1.docker.io/v2/org/app"],
    ["docker-hub", "https://index.docker.io/v1/", "nginx", "https://registry-1.docker.io/v2/library/nginx"],
    ["docker-hub", "hub.docker.com", "nginx", "https://registry-1.docker.io/v2/library/nginx"],
    ["docker-hub", "docker.io/Acme/", "app", "https://registry-1.docker.io/v2/acme/app"],
    ["docker-hub", "https://hub.docker.com/explore", "acme/app", "https://registry-1.docker.io/v2/acme/app"],
    ["docker-hub", "https://hub.docker.com/u/acme", "acme/app", "https://registry-1.docker.io/v2/acme/app"],
    ["docker-hub", "mirror.example:5000", "nginx", "https://mirror.example:5000/v2/library/nginx"],
    [
      "artifactory-cr",
      "h.example/artifactory/api/docker/local",
      "app",
      "https://h.example/artifactory/api/docker/local/v2/app",
    ],
    ["nexus-cr", "http://h.example:8081/repository/docker", "app", "http://h.example:8081/repository/docker/v2/app"],
    ["github-cr", "ghcr.io/Owner", "app", "https://ghcr.io/v2/owner/app"],
    ["github-cr", "ghcr.io", "owner/app", "https://ghcr.io/v2/owner/app"],
    ["gitlab-cr", "registry.gitlab.com", "g/p/app", "https://registry.gitlab.com/v2/g/p/app"],
    ["digitalocean-cr", "registry.digitalocean.com/mine", "app", "https://registry.digitalocean.com/v2/mine/app"],
    ["google-artifact-cr", "europe-docker.pkg.dev/p/r", "app", "https://europe-docker.pkg.dev/v2/p/r/app"],
    ["gcr", "eu.gcr.io", "p/app", "https://eu.gcr.io/v2/p/app"],
    ["acr", "Mine.azurecr.io", "app", "https://mine.azurecr.io/v2/app"],
    ["quay-cr", "quay.io", "org/app", "https://quay.io/v2/org/app"],
    ["harbor-cr", "h.example", "project/app", "https://h.example/v2/project/app"],
    ["docker-registry", "http://h.example:5000/prefix/", "app", "http://h.example:5000/prefix/v2/app"],
  ])("%s at %j finds %s", (type, base, repository, url) => {
    const flavour = REGISTRY_TYPES[type];
    const endpoint = flavour.endpoint({ type, base });
    expect(apiUrl(endpoint, flavour.wireName(endpoint, repository)).href).toBe(url);
  });
});

describe("createRegistryProvider()", () => {
  it("keeps one client per credentials, and forgets the least recently used", () => {
    const registries = provider(new ScriptedRegistry([]));
    const at = (n: number): Registry => registries.open({ type: "oci", base: "h.example", username: `u${n}` });
    const first = at(0);
    expect(at(0)).toBe(first);
    const second = at(1);
    for (let n = 2; n < LIMITS.registryClients; n++) at(n);
    expect(at(0)).toBe(first);
    at(LIMITS.registryClients);
    expect(at(0)).toBe(first);
    expect(at(1)).not.toBe(second);
    registries.close();
  });

  it("opens a closed registry anew", () => {
    const registries = provider(new ScriptedRegistry([]));
    const first = registries.open({ type: "oci", base: "h.example" });
    first.close();
    expect(registries.open({ type: "oci", base: "h.example" })).not.toBe(first);
  });

  it("refuses an unknown type and an unusable address", () => {
    const registries = provider(new ScriptedRegistry([]));
    expect(() => registries.open({ type: "nonsense", base: "h" })).toThrow(OutpostError);
    expect(() => registries.open({ type: "oci", base: "" })).toThrow(/CR_BASE/);
  });
});
