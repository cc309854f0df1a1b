/**
 * AWS' APIs behind type `ecr`: STS for the role, ECR for passwords and lists. The one file that imports the AWS SDK, and
 * itself imported only when an `ecr` is used.
 *
 * The SDK signs, reads credentials and parses; its requests go through our HTTP client, so that authorities, proxies,
 * gates and retries are those of every other request. Only its look-ups of base credentials in a container or on EC2 are
 * made by itself: these are link-local.
 *
 * @module
 */
import {
  DescribeImagesCommand,
  DescribeRepositoriesCommand,
  ECRClient,
  GetAuthorizationTokenCommand,
} from "@aws-sdk/client-ecr";
import { AssumeRoleCommand, STSClient } from "@aws-sdk/client-sts";
import { isDigest } from "../core/digest.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import type { TagInfo } from "../core/types.ts";
import type { HttpClient, HttpRequest } from "../net/http.ts";
import { awsError, type AwsErrorContext } from "./aws_errors.ts";
import { protocolError } from "./errors.ts";
import type { Fetched } from "./renewed.ts";

/** What {@link AwsEcr} needs. */
export interface AwsEcrOptions {
  readonly client: HttpClient;
  readonly clock: Clock;
  readonly closed: AbortSignal;
  readonly region: string;
  readonly roleArn: string;
  readonly externalId: string | undefined;
  /** Account whose registry it is. */
  readonly account: string;
  /** `host[:port]` of the registry, for messages. */
  readonly host: string;
  readonly redact: (text: string) => string;
}

/** A page of a list, and where the next one begins. */
interface AwsPage<T> {
  readonly items: readonly T[];
  readonly next: string | undefined;
}

/** How long a password lasts at most; the answer says when it ends, by AWS' clock. */
const PASSWORD_MS = 12 * 60 * 60_000;
/** How long a session lasts: also the most when the base credentials are a role's themselves. */
const SESSION_S = 3600;
/** As the account's CloudTrail shows it. */
const SESSION_NAME = "outpost";
const USER_AND_PASSWORD = /^AWS:(.+)$/s;

/** The registry of one account in one region, by one role. */
export class AwsEcr {
  readonly #options: AwsEcrOptions;
  readonly #sts: STSClient;
  readonly #ecr: ECRClient;

  constructor(options: AwsEcrOptions) {
    this.#options = options;
    const { region } = options;
    // Retries are ours (net/retry.ts).
    const common = { region, maxAttempts: 1, requestHandler: requestHandler(options) };
    this.#sts = new STSClient(common);
    // The SDK keeps the session and asks again five minutes before its end.
    this.#ecr = new ECRClient({ ...common, credentials: () => this.#assumeRole() });
  }

