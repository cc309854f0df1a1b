/**
 * The check behind `/validate-credentials` and `systemcheck`: one step after the other, and what the first failed one
 * means.
 *
 * @module
 */
import { type ErrorCode, type OutpostError, toOutpostError } from "../core/errors.ts";
import type { CheckStep, ValidationReport } from "../core/ports.ts";
import type { DistributionApi } from "./distribution_api.ts";
import type { Flavour } from "./flavour.ts";

type Step = CheckStep["step"];

/** Where in the set-up of a connection an error arises. */
const CONNECTION_STEP: Partial<Record<ErrorCode, Step>> = {
  DNS: "dns",
  CONNECTION_REFUSED: "tcp",
  CONNECTION_RESET: "tcp",
  CONNECTION_FAILED: "tcp",
  TIMEOUT: "tcp",
  BLOCKED_PORT: "tcp",
  TLS_UNKNOWN_CA: "tls",
  TLS_SELF_SIGNED_CA_LEAF: "tls",
  TLS_NAME: "tls",
  TLS_EXPIRED: "tls",
  TLS_CLIENT_CERT: "tls",
  TLS_OTHER: "tls",
  HTTP_ONLY: "tls",
  HTTPS_NEEDED: "tls",
};

/** A registry without a list serves images by name: not listing is advice, not failure. */
const LIST_IS_OPTIONAL: ReadonlySet<ErrorCode> = new Set(["NO_CATALOG_PERMISSION", "CATALOG_UNSUPPORTED"]);

/**
 * Checks a registry: connection, API, login, what the type tells besides, first page of the repository list. The
 * connection's own steps are told from the outcome of the first request.
 *
 * @param repositories The list of repositories, not yet started.
 * @throws {OutpostError} CANCELLED only.
 */
export async function validateRegistry(
  api: DistributionApi,
  flavour: Flavour,
  repositories: AsyncGenerator<readonly string[], void, void>,
  signal: AbortSignal,
): Promise<ValidationReport> {
  const steps: CheckStep[] = [];
  const { host, origin } = api.endpoint;
  let open: boolean;
  try {
    // One attempt: somebody waits for the answer.
    ({ open } = await api.probe(signal, { attempts: 1 }));
  } catch (error) {
    return failed(steps, connectionSteps(error, origin, host), error, signal);
  }
  steps.push(...reached(origin, host, undefined), passed("api", `${flavour.title} answers at ${host}`));
  try {
    const { login } = await api.login(signal);
    steps.push(passed("login", loginMessage(open, login)));
  } catch (error) {
    return failed(steps, [], error, signal, "login");
  }
  const remark = await flavour.remark?.(api, api.endpoint, signal);
  if (remark !== undefined) steps.push(passed("limits", remark));
  try {
    const { value } = await repositories.next();
    await repositories.return();
    steps.push(passed("list", value === undefined ? "There are no repositories" : "Repositories can be listed"));
  } catch (error) {
    const cause = toOutpostError(error);
    if (signal.aborted || !LIST_IS_OPTIONAL.has(cause.code)) return failed(steps, [], error, signal, "list");
    steps.push(notPassed("list", cause));
  }
  return { ok: true, steps, status: 200 };
}

function loginMessage(open: boolean, login: string): string {
  if (login === "token") return "The token server accepts the login";
  if (login === "none") return open ? "The registry asks for no login" : "The registry serves anonymous users";
  return "The registry accepts the user name and password";
}

function failed(
  steps: readonly CheckStep[],
  connection: readonly CheckStep[],
  error: unknown,
  signal: AbortSignal,
  step?: Step,
): ValidationReport {
  const cause = toOutpostError(error);
  if (signal.aborted || cause.code === "INTERNAL") throw error;
  const last = step === undefined ? [] : [notPassed(step, cause)];
  return {
    ok: false,
    steps: [...steps, ...connection, ...last],
    status: cause.status,
    code: cause.code,
    message: cause.message,
    ...(cause.hint === undefined ? {} : { hint: cause.hint }),
  };
}

/** The steps up to the one in which the first request failed. */
function connectionSteps(error: unknown, origin: string, host: string): readonly CheckStep[] {
  const cause = toOutpostError(error);
  const step = CONNECTION_STEP[cause.code];
  return step === undefined
    ? [...reached(origin, host, undefined), notPassed("api", cause)]
    : [...reached(origin, host, step), notPassed(step, cause)];
}

/** Connection steps that a host passed, up to the failed one. */
function reached(origin: string, host: string, until: Step | undefined): readonly CheckStep[] {
  const all = [
    passed("dns", `${host} has an address`),
    passed("tcp", `${host} accepts connections`),
    ...(origin.startsWith("https:") ? [passed("tls", "The TLS handshake succeeds")] : []),
  ];
  const end = all.findIndex(({ step }) => step === until);
  return end < 0 ? until === "tls" ? all.slice(0, 2) : all : all.slice(0, end);
}

function passed(step: Step, message: string): CheckStep {
  return { step, ok: true, message };
}

function notPassed(step: Step, error: OutpostError): CheckStep {
  const { message, hint } = error;
  return { step, ok: false, message, ...(hint === undefined ? {} : { hint }) };
}
