/**
 * The services that give a container (ECS, EKS Pod Identity) and an EC2 instance (IMDSv2) their credentials.
 *
 * @module
 */
import type { AwsKey } from "../fronts/aws_signature.ts";

/** A running server. */
export interface MetadataServer extends AsyncDisposable {
  readonly url: string;
  /** `METHOD /path token`, with a dash for no token. */
  readonly requests: readonly string[];
}

const INSTANCE = "/latest/meta-data/iam/security-credentials/";
const TOKEN = "imds-token";

/** Serves a key: `/container` for containers, IMDSv2's paths for an instance with the role `outpost-instance`. */
export function startServer({ accessKeyId, secretAccessKey, sessionToken }: AwsKey): MetadataServer {
  const requests: string[] = [];
  const handle = (request: Request): Response => {
    const { pathname } = new URL(request.url);
    const token = request.headers.get("x-aws-ec2-metadata-token") ?? request.headers.get("authorization") ?? "-";
    requests.push(`${request.method} ${pathname} ${token}`);
    const key = {
      Code: "Success",
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey,
      // The SDK takes no answer without one; an empty one is sent by nobody.
      Token: sessionToken ?? "",
      Expiration: new Date(Date.now() + 6 * 3600_000).toISOString(),
    };
    if (pathname === "/container") return Response.json(key);
    if (request.method === "PUT" && pathname === "/latest/api/token") return new Response(TOKEN);
    if (token !== TOKEN) return new Response(null, { status: 401 });
    if (pathname === INSTANCE) return new Response("outpost-instance");
    return pathname === `${INSTANCE}outpost-instance` ? Response.json(key) : new Response(null, { status: 404 });
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handle);
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    requests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
