/**
 * What a refusal of AWS means (registries.md §2.12). Errors are told by their names, so that nothing of the SDK is
 * imported for it.
 *
 * @module
 */
import { type ErrorCode, OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { isRecord } from "../lib/bounded_json.ts";

/** Circumstances of a call. */
export interface AwsErrorContext {
  /** The failed action, after "Cannot". */
  readonly action: string;
  /** What was asked for: the role (STS), a password, a list. */
  readonly subject: "role" | "login" | "catalog" | "tags";
  readonly roleArn: string;
  readonly redact: (text: string) => string;
}

/** What to check when the role cannot be assumed. */
export const ROLE_HINT = "Check sts:AssumeRole of the identity that Outpost runs with, and the trust policy of " +
  "CR_ROLE_ARN with its external id (CR_EXTERNAL_ID).";
/** What to check when repositories cannot be listed. */
export const LIST_HINT = "Images can still be imported by name; to list them, give the role ecr:DescribeRepositories.";
/** What to do about an expired login. Outpost renews its own ones by itself. */
export const EXPIRED_HINT = "Renew the AWS credentials that Outpost runs with; passwords and sessions made from them " +
  "are renewed by Outpost itself.";

interface Meaning {
  readonly code: ErrorCode;
  readonly problem: string;
  readonly hint?: string;
  readonly status?: number;
}

const DENIED = /^AccessDenied(?:Exception)?$|^UnauthorizedOperation$/;
const BAD_SIGNATURE =
  /^(?:InvalidClientTokenId|SignatureDoesNotMatch|UnrecognizedClientException|InvalidSignatureException|IncompleteSignature|MissingAuthenticationToken(?:Exception)?|InvalidAccessKeyId|AuthFailure)$/;
const EXPIRED = /^(?:ExpiredToken(?:Exception)?|RequestExpired)$/;
const THROTTLED = /^(?:Throttling(?:Exception)?|ThrottledException|TooManyRequestsException|RequestLimitExceeded)$/;
const NO_CREDENTIALS = /^(?:CredentialsProviderError|TokenProviderError|ProviderError)$/;

/** Turns what the SDK threw into a classified error; an {@link OutpostError} stays as it is. */
export function awsError(error: unknown, context: AwsErrorContext): OutpostError {
  if (error instanceof OutpostError) return error;
  const name = error instanceof Error ? error.name : "";
  const said = error instanceof Error ? context.redact(error.message).replace(/\s+/g, " ").trim() : "";
  const { code, problem, hint, status } = means(name, statusOf(error), context);
  const quoted = said === "" || name === "" ? "" : ` (AWS says: ${said.slice(0, LIMITS.errorMessageChars)})`;
  return new OutpostError(code, `Cannot ${context.action}: ${problem}${quoted}`, { hint, status, cause: error });
}

function means(name: string, status: number, context: AwsErrorContext): Meaning {
  if (NO_CREDENTIALS.test(name)) return noCredentials();
  if (name === "AbortError") return { code: "CANCELLED", problem: "the operation was cancelled" };
  if (THROTTLED.test(name) || status === 429) {
    return { code: "RATE_LIMITED", problem: "AWS limits requests", hint: "Try again in a minute." };
  }
  if (EXPIRED.test(name)) {
    return { code: "EXPIRED_CREDENTIALS", problem: "the credentials have expired", hint: EXPIRED_HINT };
  }
  if (BAD_SIGNATURE.test(name)) {
    const hint = "Check the AWS credentials that Outpost runs with, CR_REGION, and the clock of this machine.";
    return { code: "BAD_CREDENTIALS", problem: "AWS does not take the credentials or their signature", hint };
  }
  if (DENIED.test(name)) return denied(context);
  if (name === "RegionDisabledException") {
    const hint = "Activate STS for CR_REGION in the account, or check CR_REGION.";
    return { code: "BAD_CREDENTIALS", problem: "STS is not active in the region", hint, status: 403 };
  }
  if (name === "RepositoryNotFoundException") {
    const hint = "Check the repository's name, CR_REGION, and the account of CR_ROLE_ARN.";
    return { code: "REPO_NOT_FOUND", problem: "the repository does not exist in this account and region", hint };
  }
  return status === 0
    ? { code: "BAD_CREDENTIALS", problem: "the AWS credentials could not be read", hint: NO_CREDENTIALS_HINT }
    : { code: "REGISTRY_ERROR", problem: `AWS answered with status ${status}` };
}

const NO_CREDENTIALS_HINT = "Give Outpost an identity: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity " +
  "token, a profile, or the role of the container or instance (in a container on EC2, IMDSv2 needs a hop limit of 2).";

function noCredentials(): Meaning {
  const problem =
    "no AWS credentials were found (environment, web identity, shared files, container, instance metadata)";
  return { code: "BAD_CREDENTIALS", problem, hint: NO_CREDENTIALS_HINT };
}

function denied({ subject, roleArn }: AwsErrorContext): Meaning {
  switch (subject) {
    case "role":
      return { code: "BAD_CREDENTIALS", status: 403, problem: `it may not assume ${roleArn}`, hint: ROLE_HINT };
    case "login":
      return {
        code: "BAD_CREDENTIALS",
        status: 403,
        problem: "the role may not have a password for the registry",
        hint: "Give the role ecr:GetAuthorizationToken on the resource *.",
      };
    case "catalog":
      return { code: "NO_CATALOG_PERMISSION", problem: "the role may not list repositories", hint: LIST_HINT };
    case "tags":
      return {
        code: "REPO_FORBIDDEN",
        problem: "the role may not list the images of this repository",
        hint: "Give the role ecr:DescribeImages and ecr:ListImages.",
      };
  }
}

/** The status of the answer; 0 when there was none. */
function statusOf(error: unknown): number {
  const metadata = error instanceof Error && "$metadata" in error ? error.$metadata : undefined;
  const status = isRecord(metadata) ? metadata["httpStatusCode"] : undefined;
  return typeof status === "number" ? status : 0;
}
