import { describe, expect, it } from "vitest";
import { type AwsKey, type SignedRequest, verifySignature } from "./aws_signature.ts";

/** The pair and the time of AWS' signature version 4 test suite. */
const KEY: AwsKey = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
const NOW = Date.UTC(2015, 7, 30, 12, 36, 0);
const PLACE = { service: "service", region: "us-east-1" };

function request(signature: string, more: Partial<SignedRequest> = {}): SignedRequest {
  const scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
  const authorization = `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host;x-amz-date, Signature=${signature}`;
  const headers = new Headers({ "x-amz-date": "20150830T123600Z", authorization });
  return { method: "GET", url: new URL("https://example.amazonaws.com/"), headers, body: "", ...more };
}

/** From the suite's get-vanilla and get-vanilla-query-order-key-case. */
const VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
const QUERY = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";

describe("verifySignature()", () => {
  it("takes the signatures of AWS' test suite", () => {
    expect(verifySignature(request(VANILLA), [KEY], PLACE, NOW)).toMatchObject({ ok: true, key: KEY });
    const url = new URL("https://example.amazonaws.com/?Param2=value2&Param1=value1");
    expect(verifySignature(request(QUERY, { url }), [KEY], PLACE, NOW)).toMatchObject({ ok: true });
  });

  it.each<readonly [string, Partial<SignedRequest>, Partial<{ service: string; region: string }>, number]>([
    ["another body", { body: "x" }, {}, NOW],
    ["another method", { method: "POST" }, {}, NOW],
    ["another host", { url: new URL("https://evil.example/") }, {}, NOW],
    ["another path", { url: new URL("https://example.amazonaws.com/x") }, {}, NOW],
    ["another service", {}, { service: "sts" }, NOW],
    ["another region", {}, { region: "eu-west-1" }, NOW],
    ["another time", {}, {}, NOW + 5 * 60_000 + 1],
  ])("refuses them with %s", (_, more, place, now) => {
    const verdict = verifySignature(request(VANILLA, more), [KEY], { ...PLACE, ...place }, now);
    expect(verdict).toEqual({ ok: false, error: "SignatureDoesNotMatch" });
  });

  it("refuses unsigned fields, unknown keys, sessions without their token, and requests without a signature", () => {
    const unsigned = request(VANILLA);
    unsigned.headers.set("x-amz-target", "Service.Operation");
    expect(verifySignature(unsigned, [KEY], PLACE, NOW)).toMatchObject({ error: "SignatureDoesNotMatch" });
    expect(verifySignature(request(VANILLA), [], PLACE, NOW)).toMatchObject({ error: "InvalidClientTokenId" });
    const session = { ...KEY, sessionToken: "token" };
    expect(verifySignature(request(VANILLA), [session], PLACE, NOW)).toMatchObject({ error: "InvalidClientTokenId" });
    const bare = { ...request(VANILLA), headers: new Headers() };
    expect(verifySignature(bare, [KEY], PLACE, NOW)).toMatchObject({ error: "MissingAuthenticationToken" });
  });
});
