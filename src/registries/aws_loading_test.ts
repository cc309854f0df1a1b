import Module from "node:module";
import { describe, expect, it } from "vitest";
import { provider, signal } from "../../tests/fakes/scripted_open.ts";
import { ScriptedRegistry } from "../../tests/fakes/scripted_registry.ts";
import { CR_TYPES } from "../config/schema.ts";
import type { RegistryCredentials } from "../core/ports.ts";
import { codeOf } from "./registry_suite.ts";

/** Modules of AWS' SDK in this process: its packages are CommonJS, so Node's cache has them. */
function awsModules(): readonly string[] {
  const { _cache } = Module as unknown as { readonly _cache: Readonly<Record<string, unknown>> };
  return Object.keys(_cache).filter((path) => /@aws-sdk|@smithy/.test(path));
}

describe("AWS' SDK", () => {
  it("is loaded when an ecr is used, and never before", async () => {
    const use = async (credentials: RegistryCredentials): Promise<void> => {
      const registries = provider(new ScriptedRegistry([]));
      expect(await codeOf(registries.open(credentials).resolve("a/b", "1", { signal }))).not.toBe("no error");
      registries.close();
    };
    for (const type of CR_TYPES.filter((name) => name !== "ecr")) {
      await use({ type, base: "registry.example", username: "u", password: "p", token: "t" });
    }
    expect(awsModules()).toEqual([]);
    await use({ type: "ecr", base: "", roleArn: "arn:aws:iam::123456789012:role/r", region: "eu-central-1" });
    expect(awsModules().join()).toContain("client-sts");
  });
});
