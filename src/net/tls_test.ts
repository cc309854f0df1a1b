import { describe, expect, it } from "vitest";
import { createCa } from "../../tests/peers/tls.ts";
import { parseCertificates } from "./tls.ts";

describe("parseCertificates()", () => {
  it("takes every certificate out of a bundle with comments", async () => {
    const [first, second] = [await createCa("one"), await createCa("two")];
    const bundle = `# subject=one\r\n${first.certPem}\n# subject=two\n${second.certPem}`;
    expect(parseCertificates(bundle, "CA_CERT")).toEqual([first.certPem, second.certPem]);
  });

  it("refuses a file without certificates, and a private key", async () => {
    expect(() => parseCertificates("", "CA_CERT")).toThrow(/^Cannot use the certificates of CA_CERT: there are none/);
    const { keyPem } = await createCa();
    try {
      parseCertificates(keyPem, "CA_CERT");
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: "CONFIG_INVALID", hint: expect.stringContaining("private key") });
    }
  });
});
