import { describe, expect, it } from "vitest";
import { peerPath, peersAvailable } from "./mod.ts";
import { run } from "./process.ts";
import { type Certificate, createCa, selfSigned } from "./tls.ts";

/** Serves one request with the certificate and returns what a client that trusts `ca` sees. */
async function ask(server: Certificate, ca: Certificate, hostname = "localhost"): Promise<string> {
  await using http = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    cert: server.certPem,
    key: server.keyPem,
    onListen: () => {},
  }, () => new Response("ok"));
  using client = Deno.createHttpClient({ caCerts: [ca.certPem] });
  const response = await fetch(`https://${hostname}:${http.addr.port}/`, { client });
  return await response.text();
}

/** Why the client refuses the server's certificate. */
async function refusal(server: Certificate, ca: Certificate): Promise<string> {
  try {
    await ask(server, ca);
  } catch (error) {
    return String(error instanceof Error ? error.cause : error);
  }
  throw new Error("The client accepted the certificate");
}

describe("createCa()", () => {
  it("issues certificates that a TLS client accepts, by name and by address", async () => {
    const ca = await createCa();
    const leaf = await ca.issue();
    expect(await ask(leaf, ca)).toBe("ok");
    expect(await ask(leaf, ca, "127.0.0.1")).toBe("ok");
  });

  it("makes certificates that a TLS client refuses for the stated reason", async () => {
    const ca = await createCa();
    expect(await refusal(await ca.issue({ hosts: ["other.example"] }), ca)).toContain("not valid for name");
    expect(await refusal(await ca.issue({ notAfter: new Date(Date.now() - 1000) }), ca)).toContain("expired");
    expect(await refusal(await ca.issue(), await createCa("another root"))).toContain("UnknownIssuer");
  });

  it("makes roots that rustls refuses as server certificates", async () => {
    const root = await selfSigned({ ca: true });
    expect(await refusal(root, root)).toContain("CaUsedAsEndEntity");
    const leaf = await selfSigned();
    expect(await ask(leaf, leaf)).toBe("ok");
  });
});

describe.skipIf(!peersAvailable("openssl"))("certificates under openssl", () => {
  it("verify against their root", async () => {
    const dir = await Deno.makeTempDir();
    try {
      const ca = await createCa();
      await Deno.writeTextFile(`${dir}/ca.pem`, ca.certPem);
      await Deno.writeTextFile(`${dir}/leaf.pem`, (await ca.issue()).certPem);
      const result = await run(peerPath("openssl"), [
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        `${dir}/ca.pem`,
        `${dir}/leaf.pem`,
      ]);
      expect(result.stdout + result.stderr).toContain("leaf.pem: OK");
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
});
