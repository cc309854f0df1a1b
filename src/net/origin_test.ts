import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { type AddressKind, addressKind, checkRealm, checkRedirect, isSpecialAddress, redactUrl } from "./origin.ts";

function codeOf(run: () => unknown): string {
  try {
    run();
    return "allowed";
  } catch (error) {
    return error instanceof OutpostError ? error.code : String(error);
  }
}

describe("addressKind()", () => {
  it.each<readonly [string, AddressKind]>([
    ["http://127.0.0.1/", "loopback"],
    ["http://127.1/", "loopback"],
    ["http://2130706433/", "loopback"],
    ["http://0x7f.1/", "loopback"],
    ["http://017700000001/", "loopback"],
    ["http://①②⑦.0.0.1/", "loopback"],
    ["http://[::1]/", "loopback"],
    ["http://[0:0:0:0:0:0:0:1]/", "loopback"],
    ["http://[::ffff:127.0.0.1]/", "loopback"],
    ["http://[::ffff:7f00:1]/", "loopback"],
    ["http://[::127.0.0.1]/", "loopback"],
    ["http://[::ffff:0:127.0.0.1]/", "loopback"],
    ["http://[64:ff9b::127.0.0.1]/", "loopback"],
    ["http://[2002:7f00:1::]/", "loopback"],
    ["http://LOCALHOST./", "loopback"],
    ["http://a.localhost/", "loopback"],
    ["http://0/", "unspecified"],
    ["http://[::]/", "unspecified"],
    ["http://169.254.169.254/", "link-local"],
    ["http://[::ffff:169.254.169.254]/", "link-local"],
    ["http://[fe80::1]/", "link-local"],
    ["http://[febf::1]/", "link-local"],
    ["http://[fd00:ec2::254]/", "link-local"],
    ["http://metadata.google.internal/", "link-local"],
    ["http://10.1.2.3/", "private"],
    ["http://172.31.0.1/", "private"],
    ["http://192.168.1.1/", "private"],
    ["http://[fd12::1]/", "private"],
    ["http://172.32.0.1/", "public"],
    ["http://8.8.8.8/", "public"],
    ["http://[2001:db8::1]/", "public"],
    ["http://[fec0::1]/", "public"],
    ["http://registry.example/", "name"],
    ["http://127.0.0.1.example/", "name"],
  ])("of %s is %s", (url, kind) => {
    expect(addressKind(new URL(url).hostname)).toBe(kind);
  });

  it("finds loopback in every way to write it", () => {
    const part = fc.integer({ min: 0, max: 255 });
    const radix = fc.constantFrom((n: number) => `0x${n.toString(16)}`, (n: number) => `0${n.toString(8)}`, String);
    fc.assert(fc.property(part, part, part, radix, (b, c, d, write) => {
      const url = new URL(`http://${write(127)}.${write(b)}.${write(c)}.${write(d)}/`);
      expect(addressKind(url.hostname)).toBe("loopback");
      expect(isSpecialAddress(new URL(`http://[::ffff:127.${b}.${c}.${d}]/`).hostname)).toBe(true);
    }));
  });
});

describe("redactUrl()", () => {
  it.each([
    ["https://user:canary@h.example/a?n=5&sig=canary&last=canary", "https://h.example/a?n=5&sig=…&last=…"],
    [
      "https://h.example/token?service=s&scope=repository%3Aa%3Apull&account=canary#canary",
      "https://h.example/token?service=s&scope=repository%3Aa%3Apull&account=…",
    ],
    ["https://h.example/?canary", "https://h.example/?canary=…"],
    ["canary", "(not a URL)"],
  ])("of %s is %s", (url, shown) => {
    expect(redactUrl(url)).toBe(shown);
  });
});

