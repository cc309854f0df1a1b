import { describe, expect, it } from "vitest";
import { jwtLifetimeMs, signRs256 } from "./jwt.ts";
import { codeOf } from "./registry_suite.ts";

function base64Url(text: string): string {
  return new TextEncoder().encode(text).toBase64({ alphabet: "base64url", omitPadding: true });
}

function jwt(claims: unknown): string {
  return `${base64Url('{"alg":"none"}')}.${base64Url(JSON.stringify(claims))}.c2ln`;
}

describe("jwtLifetimeMs()", () => {
  it("is the time from iat, or else nbf, to exp", () => {
    expect(jwtLifetimeMs(jwt({ iat: 1000, exp: 5500 }))).toBe(4_500_000);
    expect(jwtLifetimeMs(jwt({ nbf: 1000, exp: 1001 }))).toBe(1000);
  });

  it("is unknown for anything else", () => {
    const others = ["", "opaque", "a.b", "a.b.c", jwt([]), jwt({}), jwt({ exp: 5 }), jwt({ iat: 9, exp: 5 })];
    for (const token of others) expect(jwtLifetimeMs(token)).toBeUndefined();
  });
});

describe("signRs256()", () => {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

  it("signs so that the public key verifies it", async () => {
    const generated = { ...algorithm, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
    const { privateKey, publicKey } = await crypto.subtle.generateKey(generated, true, ["sign", "verify"]);
    const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey)).toBase64();
    const lines = der.match(/.{1,64}/g)?.join("\n") ?? "";
    const pem = `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`;
    const [head = "", claims = "", signature = ""] = (await signRs256({ iss: "a@b", exp: 7 }, pem)).split(".");
    const bytes = Uint8Array.fromBase64(signature, { alphabet: "base64url" });
    const signed = new TextEncoder().encode(`${head}.${claims}`);
    expect(await crypto.subtle.verify(algorithm, publicKey, bytes, signed)).toBe(true);
    const decoded = new TextDecoder().decode(Uint8Array.fromBase64(claims, { alphabet: "base64url" }));
    expect(JSON.parse(decoded)).toEqual({ iss: "a@b", exp: 7 });
  });

  it("refuses a damaged key without repeating it", async () => {
    for (const pem of ["", "canary", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"]) {
      const signing = signRs256({}, pem);
      expect(await codeOf(signing)).toBe("CREDENTIALS_INVALID");
      await expect(signing).rejects.not.toThrow(/canary/);
    }
  });
});
