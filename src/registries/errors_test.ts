import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ErrorCode } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { BufferedResponse } from "../net/http.ts";
import { type ErrorContext, parseErrorBody, registryError } from "./errors.ts";
import { dockerHub } from "./docker_hub.ts";
import { oci } from "./oci.ts";

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

function response(
  status: number,
  body: string,
  options: Partial<BufferedResponse> & { type?: string } = {},
): BufferedResponse {
  const headers = new Headers(options.type === undefined ? {} : { "content-type": options.type });
  return { status, headers, url: new URL("https://r.example/v2/"), retryAt: undefined, ...options, body: encode(body) };
}

const context: ErrorContext = {
  host: "r.example",
  action: "list the tags of a at r.example",
  subject: "tags",
  flavour: oci,
  origin: "https://r.example",
  login: "token",
  hasCredentials: true,
  redact: (text) => text.replaceAll("canary", "***"),
};

describe("parseErrorBody()", () => {
  it.each<readonly [string, readonly string[], string | undefined]>([
    [
      '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}',
      ["MANIFEST_UNKNOWN"],
      "manifest unknown",
    ],
    ['{"errors":[{"code":"UNAUTHORIZED"}]}', ["UNAUTHORIZED"], undefined],
    ['{"code":"UNAUTHORIZED","message":"authentication required"}', ["UNAUTHORIZED"], "authentication required"],
    ['{"errors":[{"status":404,"message":"Not Found"}]}', [], "Not Found"],
    ['{"details":"incorrect username or password"}', [], "incorrect username or password"],
    ['{"error":"Invalid bearer token format"}', [], "Invalid bearer token format"],
    [
      '{"error":"insufficient_scope","error_description":"The request requires higher privileges","scope":"api"}',
      [],
      "The request requires higher privileges",
    ],
    ['{"message":"Bad credentials","documentation_url":"https://docs"}', [], "Bad credentials"],
    ['{"id":"unauthorized","message":"Unable to authenticate you"}', ["UNAUTHORIZED"], "Unable to authenticate you"],
    ['{"__type":"RepositoryNotFoundException","message":"no"}', ["REPOSITORYNOTFOUNDEXCEPTION"], "no"],
    ['{"detail":"Incorrect authentication credentials"}', [], "Incorrect authentication credentials"],
    ['{"error":{"code":403,"message":"No right","status":"PERMISSION_DENIED"}}', ["PERMISSION_DENIED"], "No right"],
    [
      '{"error":"invalid_grant","error_description":"Invalid JWT Signature."}',
      ["INVALID_GRANT"],
      "Invalid JWT Signature.",
    ],
    ["404 page not found\n", [], "404 page not found"],
    [
      "<?xml version='1.0'?><Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>",
      ["INVALIDARGUMENT"],
      "Only one auth mechanism allowed",
    ],
    ["Client sent an HTTP request to an HTTPS server.\n", [], "Client sent an HTTP request to an HTTPS server."],
    ['{"errors":null}', [], undefined],
    ['{"errors":[null,3,"x"]}', [], undefined],
    ["[]", [], undefined],
    ["", [], undefined],
    ['{"message":"two\\nlines \\u0007 bell"}', [], "two lines bell"],
  ])("reads %j", (body, codes, message) => {
    expect(parseErrorBody(encode(body), null)).toEqual({ codes, message, html: false });
  });

  it("never takes HTML for a message, and cuts long ones", () => {
    expect(parseErrorBody(encode("<!DOCTYPE html><html>x"), null)).toEqual({
      codes: [],
      message: undefined,
      html: true,
    });
    expect(parseErrorBody(encode("  <html>"), "text/html; charset=utf-8").html).toBe(true);
    expect(parseErrorBody(encode("x"), "text/html").html).toBe(true);
    expect(parseErrorBody(encode("x".repeat(2000)), null).message?.length).toBe(LIMITS.errorMessageChars);
  });

  it("reads anything without failing", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (body) => void parseErrorBody(body, null)));
    fc.assert(fc.property(fc.json(), (body) => void parseErrorBody(encode(body), "application/json")));
  });
});

