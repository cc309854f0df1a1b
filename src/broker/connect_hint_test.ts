import { describe, expect, it } from "vitest";
import { connectHint } from "./connect_hint.ts";

const PREFIX = "NetworkError: failed to connect to WebSocket: ";

describe("connectHint()", () => {
  it.each([
    ["proxy authentication required", "HTTPS_PROXY"],
    ["invalid peer certificate: UnknownIssuer", "CA_CERT"],
    ['invalid peer certificate: certificate not valid for name "broker.example"', "BROKER_SERVER_URL"],
    ["invalid peer certificate: certificate expired", "Renew"],
    ["invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "CA:FALSE"],
    ["invalid peer certificate: BadEncoding", "openssl s_client -connect broker.example:443"],
    ["failed to lookup address information: Name or service not known", "DNS"],
  ])("knows what to do about %s", (detail, part) => {
    expect(connectHint(PREFIX + detail, "broker.example:443")).toContain(part);
  });

  it("gives no advice that nobody can follow", () => {
    expect(connectHint(`${PREFIX}Invalid status code: 502`, "broker.example")).toBe(undefined);
  });
});
