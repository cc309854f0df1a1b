import { describe, expect, it } from "vitest";
import type { RegistryCredentials } from "../core/ports.ts";
import { CredentialBox } from "./credential_box.ts";

const OWN: RegistryCredentials = { type: "oci", base: "r.example", username: "me", password: "canary-own" };
const OTHER: RegistryCredentials = { type: "oci", base: "r.example", username: "you", password: "canary-other" };

function box(own: RegistryCredentials | undefined = OWN, key = 7): CredentialBox {
  return new CredentialBox({
    own: (connection) => connection === undefined ? own : undefined,
    key: () => Promise.resolve(new Uint8Array(32).fill(key)),
  });
}

describe("CredentialBox", () => {
  it("P5 keeps a mark for the configured credentials, and gives those of today", async () => {
    const { password = "", ...rest } = OWN;
    const kept = await box().seal({ password, ...rest }, undefined);
    expect(kept).toEqual(new Uint8Array([0]));
    const renewed = { ...OWN, password: "canary-new" };
    expect(await box(renewed).open(kept, undefined)).toEqual(renewed);
  });

  it("S3 asks for the key again after it could not be had, and blames no credentials for it", async () => {
    const sealed = await box().seal(OTHER, undefined);
    let asked = 0;
    const failing = new CredentialBox({
      own: () => undefined,
      key: () => ++asked % 2 === 1 ? Promise.reject(new Error("disk")) : Promise.resolve(new Uint8Array(32).fill(7)),
    });
    await expect(failing.open(sealed, undefined)).rejects.toThrow("disk");
    expect(await failing.open(sealed, undefined)).toEqual(OTHER);
    await failing.seal(OTHER, undefined);
    expect(asked).toBe(2);
  });

  it("P5 seals others, never twice alike", async () => {
    const [one, two] = await Promise.all([box().seal(OTHER, undefined), box().seal(OTHER, undefined)]);
    expect(one[0]).toBe(1);
    expect(one).not.toEqual(two);
    expect(new TextDecoder().decode(one)).not.toContain("canary");
    expect(await box(undefined).open(one, undefined)).toEqual(OTHER);
  });

  it("tells when they cannot be had any more", async () => {
    const mark = await box().seal(OWN, undefined);
    const sealed = await box().seal(OTHER, undefined);
    const tampered = sealed.slice();
    tampered[20] = (tampered[20] ?? 0) ^ 1;
    for (const [kept, connection] of [[mark, "gone"], [tampered, undefined]] as const) {
      await expect(box().open(kept, connection)).rejects.toMatchObject({ code: "CREDENTIALS_INVALID" });
    }
    await expect(box(OWN, 8).open(sealed, undefined)).rejects.toMatchObject({ retryable: false });
    await expect(box().open(mark, "gone")).rejects.toMatchObject({ retryable: true });
  });
});
