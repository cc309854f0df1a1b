import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import {
  encodeRequestHead,
  type Field,
  type Framing,
  headEnd,
  isFieldName,
  isFieldValue,
  parseResponseHead,
  writeRequestHead,
} from "./http1_head.ts";

const bytes = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
const parse = (text: string, withoutBody = false) => parseResponseHead(bytes(`${text}\r\n\r\n`), withoutBody);

describe("headEnd()", () => {
  it("is behind the empty line, wherever the bytes begin and end", () => {
    const text = "xxHTTP/1.1 200 OK\r\na: b\r\n\r\nbody\r\n\r\n";
    const end = text.indexOf("body");
    expect(headEnd(bytes(text), 2, text.length)).toBe(end);
    expect(headEnd(bytes(text), 2, end)).toBe(end);
    expect(headEnd(bytes(text), 2, end - 1)).toBe(-1);
  });

  it("takes no bare line feeds", () => {
    expect(headEnd(bytes("HTTP/1.1 200 OK\n\n"), 0, 17)).toBe(-1);
  });
});

describe("parseResponseHead()", () => {
  it("reads status, fields in lower case, and the length", () => {
    const head = parse(
      "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\nSet-Cookie: a=1\r\nset-cookie:\t b=2 \r\nX-E: \xe9",
    );
    expect(head).toEqual({
      status: 404,
      fields: [["content-length", "7"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-e", "\xe9"]],
      framing: { kind: "length", bytes: 7 },
      keepAlive: true,
    });
  });

  it.each([
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", { kind: "chunked" }, true],
    ["HTTP/1.1 200 OK", { kind: "close" }, false],
    ["HTTP/1.1 200", { kind: "close" }, false],
    ["HTTP/1.1 204 No Content", { kind: "length", bytes: 0 }, true],
    ["HTTP/1.1 304 Not Modified\r\nContent-Length: 9", { kind: "length", bytes: 0 }, true],
    ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3", { kind: "length", bytes: 3 }, true],
    ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: x, Close", { kind: "length", bytes: 3 }, false],
    ["HTTP/1.0 200 OK\r\nContent-Length: 3", { kind: "length", bytes: 3 }, false],
  ])("knows where the body of %j ends, and whether the connection lives on", (text, framing, keepAlive) => {
    expect(parse(text)).toMatchObject({ framing, keepAlive });
  });

  it("expects no body after HEAD", () => {
    expect(parse("HTTP/1.1 200 OK\r\nContent-Length: 9", true).framing).toEqual({ kind: "length", bytes: 0 });
  });

  it.each([
    "HTTP/2 200",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 099 Odd",
    "ICY 200 OK",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4",
    "HTTP/1.1 200 OK\r\nContent-Length: 3, 3",
    "HTTP/1.1 200 OK\r\nContent-Length: +3",
    "HTTP/1.1 200 OK\r\nContent-Length: 0x3",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\na: b\r\n folded",
    "HTTP/1.1 200 OK\r\nno colon",
    "HTTP/1.1 200 OK\r\n: empty",
    "HTTP/1.1 200 OK\r\nContent-Length : 3",
    "HTTP/1.1 200 OK\r\na: b\0c",
    "HTTP/1.1 200 OK\r\na: b\nc: d",
    "HTTP/1.1 200 OK\r\na: b\rc",
  ])("refuses %j", (text) => {
    expect(() => parse(text)).toThrow(OutpostError);
  });

  it("gives a head or an OutpostError for any bytes", () => {
    const noise = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("\r\n", ":", " ", "Content-Length", "Transfer-Encoding", "chunked", "HTTP/1.1 200 OK", "7"),
    );
    fc.assert(
      fc.property(fc.array(noise), (parts) => {
        try {
          expect(parseResponseHead(bytes(`${parts.join("")}\r\n\r\n`), false).status).toBeGreaterThan(99);
        } catch (error) {
          expect(error).toBeInstanceOf(OutpostError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("encodeRequestHead()", () => {
  it("writes what it is given, latin-1 included, with the body's framing", () => {
    const url = new URL("http://host:81/a?b=c#d");
    const text = (method: string, to: URL, fields: Iterable<Field>, framing?: Framing): string =>
      String.fromCharCode(...encodeRequestHead(method, to, fields, framing));
    expect(text("GET", url, [["x", "y".repeat(5_000)]])).toContain(`\r\nx: ${"y".repeat(5_000)}\r\n\r\n`);
    expect(text("GET", url, [["x", "\xe9"]])).toBe(
      "GET /a?b=c HTTP/1.1\r\nhost: host:81\r\nx: \xe9\r\n\r\n",
    );
    expect(text("POST", url, [], { kind: "length", bytes: 5 })).toContain("\r\ncontent-length: 5\r\n\r\n");
    expect(text("POST", url, [], { kind: "chunked" })).toContain("\r\ntransfer-encoding: chunked\r\n\r\n");
  });

  it("says when the target of writeRequestHead() is too small", () => {
    const url = new URL("http://host/");
    expect(writeRequestHead("GET", url, [], undefined, new Uint8Array(29))).toBe(undefined);
    expect(writeRequestHead("GET", url, [], undefined, new Uint8Array(30))).toBe(30);
  });

  it("is protected by the checks of names and values", () => {
    for (const name of ["", "a b", "a:", "a\r\n", "\xe9"]) expect(isFieldName(name)).toBe(false);
    for (const value of ["\r", "\n", "\0", "a\r\nb: c", "\u0100", "\x7f"]) expect(isFieldValue(value)).toBe(false);
    expect(isFieldName("x-a_b!")).toBe(true);
    expect(isFieldValue("\tany \xff")).toBe(true);
  });
});