describe("registryError()", () => {
  it.each<readonly [string, number, string, Partial<ErrorContext>, ErrorCode]>([
    ["a refused password", 401, "", { subject: "login", login: "basic" }, "BAD_CREDENTIALS"],
    ["a refused password at the token server", 403, '{"errors":[{"code":"DENIED"}]}', {
      subject: "login",
      login: "none",
    }, "BAD_CREDENTIALS"],
    ["a refused password on a list", 401, "", { login: "basic" }, "BAD_CREDENTIALS"],
    ["a list that needs a login", 401, "", { login: "none", hasCredentials: false }, "BAD_CREDENTIALS"],
    [
      "a catalog that an account may not read",
      401,
      "",
      { subject: "catalog", login: "token" },
      "NO_CATALOG_PERMISSION",
    ],
    [
      "a catalog that an accepted login may not read",
      401,
      "",
      { subject: "catalog", login: "basic-accepted" },
      "NO_CATALOG_PERMISSION",
    ],
    ["a forbidden catalog", 403, "", { subject: "catalog", login: "basic" }, "NO_CATALOG_PERMISSION"],
    ["a repository that an account may not read", 401, "", { login: "token" }, "REPO_FORBIDDEN"],
    [
      "a forbidden repository",
      403,
      '{"errors":[{"code":"DENIED"}]}',
      { subject: "manifest", login: "basic" },
      "REPO_FORBIDDEN",
    ],
    [
      "Harbor's unknown project",
      401,
      '{"errors":[{"code":"UNAUTHORIZED","message":"project x not found"}]}',
      {},
      "REPO_NOT_FOUND",
    ],
    [
      "expired credentials",
      403,
      '{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}',
      {},
      "EXPIRED_CREDENTIALS",
    ],
    ["an unknown repository", 404, '{"errors":[{"code":"NAME_UNKNOWN"}]}', { subject: "manifest" }, "REPO_NOT_FOUND"],
    ["an unknown repository in a list", 404, "404 page not found", {}, "REPO_NOT_FOUND"],
    ["an unknown tag", 404, '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', { subject: "manifest" }, "TAG_NOT_FOUND"],
    ["an unknown blob", 404, '{"errors":[{"code":"BLOB_UNKNOWN"}]}', { subject: "blob" }, "BLOB_NOT_FOUND"],
    ["a missing catalog", 404, "404 page not found", { subject: "catalog" }, "CATALOG_UNSUPPORTED"],
    ["a forbidden method on the catalog", 405, "", { subject: "catalog" }, "CATALOG_UNSUPPORTED"],
    ["another server", 404, "<html>", { subject: "api" }, "NOT_A_REGISTRY"],
    ["a web page", 200, "<html>", {}, "NOT_A_REGISTRY"],
    ["too many requests", 429, "", {}, "RATE_LIMITED"],
    ["too many requests by code", 403, '{"errors":[{"code":"TOOMANYREQUESTS"}]}', {}, "RATE_LIMITED"],
    ["a failing registry", 503, "", {}, "REGISTRY_ERROR"],
    [
      "HTTP to Go's TLS server",
      400,
      "Client sent an HTTP request to an HTTPS server.",
      { subject: "api" },
      "HTTPS_NEEDED",
    ],
    [
      "HTTP to nginx' TLS server",
      400,
      "The plain HTTP request was sent to HTTPS port",
      { subject: "api" },
      "HTTPS_NEEDED",
    ],
    ["a name that it does not take", 400, '{"errors":[{"code":"NAME_INVALID"}]}', {}, "REFERENCE_INVALID"],
    ["anything else", 418, "", {}, "REGISTRY_ERROR"],
    ["a success that is none", 204, "", {}, "REGISTRY_PROTOCOL"],
  ])("knows %s", (_, status, body, differs, code) => {
    const error = registryError(response(status, body), { ...context, ...differs });
    expect(error.code).toBe(code);
    expect(error.status).toBe([401, 403, 404, 429].includes(status) ? status : error.status);
    expect(error.message).toMatch(/^Cannot list the tags of a at r\.example: [a-z].*[^.]$/);
  });

  it("knows a login page that it was redirected to", () => {
    const url = new URL("https://sso.example/login");
    expect(registryError(response(200, "<html>", { url }), context)).toMatchObject({ code: "LOGIN_PAGE" });
    expect(registryError(response(401, "<html>", { url }), context)).toMatchObject({ code: "LOGIN_PAGE" });
    const jfrog = new URL("https://landing.jfrog.com/reactivate-server/x");
    expect(registryError(response(200, "<html>", { url: jfrog }), context).hint).toMatch(/deactivated/);
  });

  it("repeats what the registry says, but no secret and no web page", () => {
    const said = registryError(response(401, '{"errors":[{"message":"wrong password canary"}]}'), context);
    expect(said.message).toMatch(/\(the registry says: wrong password \*\*\*\)$/);
    expect(registryError(response(500, "<html>canary"), context).message).not.toContain("canary");
  });

  it("says when to try again", () => {
    const retryAt = Date.UTC(2030, 0, 1);
    const error = registryError(response(429, "", { retryAt }), { ...context, flavour: dockerHub });
    expect(error).toMatchObject({ code: "RATE_LIMITED", retryAt, retryable: true, status: 429 });
    expect(error.hint).toMatch(/^Try again after 2030-01-01T00:00:00\.000Z\. Docker Hub/);
  });
});
