import { describe, expect, it } from "vitest";
import { createCa } from "../../tests/peers/tls.ts";
import { createDenoTransport } from "./deno_transport.ts";

const transport = createDenoTransport({ fetch, createHttpClient: Deno.createHttpClient });
/** PEM around bytes that are no certificate. */
const DAMAGED = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

describe("createDenoTransport()", () => {
  it("says at once which settings may hold a certificate that is none", async () => {
    const message = /^Cannot use a certificate for TLS: /;
    const hint = expect.stringMatching(/CA_CERT.*CR_CLIENT_CERT/);
    const refused = (open: () => unknown): void => {
      expect(open).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringMatching(message), hint }),
      );
    };
    refused(() => transport.open({ caCerts: [DAMAGED] }));
    const { keyPem } = await (await createCa()).issue();
    refused(() => transport.open({ clientCertificate: { cert: DAMAGED, key: keyPem } }));
  });
});
