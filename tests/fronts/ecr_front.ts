/**
 * Amazon ECR with the STS before it (registries.md §2.12): signatures are checked for real, sessions and passwords belong
 * together, `/v2` says what ECR says. The identity that may assume the role is {@link BASE_KEY}.
 *
 * @module
 */
import { type AwsKey, verifySignature } from "./aws_signature.ts";
import type { Front, FrontCall, FrontDefinition, Site } from "./front.ts";
import { ociError, parseV2, windowOf } from "./parts.ts";

/** The accounts; the first one is that of the definition's credentials. */
export const ACCOUNTS = ["123456789012", "210987654321"] as const;
export const REGION = "eu-central-1";
const EXTERNAL_ID = "canary-external-id";

/** The role of an account that may be assumed. */
export function roleOf(account: string): string {
  return `arn:aws:iam::${account}:role/outpost-reader`;
}

function hostOf(account: string): string {
  return `${account}.dkr.ecr.${REGION}.amazonaws.com`;
}

const CALLER = "arn:aws:iam::999999999999:user/outpost";
const PAGE = 1000;
const SESSION_MS = 3_600_000;

/** The key pair of the machine's own identity. */
export const BASE_KEY: AwsKey = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "canary-base-secret-key" };

/** What a web identity is exchanged for. */
const WEB_KEY: AwsKey = {
  accessKeyId: "ASIAIOSFODNN7WEBIDEN",
  secretAccessKey: "canary-web-secret-key",
  sessionToken: "canary-web-session-token",
};

/** The token that Kubernetes puts into a file. */
export const WEB_IDENTITY = "canary-web-identity";

/** Lives as long as skopeo needs it. */
const SKOPEO_PASSWORD = "canary-skopeo-password";

/** What AssumeRole gives. */
interface Session extends AwsKey {
  readonly account: string;
}

/** Sessions that a front gave. */
const sessions = new WeakMap<Front, Session[]>();

function sessionsOf(front: Front): Session[] {
  const known = sessions.get(front) ?? [];
  sessions.set(front, known);
  return known;
}

/** Two accounts in one region; their repositories have the same names. */
export const ecrFront: FrontDefinition = {
  type: "ecr",
  credentials: { type: "ecr", base: "", roleArn: roleOf(ACCOUNTS[0]), region: REGION, externalId: EXTERNAL_ID },
  wrong: { externalId: "canary-wrong-external-id" },
  repository: (at) => `team/app-${String(at).padStart(4, "0")}`,
  catalogPage: PAGE,
  tagsPage: PAGE,
  dates: true,
  blobs: "redirect",
  skopeoLogin: `AWS:${SKOPEO_PASSWORD}`,
  sites: (front) => {
    front.addSecret("external-id", EXTERNAL_ID);
    for (const key of [BASE_KEY, WEB_KEY]) front.addSecret("secret-key", key.secretAccessKey);
    front.addSecret("web-identity", WEB_IDENTITY);
    const registry = (account: string): Site => ({
      origin: `https://${hostOf(account)}`,
      accepts: ["token"],
      handle: (call) => v2(front, call, account),
    });
    return {
      registry: registry(ACCOUNTS[0]),
      "other-registry": registry(ACCOUNTS[1]),
      sts: {
        origin: `https://sts.${REGION}.amazonaws.com`,
        accepts: ["external-id", "web-identity"],
        handle: (call) => sts(front, call),
      },
      "ecr-api": {
        origin: `https://api.ecr.${REGION}.amazonaws.com`,
        accepts: ["session-token"],
        handle: (call) => api(front, call),
      },
    };
  },
};

function sts(front: Front, call: FrontCall): Response {
  const form = new URLSearchParams(call.body);
  if (form.get("Action") === "AssumeRoleWithWebIdentity") return byWebIdentity(form);
  const verdict = verifySignature(call, [BASE_KEY, WEB_KEY], { service: "sts", region: REGION });
  if (!verdict.ok) {
    const message = verdict.error === "InvalidClientTokenId"
      ? "The security token included in the request is invalid."
      : "The request signature we calculated does not match the signature you provided.";
    return stsError(403, verdict.error, message);
  }
  if (front.state.expired) {
    return stsError(403, "ExpiredToken", "The security token included in the request is expired");
  }
  if (form.get("Action") !== "AssumeRole" || form.get("Version") !== "2011-06-15") {
    return stsError(400, "InvalidAction", "Could not find operation");
  }
  const role = form.get("RoleArn") ?? "";
  const account = ACCOUNTS.find((candidate) => roleOf(candidate) === role);
  if (account === undefined || form.get("ExternalId") !== EXTERNAL_ID) {
    const message = `User: ${CALLER} is not authorized to perform: sts:AssumeRole on resource: ${role}`;
    return stsError(403, "AccessDenied", message);
  }
  return session(front, account);
}