  /**
   * A password for `/v2`, user name `AWS`.
   *
   * @throws {OutpostError} BAD_CREDENTIALS, EXPIRED_CREDENTIALS, RATE_LIMITED, REGISTRY_ERROR; how the connection failed.
   */
  async password(signal: AbortSignal): Promise<Fetched<string>> {
    const action = `log in to ${this.#options.host}`;
    const answer = await this.#call(
      { action, subject: "login" },
      () => this.#ecr.send(new GetAuthorizationTokenCommand({}), { abortSignal: signal }),
    );
    const [data] = answer.authorizationData ?? [];
    const value = decode(data?.authorizationToken);
    if (value === undefined) throw protocolError(action, "the answer of GetAuthorizationToken holds no password");
    const left = (data?.expiresAt?.getTime() ?? 0) - this.#options.clock.now();
    return { value, lifetimeMs: Math.min(PASSWORD_MS, left) };
  }

  /**
   * Names of the account's repositories, page by page.
   *
   * @throws {OutpostError} NO_CATALOG_PERMISSION besides what {@link AwsEcr.password} throws.
   */
  repositories(signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const context = { action: `list the repositories of ${this.#options.host}`, subject: "catalog" } as const;
    return pages(context.action, async (nextToken) => {
      const command = new DescribeRepositoriesCommand({
        registryId: this.#options.account,
        maxResults: LIMITS.tagsPageSize,
        nextToken,
      });
      const answer = await this.#call(context, () => this.#ecr.send(command, { abortSignal: signal }));
      const names = (answer.repositories ?? []).map(({ repositoryName }) => repositoryName ?? "");
      return { items: names.filter((name) => name !== ""), next: answer.nextToken };
    });
  }

  /**
   * Tags of a repository with digest and push time, page by page.
   *
   * @throws {OutpostError} REPO_NOT_FOUND, REPO_FORBIDDEN besides what {@link AwsEcr.password} throws.
   */
  tags(repositoryName: string, signal: AbortSignal): AsyncGenerator<readonly TagInfo[], void, void> {
    const action = `list the tags of ${repositoryName} at ${this.#options.host}`;
    return pages(action, async (nextToken) => {
      const command = new DescribeImagesCommand({
        registryId: this.#options.account,
        repositoryName,
        filter: { tagStatus: "TAGGED" },
        maxResults: LIMITS.tagsPageSize,
        nextToken,
      });
      const answer = await this.#call(
        { action, subject: "tags" },
        () => this.#ecr.send(command, { abortSignal: signal }),
      );
      const items = (answer.imageDetails ?? []).flatMap(({ imageTags = [], imageDigest, imagePushedAt }) =>
        imageTags.map((tag) => ({
          tag,
          digest: isDigest(imageDigest) ? imageDigest : null,
          lastPushed: imagePushedAt?.toISOString() ?? null,
        }))
      );
      return { items, next: answer.nextToken };
    });
  }

  async #assumeRole(): Promise<
    { accessKeyId: string; secretAccessKey: string; sessionToken: string; expiration: Date }
  > {
    const { roleArn, externalId, closed, host } = this.#options;
    const action = `log in to ${host}`;
    const command = new AssumeRoleCommand({
      RoleArn: roleArn,
      RoleSessionName: SESSION_NAME,
      DurationSeconds: SESSION_S,
      ExternalId: externalId,
    });
    // A session serves all who wait for one: none of them cancels it.
    const send = () => this.#sts.send(command, { abortSignal: closed });
    const { Credentials: session } = await this.#call({ action, subject: "role" }, send);
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = session ?? {};
    if (AccessKeyId === undefined || SecretAccessKey === undefined || SessionToken === undefined) {
      throw protocolError(action, "the answer of AssumeRole holds no credentials");
    }
    const expiration = Expiration ?? new Date(0);
    return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken, expiration };
  }

  async #call<T>(context: Pick<AwsErrorContext, "action" | "subject">, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      const { roleArn, redact } = this.#options;
      throw awsError(error, { ...context, roleArn, redact });
    }
  }
}

async function* pages<T>(
  action: string,
  fetchPage: (nextToken: string | undefined) => Promise<AwsPage<T>>,
): AsyncGenerator<readonly T[], void, void> {
  const seen = new Set<string>();
  let token: string | undefined;
  for (;;) {
    const { items, next }: AwsPage<T> = await fetchPage(token);
    if (items.length > 0) yield items;
    if (next === undefined || next === "") return;
    if (seen.has(next) || seen.size >= LIMITS.pages) throw protocolError(action, "its pages do not end");
    seen.add(next);
    token = next;
  }
}

function decode(token: string | undefined): string | undefined {
  try {
    return USER_AND_PASSWORD.exec(new TextDecoder().decode(Uint8Array.fromBase64(token ?? "")))?.[1];
  } catch {
    return undefined;
  }
}

/** The part of the SDK's requests that is used here. */
interface SdkRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

interface SdkAnswer {
  readonly response: {
    readonly statusCode: number;
    readonly headers: Record<string, string>;
    readonly body: Uint8Array;
  };
}

/** Sends what the SDK has signed. All of its operations that are used here are POSTs that change nothing. */
function requestHandler({ client, closed }: AwsEcrOptions): {
  readonly metadata: { readonly handlerProtocol: string };
  handle(request: SdkRequest, options?: { readonly abortSignal?: unknown }): Promise<SdkAnswer>;
} {
  return {
    // By this the SDK knows that it may use the handler for AssumeRoleWithWebIdentity, too.
    metadata: { handlerProtocol: "http/1.1" },
    handle: async (request, { abortSignal } = {}) => {
      const signal = abortSignal instanceof AbortSignal ? abortSignal : closed;
      const { status, headers, body } = await client.request(httpRequest(request), LIMITS.pageBytes, signal);
      return { response: { statusCode: status, headers: Object.fromEntries(headers), body } };
    },
  };
}

function httpRequest({ protocol, hostname, port, path, headers, body }: SdkRequest): HttpRequest {
  const url = new URL(`${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}`);
  const { "content-type": type = "", host: _, "content-length": __, ...rest } = headers;
  const text = typeof body === "string" ? body : body instanceof Uint8Array ? new TextDecoder().decode(body) : "";
  return { method: "POST", idempotent: true, url, headers: rest, content: { type, text } };
}
