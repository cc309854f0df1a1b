/**
 * Type `ecr`: Amazon Elastic Container Registry (registries.md §2.12).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { RegistryCredentials } from "../core/ports.ts";
import type { AwsEcr } from "./aws_ecr.ts";
import { EXPIRED_HINT, LIST_HINT, ROLE_HINT } from "./aws_errors.ts";
import { type Endpoint, parseBase } from "./endpoint.ts";
import { defineFlavour, type Flavour, type FlavourContext, type Sources } from "./flavour.ts";
import type { Login, LoginSource } from "./login.ts";
import { Renewed } from "./renewed.ts";

/**
 * A role is assumed with the identity that Outpost runs with, its passwords serve `/v2`, ECR's API gives the lists.
 * CR_BASE is not needed: role and region say where the registry is.
 */
export const ecr: Flavour = defineFlavour({
  type: "ecr",
  title: "Amazon ECR",
  endpoint,
  preferBasic: true,
  login: (context) => loginSource(context, awsOf(context)),
  sources: (context) => sources(awsOf(context)),
  loginHint: ROLE_HINT,
  expiredHint: EXPIRED_HINT,
  listHint: LIST_HINT,
  baseHint: "Leave CR_BASE out; check CR_ROLE_ARN and CR_REGION.",
});

const ROLE_ARN = /^arn:aws[a-z-]*:iam::(\d{12}):role\/[\w+=,.@/-]+$/;
const REGION = /^[a-z]{2,4}(?:-[a-z]+){1,3}-\d{1,2}$/;
/** Host names of ECR: plain, FIPS, dual-stack (registries.md §2.12). */
const HOST = /^(\d{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.([a-z0-9.-]+)$/;

/** Domains of the partitions, by the beginning of the region's name. */
const DOMAINS: readonly (readonly [string, string])[] = [
  ["cn-", "amazonaws.com.cn"],
  ["eusc-", "amazonaws.eu"],
  ["us-iso-", "c2s.ic.gov"],
  ["us-isob-", "sc2s.sgov.gov"],
  ["us-isof-", "csp.hci.ic.gov"],
  ["eu-isoe-", "cloud.adc-e.uk"],
];

function domainOf(region: string): string {
  return DOMAINS.find(([prefix]) => region.startsWith(prefix))?.[1] ?? "amazonaws.com";
}

interface Place {
  readonly roleArn: string;
  readonly region: string;
  /** Account of the role. */
  readonly account: string;
}

function placeOf({ roleArn = "", region = "" }: RegistryCredentials): Place {
  const account = ROLE_ARN.exec(roleArn)?.[1];
  if (account === undefined) {
    throw invalid(roleArn === "" ? "CR_ROLE_ARN is not set" : "CR_ROLE_ARN is not the ARN of a role", {
      hint: "Write it as arn:aws:iam::<account>:role/<name>.",
    });
  }
  if (!REGION.test(region)) {
    throw invalid(region === "" ? "CR_REGION is not set" : "CR_REGION is not a region", {
      hint: "Write it as eu-central-1.",
    });
  }
  return { roleArn, region, account };
}

/**
 * A CR_BASE may name another account's registry in the region, or FIPS and dual-stack hosts. It must be AWS' own: the
 * passwords come from the identity of this machine, which whoever writes a request's credentials does not have.
 */
function endpoint(credentials: RegistryCredentials): Endpoint {
  const { account, region } = placeOf(credentials);
  const { base } = credentials;
  if (base === "" || base === "undefined") {
    return parseBase(`${account}.dkr.ecr.${region}.${domainOf(region)}`, "namespace");
  }
  const given = parseBase(base, "namespace");
  const [, , hostRegion, domain] = HOST.exec(given.host) ?? [];
  const known = domain === domainOf(region) || (domain === "on.aws" && !region.startsWith("us-iso"));
  if (hostRegion === region && known && given.origin.startsWith("https:")) return given;
  throw invalid("CR_BASE is not a registry of CR_REGION at AWS", {
    hint: `Leave CR_BASE out, or write it as <account>.dkr.ecr.${region}.${domainOf(region)}.`,
  });
}

function invalid(why: string, options: { readonly hint: string }): OutpostError {
  return new OutpostError("CONFIG_INVALID", `Cannot use the registry: ${why}`, options);
}

/** The AWS clients of one registry client, loaded by the first call. */
type LoadAws = () => Promise<AwsEcr>;

/**
 * Not written into `import()`: what stands there belongs to the program's module graph, and the AWS packages in it would
 * cost every daemon 3.5 MB.
 */
const AWS_ECR = "./aws_ecr.ts";

const loaded = new WeakMap<FlavourContext, LoadAws>();

/** The same for a context's login and lists. */
function awsOf(context: FlavourContext): LoadAws {
  const known = loaded.get(context);
  if (known !== undefined) return known;
  let loading: Promise<AwsEcr> | undefined;
  const load: LoadAws = () => loading ??= open(context);
  loaded.set(context, load);
  return load;
}

async function open(
  { credentials, client, clock, closed, redactor, endpoint: { host } }: FlavourContext,
): Promise<AwsEcr> {
  const { roleArn, region, account } = placeOf(credentials);
  const { AwsEcr } = await import(AWS_ECR) as typeof import("./aws_ecr.ts");
  return new AwsEcr({
    client,
    clock,
    closed,
    region,
    roleArn,
    externalId: credentials.externalId,
    account: HOST.exec(host)?.[1] ?? account,
    host,
    redact: (text) => redactor.text(text),
  });
}

function loginSource({ clock, closed, redactor }: FlavourContext, aws: LoadAws): LoginSource {
  const passwords = new Renewed<string>({
    clock,
    closed,
    exchange: async (signal) => {
      const fetched = await (await aws()).password(signal);
      redactor.addTransient(fetched.value);
      return fetched;
    },
  });
  const login = (password: string): Login => ({ username: "AWS", password });
  let renewed: { readonly password: string; readonly at: number } | undefined;
  return {
    present: true,
    get: async (signal) => login(await passwords.get(signal)),
    renew: async ({ password: stale }, signal) => {
      // ECR answers 403 to a stale password and to a lack of rights: a fresh one that is refused lacks rights.
      const fresh = renewed?.password === stale && clock.now() - renewed.at < LIMITS.ecrRenewalMs;
      if (fresh) return undefined;
      const password = await passwords.get(signal, stale);
      renewed = { password, at: clock.now() };
      return password === stale ? undefined : login(password);
    },
  };
}

function sources(aws: LoadAws): Sources {
  return {
    catalog: async function* (signal) {
      yield* (await aws()).repositories(signal);
    },
    tags: async function* (name, signal) {
      yield* (await aws()).tags(name, signal);
    },
  };
}
