import { describe, expect, it } from "vitest";
import { type Certificate, type CertificateAuthority, createCa, selfSigned } from "../../tests/peers/tls.ts";
import { type ErrorCode, OutpostError } from "../core/errors.ts";
import { classifyTransportError } from "./classify.ts";
import { createDenoTransport } from "./deno_transport.ts";
import type { TransportOptions } from "./transport.ts";

const DAY = 86_400_000;
const ago = (days: number): Date => new Date(Date.now() - days * DAY);

/** What a real request to the URL ends with. */
async function failure(url: string, options: TransportOptions = {}): Promise<OutpostError> {
  const transport = createDenoTransport({ fetch, createHttpClient: Deno.createHttpClient }).open(options);
  try {
    const response = await transport.fetch(new Request(url));
    await response.body?.cancel();
    return new OutpostError("INTERNAL", `answered with ${response.status}`);
  } catch (error) {
    return classifyTransportError(error, new URL(url));
  } finally {
    transport.close();
  }
}

/** The same to a TLS server with the certificate. */
async function tlsFailure(certificate: Certificate, options: TransportOptions): Promise<OutpostError> {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert: certificate.certPem, key: certificate.keyPem, onListen: () => {} },
    () => new Response("reached"),
  );
  return await failure(`https://localhost:${server.addr.port}/v2/?canary=canary`, options);
}

/** The same to a TCP server that does what it likes. */
async function tcpFailure(scheme: string, talk: (connection: Deno.TcpConn) => Promise<void>): Promise<OutpostError> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = listener.accept().then(async (connection) => {
    using open = connection;
    await talk(open);
  });
  const found = await failure(`${scheme}://127.0.0.1:${listener.addr.port}/`);
  await serving;
  return found;
}

async function say(connection: Deno.TcpConn, text: string): Promise<void> {
  await connection.read(new Uint8Array(4096));
  await connection.write(new TextEncoder().encode(text));
}

describe("classifyTransportError() on real failures", () => {
  it("knows each fault of a certificate", async () => {
    const ca: CertificateAuthority = await createCa();
    const trusted = { caCerts: [ca.certPem] };
    expect((await tlsFailure(await ca.issue(), trusted)).message).toBe("answered with 200");

    const unknown = await tlsFailure(await ca.issue(), {});
    expect(unknown).toMatchObject({ code: "TLS_UNKNOWN_CA" });
    expect(unknown.hint).toMatch(/CA_CERT/);

    const wrongName = await tlsFailure(await ca.issue({ hosts: ["other.example", "10.0.0.1"] }), trusted);
    expect(wrongName).toMatchObject({ code: "TLS_NAME" });
    expect(wrongName.message).toMatch(/is for other\.example/);

    const expired = await tlsFailure(await ca.issue({ notBefore: ago(20), notAfter: ago(10) }), trusted);
    expect(expired).toMatchObject({ code: "TLS_EXPIRED" });
    expect(expired.message).toContain(`expired on ${ago(10).toISOString().slice(0, 10)}`);

    const early = await tlsFailure(await ca.issue({ notBefore: ago(-10), notAfter: ago(-20) }), trusted);
    expect(early).toMatchObject({ code: "TLS_EXPIRED" });
    expect(early.message).toMatch(/not valid before/);

    const own = await selfSigned({ ca: true });
    expect(await tlsFailure(own, { caCerts: [own.certPem] })).toMatchObject({ code: "TLS_SELF_SIGNED_CA_LEAF" });
  });

  it("knows HTTP and HTTPS mixed up", async () => {
    await using plain = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response());
    expect(await failure(`https://127.0.0.1:${plain.addr.port}/`)).toMatchObject({ code: "HTTP_ONLY" });
    const ca = await createCa();
    const { certPem, keyPem } = await ca.issue();
    const tls = { hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem, onListen: () => {} };
    await using secure = Deno.serve(tls, () => new Response());
    expect(await failure(`http://127.0.0.1:${secure.addr.port}/`)).toMatchObject({ code: "HTTPS_NEEDED" });
  });

  it("knows a port where nobody listens, a name without address and a forbidden port", async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    expect(await failure(`http://127.0.0.1:${port}/`)).toMatchObject({ code: "CONNECTION_REFUSED" });
    expect(await failure("http://no-such-host.invalid/")).toMatchObject({ code: "DNS" });
    expect(await failure("http://127.0.0.1:10080/")).toMatchObject({ code: "BLOCKED_PORT" });
  });

  it("knows broken connections", async () => {
    expect(await tcpFailure("http", async (c) => void await c.read(new Uint8Array(4096)))).toMatchObject({
      code: "CONNECTION_RESET",
    });
    expect(await tcpFailure("http", (c) => say(c, "SSH-2.0-OpenSSH_9.2\r\n"))).toMatchObject({ code: "HTTPS_NEEDED" });
    expect(await tcpFailure("https", (c) => say(c, "SSH-2.0-OpenSSH_9.2\r\n"))).toMatchObject({ code: "HTTP_ONLY" });
    expect(await tcpFailure("https", async (c) => void await c.read(new Uint8Array(4096)))).toMatchObject({
      code: "TLS_OTHER",
    });
  });

  it("knows a body that ends too soon", async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const serving = listener.accept().then(async (connection) => {
      using open = connection;
      await say(open, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    });
    const url = new URL(`http://127.0.0.1:${listener.addr.port}/`);
    const response = await fetch(url);
    const error = await response.text().catch((thrown: unknown) => thrown);
    await serving;
    expect(classifyTransportError(error, url)).toMatchObject({ code: "CONNECTION_RESET" });
  });
});

