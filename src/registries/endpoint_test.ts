import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { apiUrl, parseBase, qualifyName } from "./endpoint.ts";

describe("parseBase()", () => {
  it.each([
    ["registry.example", "https://registry.example/v2/"],
    ["registry.example:5000", "https://registry.example:5000/v2/"],
    ["localhost:5000", "https://localhost:5000/v2/"],
    ["127.0.0.1:5000", "https://127.0.0.1:5000/v2/"],
    ["[::1]:5000", "https://[::1]:5000/v2/"],
    ["https://registry.example", "https://registry.example/v2/"],
    ["HTTPS://Registry.Example/", "https://registry.example/v2/"],
    ["REGISTRY.EXAMPLE", "https://registry.example/v2/"],
    ["http://registry.example:5000/", "http://registry.example:5000/v2/"],
    ["https://registry.example:443", "https://registry.example/v2/"],
    ["registry.example/v2", "https://registry.example/v2/"],
    ["registry.example/v2/", "https://registry.example/v2/"],
    ["https://h.example/artifactory/api/docker/local//v2/", "https://h.example/artifactory/api/docker/local/v2/"],
    ["h.example/Repository/Docker", "https://h.example/Repository/Docker/v2/"],
    ["  registry.example \n", "https://registry.example/v2/"],
  ])("puts %j at %s", (base, root) => {
    expect(apiUrl(parseBase(base, "before-v2"), "").href).toBe(root);
  });

  it.each([
    "",
    "undefined",
    "ftp://h",
    "https://",
    "u:canary@h.example",
    "https://u:canary@h.example",
    "h.example?canary",
    "h.example/#canary",
    "a b",
    "http://[::1",
  ])(
    "refuses %j without repeating it",
    (base) => {
      try {
        parseBase(base, "before-v2");
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(OutpostError);
        expect(error).toMatchObject({ code: "CONFIG_INVALID" });
        expect((error as Error).message).not.toContain("canary");
      }
    },
  );

  it("takes a path for a namespace where a type says so", () => {
    const endpoint = parseBase("https://ghcr.io/Owner/", "namespace");
    expect(endpoint).toEqual({ origin: "https://ghcr.io", host: "ghcr.io", basePrefix: "", namePrefix: "owner" });
    expect(qualifyName(endpoint, "app")).toBe("owner/app");
    expect(qualifyName(endpoint, "owner/app")).toBe("owner/app");
    expect(qualifyName(endpoint, "ownerless")).toBe("owner/ownerless");
    expect(qualifyName(parseBase("ghcr.io", "namespace"), "owner/app")).toBe("owner/app");
  });
});
