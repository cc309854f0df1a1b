/** Direct connections over TLS, by the process's own dialer. */
import { describe, expect, it } from "vitest";
import { DirectClient } from "../../src/net/direct.ts";
import { streamFrom } from "../../src/net/pulled_body.ts";
import { dialer, systemClock } from "../../src/world.ts";
import { createCa } from "../peers/tls.ts";

describe("DirectClient over TLS", () => {
  it("trusts a private authority that it was given, for the names in the certificate, and no other", async () => {
    const ca = await createCa();
    const { certPem, keyPem } = await ca.issue({ hosts: ["localhost"] });
    let requests = 0;
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {}, cert: certPem, key: keyPem },
      async (request) => {
        requests++;
        return new Response(`${request.method} ${await request.text()}`);
      },
    );
    const { port } = server.addr;
    const { signal } = new AbortController();
    const ask = async (authorities: readonly string[], host: string): Promise<string | undefined> => {
      const client = new DirectClient({ dial: dialer(authorities), clock: systemClock });
      const body = { prefix: new TextEncoder().encode("hello"), source: undefined };
      const url = new URL(`https://${host}:${port}/`);
      const response = await client.exchange({ method: "POST", url, fields: [], body, signal });
      const text = response && await new Response(streamFrom(response.body)).text();
      client.close();
      return text;
    };
    expect(await ask([ca.certPem], "localhost")).toBe("POST hello");
    expect(await ask([], "localhost")).toBe(undefined);
    expect(await ask([ca.certPem], "127.0.0.1")).toBe(undefined);
    expect(requests).toBe(1);
    await server.shutdown();
  });
});