/** Kubernetes' way: unsigned, with a token of the cluster; gives the identity that may assume the role. */
function byWebIdentity(form: URLSearchParams): Response {
  if (form.get("WebIdentityToken") !== WEB_IDENTITY) {
    return stsError(400, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider");
  }
  return credentialsXml("AssumeRoleWithWebIdentity", ACCOUNTS[0], WEB_KEY);
}

function session(front: Front, account: string): Response {
  const sessionToken = `canary-session-${crypto.randomUUID()}`;
  front.addSecret("session-token", sessionToken);
  const secretAccessKey = `canary-session-secret-${crypto.randomUUID()}`;
  front.addSecret("secret-key", secretAccessKey);
  const accessKeyId = `ASIA${crypto.randomUUID().replaceAll("-", "").slice(0, 16).toUpperCase()}`;
  const key: Session = { accessKeyId, secretAccessKey, sessionToken, account };
  sessionsOf(front).push(key);
  return credentialsXml("AssumeRole", account, key);
}

function credentialsXml(
  action: string,
  account: string,
  { accessKeyId, secretAccessKey, sessionToken = "" }: AwsKey,
): Response {
  const expiration = new Date(Date.now() + SESSION_MS).toISOString();
  const credentials = `<Credentials><AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>${secretAccessKey}` +
    `</SecretAccessKey><SessionToken>${sessionToken}</SessionToken><Expiration>${expiration}</Expiration></Credentials>`;
  const user =
    `<AssumedRoleUser><AssumedRoleId>AROA3XFRBF535PLBIFPI4:outpost</AssumedRoleId><Arn>arn:aws:sts::${account}` +
    `:assumed-role/outpost-reader/outpost</Arn></AssumedRoleUser>`;
  return xml(
    200,
    `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result>${credentials}${user}` +
      `</${action}Result><ResponseMetadata><RequestId>${crypto.randomUUID()}</RequestId></ResponseMetadata></${action}Response>`,
  );
}

function stsError(status: number, code: string, message: string): Response {
  return xml(
    status,
    `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code>` +
      `<Message>${message}</Message></Error><RequestId>${crypto.randomUUID()}</RequestId></ErrorResponse>`,
  );
}

function xml(status: number, body: string): Response {
  return new Response(body, { status, headers: { "content-type": "text/xml" } });
}

function api(front: Front, call: FrontCall): Response {
  const verdict = verifySignature(call, sessionsOf(front), { service: "ecr", region: REGION });
  if (!verdict.ok) {
    return verdict.error === "SignatureDoesNotMatch"
      ? apiError(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided.",
      )
      : apiError("UnrecognizedClientException", "The security token included in the request is invalid.");
  }
  if (front.state.expired) {
    return apiError("ExpiredTokenException", "The security token included in the request is expired");
  }
  const { account = "" } = sessionsOf(front).find(({ accessKeyId }) => accessKeyId === verdict.key.accessKeyId) ?? {};
  const input = JSON.parse(call.body) as Readonly<Record<string, unknown>>;
  switch (call.headers.get("x-amz-target")) {
    case "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken":
      return authorization(front, account);
    case "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories":
      return repositories(front, input, account);
    case "AmazonEC2ContainerRegistry_V20150921.DescribeImages":
      return images(front, input, account);
    default:
      return apiError("UnknownOperationException", "");
  }
}

function json(status: number, value: unknown): Response {
  return Response.json(value, { status, headers: { "content-type": "application/x-amz-json-1.1" } });
}

function apiError(type: string, message: string): Response {
  return json(400, { __type: type, message });
}

function authorization(front: Front, account: string): Response {
  const { value } = front.issue([account]);
  const expiresAt = Date.now() / 1000 + 12 * 3600;
  return json(200, {
    authorizationData: [{
      authorizationToken: btoa(`AWS:${value}`),
      expiresAt,
      proxyEndpoint: `https://${hostOf(account)}`,
    }],
  });
}

function denied(action: string, account: string): Response {
  const message = `User: arn:aws:sts::${account}:assumed-role/outpost-reader/outpost is not authorized to perform: ` +
    `ecr:${action} on resource: arn:aws:ecr:${REGION}:${account}:repository/* because no identity-based policy allows ` +
    `the ecr:${action} action`;
  return apiError("AccessDeniedException", message);
}

function repositories(front: Front, input: Readonly<Record<string, unknown>>, account: string): Response {
  if (!front.state.mayList || input["registryId"] !== account) return denied("DescribeRepositories", account);
  const page = cut(input, front.library.names);
  if (page === undefined) return tooMany();
  const list = page.items.map((repositoryName) => ({
    repositoryArn: `arn:aws:ecr:${REGION}:${account}:repository/${repositoryName}`,
    registryId: account,
    repositoryName,
    repositoryUri: `${hostOf(account)}/${repositoryName}`,
    createdAt: 1_704_067_200.123,
    imageTagMutability: "MUTABLE",
  }));
  return json(200, { repositories: list, ...page.next });
}

function images(front: Front, input: Readonly<Record<string, unknown>>, account: string): Response {
  const name = String(input["repositoryName"]);
  const tags = front.library.tags(name);
  if (tags === undefined) {
    const message = `The repository with name '${name}' does not exist in the registry with id '${account}'`;
    return apiError("RepositoryNotFoundException", message);
  }
  // One entry per push time: the library moves tags one by one, which ECR's shape cannot show otherwise.
  const page = cut(input, tags);
  if (page === undefined) return tooMany();
  const imageDetails = page.items.map(({ tag, digest, mediaType, size, pushed }) => ({
    registryId: account,
    repositoryName: name,
    imageDigest: digest,
    imageTags: [tag],
    imageSizeInBytes: size,
    imagePushedAt: Date.parse(pushed) / 1000,
    imageManifestMediaType: mediaType,
  }));
  return json(200, { imageDetails, ...page.next });
}

/** A page by `maxResults` and an opaque `nextToken`; undefined when too many are asked for. */
function cut<T>(
  input: Readonly<Record<string, unknown>>,
  all: readonly T[],
): { readonly items: readonly T[]; readonly next: { readonly nextToken?: string } } | undefined {
  const size = Number(input["maxResults"] ?? 100);
  if (size > PAGE) return undefined;
  const token = input["nextToken"];
  const from = typeof token === "string" ? Number(atob(token)) : 0;
  const end = from + size;
  return { items: all.slice(from, end), next: end < all.length ? { nextToken: btoa(String(end)) } : {} };
}

function tooMany(): Response {
  return apiError("InvalidParameterException", "Invalid parameter at 'maxResults' failed to satisfy constraint");
}

async function v2(front: Front, call: FrontCall, account: string): Promise<Response> {
  const password = call.basic?.username === "AWS" ? call.basic.password : undefined;
  if (password === undefined) {
    const challenge = `Basic realm="${call.url.origin}/",service="ecr.amazonaws.com"`;
    return new Response("Not Authorized\n", { status: 401, headers: { "www-authenticate": challenge } });
  }
  const token = front.token({ ...call, bearer: password });
  const alive = password === SKOPEO_PASSWORD ||
    (token !== undefined && token.scopes.includes(account) && !token.revoked && !front.state.expired);
  if (!alive) return ociError(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.");
  const { kind, name } = parseV2(call.url.pathname);
  if (kind !== "tags") return await front.serve(call);
  return tagList(front, call, name, account);
}

function tagList(front: Front, { url }: FrontCall, name: string, account: string): Response {
  const tags = front.library.tags(name);
  if (tags === undefined) {
    const message = `The repository with name '${name}' does not exist in the registry with id '${account}'`;
    return ociError(404, "NAME_UNKNOWN", message);
  }
  if (Number(url.searchParams.get("n") ?? "1") > PAGE) {
    const message =
      "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than " +
      "or equal to 1000'";
    return ociError(405, "UNSUPPORTED", message);
  }
  const { items, last, n } = windowOf(url, tags, ({ tag }) => tag, { cap: PAGE });
  const next = `${url.origin}/v2/${name}/tags/list?last=${encodeURIComponent(last ?? "")}&n=${n}`;
  const headers: Record<string, string> = last === undefined ? {} : { link: `<${next}>; rel="next"` };
  return Response.json({ name, tags: items.map(({ tag }) => tag) }, { headers });
}