describe("classifyTransportError()", () => {
  it.each<readonly [string, ErrorCode]>([
    ["client error (Connect): dns error: failed to lookup address information", "DNS"],
    ["client error (Connect): tcp connect error: Connection refused (os error 111)", "CONNECTION_REFUSED"],
    ["client error (Connect): tcp connect error: Connection timed out (os error 110)", "TIMEOUT"],
    ["client error (Connect): tcp connect error: Network is unreachable (os error 101)", "CONNECTION_FAILED"],
    ["client error (SendRequest): connection closed before message completed", "CONNECTION_RESET"],
    ["Connection reset by peer (os error 104)", "CONNECTION_RESET"],
    ["stream closed because of a broken pipe", "CONNECTION_RESET"],
    ["invalid peer certificate: UnknownIssuer", "TLS_UNKNOWN_CA"],
    ["invalid peer certificate: NotValidForName", "TLS_NAME"],
    ["invalid peer certificate: BadSignature", "TLS_OTHER"],
    ["received fatal alert: CertificateRequired", "TLS_CLIENT_CERT"],
    ["received fatal alert: BadCertificate", "TLS_CLIENT_CERT"],
    ["received fatal alert: HandshakeFailure", "TLS_OTHER"],
    ["something that nobody has seen yet", "CONNECTION_FAILED"],
  ])("of %j is %s", (text, code) => {
    const error = new TypeError("fetch failed", { cause: new Error(`error sending request for url (…): ${text}`) });
    expect(classifyTransportError(error, new URL("https://r.example/?canary"))).toMatchObject({ code });
  });

  it("shows neither the URL nor what the library says", () => {
    const error = new TypeError("fetch failed", {
      cause: new Error("for url (https://u:canary@h/?canary): dns error"),
    });
    const { message, hint } = classifyTransportError(error, new URL("https://h.example/?canary"));
    expect(`${message} ${hint}`).not.toContain("canary");
  });

  it("keeps errors of ours, and knows aborts", () => {
    const own = new OutpostError("BUSY", "Cannot go on: busy");
    const url = new URL("https://h.example/");
    expect(classifyTransportError(own, url)).toBe(own);
    expect(classifyTransportError(new DOMException("", "AbortError"), url).code).toBe("CANCELLED");
    expect(classifyTransportError(new DOMException("", "TimeoutError"), url).code).toBe("TIMEOUT");
  });
});