describe("checkRedirect()", () => {
  it.each([
    ["https://r.example", "https://blobs.example/x", "allowed"],
    ["https://r.example", "http://r.example/x", "UNSAFE_REDIRECT"],
    ["http://r.example", "https://blobs.example/x", "allowed"],
    ["http://r.example", "http://blobs.example/x", "allowed"],
    ["https://r.example", "https://127.0.0.1/x", "UNSAFE_REDIRECT"],
    ["https://r.example", "https://0x7f.1/x", "UNSAFE_REDIRECT"],
    ["https://r.example", "https://[::ffff:127.0.0.1]/x", "UNSAFE_REDIRECT"],
    ["https://r.example", "https://169.254.169.254/latest/meta-data", "UNSAFE_REDIRECT"],
    ["https://10.0.0.1", "https://169.254.169.254/latest/meta-data", "UNSAFE_REDIRECT"],
    ["http://127.0.0.1:5000", "http://127.0.0.1:6000/x", "allowed"],
    ["http://127.0.0.1:5000", "http://localhost:6000/x", "allowed"],
    ["http://127.0.0.1:5000", "http://169.254.169.254/x", "UNSAFE_REDIRECT"],
    ["https://r.example", "https://u:p@blobs.example/x", "UNSAFE_REDIRECT"],
    ["https://r.example", "file:///etc/passwd", "UNSAFE_REDIRECT"],
    ["https://r.example", "https://10.0.0.9/x", "allowed"],
  ])("from %s to %s: %s", (from, to, verdict) => {
    expect(codeOf(() => checkRedirect(new URL(from), new URL(from), new URL(to)))).toBe(verdict);
  });
});

describe("checkRealm()", () => {
  it.each([
    ["https://registry.example.com", "https://registry.example.com/token", "allowed"],
    ["https://registry.example.com", "https://auth.example.com/token", "allowed"],
    ["https://registry.gitlab.com", "https://gitlab.com/jwt/auth", "allowed"],
    ["https://registry.corp.local:5050", "https://git.corp.local/jwt/auth", "allowed"],
    ["https://registry.example.co.uk", "https://auth.example.co.uk/t", "allowed"],
    ["https://registry.example.co.uk", "https://evil.co.uk/t", "UNSAFE_REALM"],
    ["https://mine.azurecr.io", "https://evil.azurecr.io/t", "UNSAFE_REALM"],
    ["https://mine.azurecr.io", "https://mine.azurecr.io/oauth2/token", "allowed"],
    ["https://registry.example.com", "https://evil.com/token", "UNSAFE_REALM"],
    ["https://registry.example.com", "https://registry.example.com.evil.com/token", "UNSAFE_REALM"],
    ["https://registry", "https://git/token", "UNSAFE_REALM"],
    ["https://registry.example.com", "http://auth.example.com/token", "UNSAFE_REALM"],
    ["http://registry.example.com", "http://auth.example.com/token", "allowed"],
    ["https://10.0.0.1", "https://10.0.0.2/token", "UNSAFE_REALM"],
    ["http://127.0.0.1:5000", "http://127.0.0.1:5001/token", "allowed"],
    ["https://registry.example.com", "https://127.0.0.1/token", "UNSAFE_REALM"],
    ["https://registry.example.com", "https://169.254.169.254/token", "UNSAFE_REALM"],
    ["https://registry.example.com", "https://u:p@registry.example.com/token", "UNSAFE_REALM"],
    ["https://registry.example.com", "ftp://registry.example.com/token", "UNSAFE_REALM"],
    ["https://registry.example.com", "not a url", "REGISTRY_PROTOCOL"],
  ])("of %s at %s: %s", (registry, realm, verdict) => {
    expect(codeOf(() => checkRealm(new URL(registry), realm, { authHosts: [] }))).toBe(verdict);
  });

  it("takes hosts that the operator allows, but never a link-local one", () => {
    const registry = new URL("https://registry.example.com");
    const authHosts = ["login.other.example", "127.0.0.1:5001", "169.254.169.254"];
    const check = (realm: string): string => codeOf(() => checkRealm(registry, realm, { authHosts }));
    expect(check("https://login.other.example/t")).toBe("allowed");
    expect(check("https://127.0.0.1:5001/t")).toBe("allowed");
    expect(check("https://127.0.0.1:5002/t")).toBe("UNSAFE_REALM");
    expect(check("https://169.254.169.254/t")).toBe("UNSAFE_REALM");
  });

  it("calls the registry's own host by HTTPS when a proxy hides that from it", () => {
    const realm = checkRealm(new URL("https://nexus.example.com"), "http://nexus.example.com/v2/token", {
      authHosts: [],
    });
    expect(realm.href).toBe("https://nexus.example.com/v2/token");
  });

  it("names both hosts and the setting", () => {
    try {
      checkRealm(new URL("https://r.example.com"), "https://evil.com/token?canary", { authHosts: [] });
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({
        message: "Cannot log in to r.example.com: it sends logins to evil.com, which is not part of it",
        hint: "If that is right, set CR_AUTH_HOSTS=evil.com.",
      });
    }
  });
});
