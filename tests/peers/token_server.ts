/**
 * A token server for docker-registry's token mode: the distribution project's "Token Authentication Specification",
 * with ES256 tokens that carry their certificate (`x5c`).
 *
 * @module
 */
import type { Certificate } from "./tls.ts";

/** One request that the token server saw. */
export interface TokenRequest {
  readonly method: string;
  readonly account: string | undefined;
  readonly scopes: readonly string[];
  readonly status: number;
}

/** What the token server grants. */
export interface TokenServerOptions {
  /** Password by user. */
  readonly users: Readonly<Record<string, string>>;
  /** Issuer and audience as docker-registry is configured. */
  readonly issuer: string;
  readonly service: string;
  /** Signs the tokens; docker-registry trusts it by `rootcertbundle`. */
  readonly certificate: Certificate;
  /** Life of a token in seconds (docker-registry accepts it for 60 s more). Default 300. */
  readonly ttl?: number;
  /** Actions granted of those asked for; by default all. */
  readonly grants?: (user: string, type: string, name: string, actions: readonly string[]) => readonly string[];
}

/** A running token server. */
export interface TokenServer extends AsyncDisposable {
  /** What docker-registry announces as realm. */
  readonly realm: string;
  /** Every request, oldest first. */
  readonly requests: readonly TokenRequest[];
  /** Seconds that the next tokens live. */
  ttl: number;
}

/** Starts a token server on a free loopback port. */
export function startTokenServer(options: TokenServerOptions): TokenServer {
  const requests: TokenRequest[] = [];
  const state = { ttl: options.ttl ?? 300 };
  const handle = async (request: Request): Promise<Response> => {
    const url = new URL(request.url);
    const scopes = url.searchParams.getAll("scope").flatMap((scope) => scope.split(" ")).filter((s) => s !== "");
    const account = basicUser(request.headers.get("authorization"), options.users);
    const record = (status: number): void => void requests.push({ method: request.method, account, scopes, status });
    if (request.method !== "GET") {
      record(405);
      return new Response(null, { status: 405 });
    }
    if (account === undefined) {
      record(401);
      const errors = [{ code: "UNAUTHORIZED", message: "incorrect username or password" }];
      return Response.json({ errors }, { status: 401 });
    }
    record(200);
    const access = scopes.map((scope) => grant(scope, account, options)).filter((entry) => entry !== undefined);
    const token = await sign(access, account, state.ttl, options);
    return Response.json({ token, expires_in: state.ttl, issued_at: new Date().toISOString() });
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handle);
  return {
    realm: `http://127.0.0.1:${server.addr.port}/token`,
    requests,
    get ttl() {
      return state.ttl;
    },
    set ttl(seconds) {
      state.ttl = seconds;
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

function grant(scope: string, user: string, options: TokenServerOptions): Access | undefined {
  const first = scope.indexOf(":");
  const last = scope.lastIndexOf(":");
  if (first < 0 || last === first) return undefined;
  const [type, name, asked] = [scope.slice(0, first), scope.slice(first + 1, last), scope.slice(last + 1).split(",")];
  return { type, name, actions: options.grants?.(user, type, name, asked) ?? asked };
}

function basicUser(header: string | null, users: Readonly<Record<string, string>>): string | undefined {
  const encoded = /^basic (.+)$/i.exec(header ?? "")?.[1];
  if (encoded === undefined) return undefined;
  const pair = new TextDecoder().decode(Uint8Array.fromBase64(encoded));
  const user = pair.slice(0, pair.indexOf(":"));
  return Object.hasOwn(users, user) && users[user] === pair.slice(user.length + 1) ? user : undefined;
}

async function sign(
  access: readonly Access[],
  user: string,
  ttl: number,
  options: TokenServerOptions,
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const header = { typ: "JWT", alg: "ES256", x5c: [options.certificate.der.toBase64()] };
  const claims = {
    iss: options.issuer,
    aud: options.service,
    sub: user,
    iat: now,
    nbf: now - 5,
    exp: now + ttl,
    jti: crypto.randomUUID(),
    access,
  };
  const signed = `${base64Url(JSON.stringify(header))}.${base64Url(JSON.stringify(claims))}`;
  const bytes = new TextEncoder().encode(signed);
  const algorithm = { name: "ECDSA", hash: "SHA-256" };
  const signature = await crypto.subtle.sign(algorithm, options.certificate.privateKey, bytes);
  return `${signed}.${base64Url(new Uint8Array(signature))}`;
}

function base64Url(value: string | Uint8Array): string {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
