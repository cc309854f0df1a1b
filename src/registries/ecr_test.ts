import { ECRClient, GetAuthorizationTokenCommand } from "@aws-sdk/client-ecr";
import { AssumeRoleCommand, type AssumeRoleCommandOutput, STSClient } from "@aws-sdk/client-sts";
import { afterEach, describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { expectSecretsKept } from "../../tests/fronts/custody.ts";
import { ACCOUNTS, BASE_KEY, ecrFront, REGION, roleOf, WEB_IDENTITY } from "../../tests/fronts/ecr_front.ts";
import { answers } from "../../tests/fronts/faults.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { startServer } from "../../tests/fakes/aws_metadata.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { LIMITS } from "../core/limits.ts";
import type { RegistryCredentials } from "../core/ports.ts";
import { apiUrl } from "./endpoint.ts";
import { ecr } from "./ecr.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const REPOSITORY = "team/app-0000";
const TARGET = "AmazonEC2ContainerRegistry_V20150921";
const AMZ_JSON = { "content-type": "application/x-amz-json-1.1" };

/** Makes these the only AWS settings of the process. */
function awsEnvironment(values: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(Deno.env.toObject())) if (name.startsWith("AWS_")) Deno.env.delete(name);
  // No test looks at the configuration of this machine, nor for an instance's role outside it.
  const none = { AWS_CONFIG_FILE: "/nonexistent/config", AWS_SHARED_CREDENTIALS_FILE: "/nonexistent/credentials" };
  const all = { ...none, AWS_EC2_METADATA_DISABLED: "true", ...values };
  for (const [name, value] of Object.entries(all)) Deno.env.set(name, value);
}

const KEYS = { AWS_ACCESS_KEY_ID: BASE_KEY.accessKeyId, AWS_SECRET_ACCESS_KEY: BASE_KEY.secretAccessKey };
awsEnvironment(KEYS);

conformanceSuite(ecrFront);

describe("ecr.endpoint()", () => {
  const url = (credentials: Partial<RegistryCredentials>): string =>
    apiUrl(ecr.endpoint({ type: "ecr", base: "", roleArn: roleOf(ACCOUNTS[0]), region: REGION, ...credentials }), "")
      .href;

  it.each<readonly [Partial<RegistryCredentials>, string]>([
    [{}, "https://123456789012.dkr.ecr.eu-central-1.amazonaws.com/v2/"],
    [{ base: "undefined" }, "https://123456789012.dkr.ecr.eu-central-1.amazonaws.com/v2/"],
    [
      { region: "cn-north-1", roleArn: "arn:aws-cn:iam::123456789012:role/path/r" },
      "https://123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/v2/",
    ],
    [
      { region: "us-gov-west-1", roleArn: "arn:aws-us-gov:iam::123456789012:role/r" },
      "https://123456789012.dkr.ecr.us-gov-west-1.amazonaws.com/v2/",
    ],
    [{ region: "eusc-de-east-1" }, "https://123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu/v2/"],
    [
      { base: "999999999999.dkr.ecr.eu-central-1.amazonaws.com" },
      "https://999999999999.dkr.ecr.eu-central-1.amazonaws.com/v2/",
    ],
    [
      { base: "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", region: "us-east-1" },
      "https://123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/v2/",
    ],
    [
      { base: "https://123456789012.dkr-ecr.eu-central-1.on.aws/" },
      "https://123456789012.dkr-ecr.eu-central-1.on.aws/v2/",
    ],
  ])("of %j is %s", (credentials, expected) => expect(url(credentials)).toBe(expected));

  it.each<readonly [string, Partial<RegistryCredentials>, RegExp]>([
    ["no role", { roleArn: "" }, /CR_ROLE_ARN is not set/],
    [
      "a user instead of a role",
      { roleArn: "arn:aws:iam::123456789012:user/x" },
      /CR_ROLE_ARN is not the ARN of a role/,
    ],
    ["no region", { region: "" }, /CR_REGION is not set/],
    ["a region that would name another host", { region: "x.evil.example/" }, /CR_REGION is not a region/],
    [
      "a host that is not AWS'",
      { base: "123456789012.dkr.ecr.eu-central-1.evil.example" },
      /CR_BASE is not a registry/,
    ],
    ["another region", { base: "123456789012.dkr.ecr.eu-west-1.amazonaws.com" }, /CR_BASE is not a registry/],
    ["plain HTTP", { base: "http://123456789012.dkr.ecr.eu-central-1.amazonaws.com" }, /CR_BASE is not a registry/],
  ])("refuses %s", (_, credentials, message) => expect(() => url(credentials)).toThrow(message));
});

describe.skipIf(!peersAvailable("docker-registry"))("ECR", () => {
  it("assumes the role once for lists and passwords, and keeps both", () =>
    withSubject(ecrFront, async ({ front, open, clock }) => {
      const registry = open();
      await collect(registry.repositories(signal));
      await collect(registry.tagsWithMetadata(REPOSITORY, signal));
      await registry.resolve(REPOSITORY, "oci", { signal });
      clock.skip(2 * 60 * 60_000);
      await registry.resolve(REPOSITORY, "oci", { signal });
      expect(front.lines()).toEqual([
        "sts POST /",
        "ecr-api POST /",
        "ecr-api POST /",
        "ecr-api POST /",
        `registry GET /v2/${REPOSITORY}/manifests/oci`,
        `registry GET /v2/${REPOSITORY}/manifests/oci`,
      ]);
      const targets = front.records.map(({ headers }) => headers["x-amz-target"]).filter((target) =>
        target !== undefined
      );
      expect(targets).toEqual([
        `${TARGET}.DescribeRepositories`,
        `${TARGET}.DescribeImages`,
        `${TARGET}.GetAuthorizationToken`,
      ]);
      expect(new URLSearchParams(front.records[0]?.body).get("RoleSessionName")).toBe("outpost");
    }));

  it("renews the password at four fifths of its life, once for all who wait", () =>
    withSubject(ecrFront, async ({ front, open, clock }) => {
      const registry = open();
      await registry.resolve(REPOSITORY, "oci", { signal });
      clock.skip(10 * 60 * 60_000);
      const before = front.records.length;
      await Promise.all(Array.from({ length: 8 }, () => registry.resolve(REPOSITORY, "oci", { signal })));
      expect(front.lines(before).filter((line) => line.startsWith("ecr-api"))).toHaveLength(1);
    }));

  it("renews a refused password once, and takes the second refusal for a lack of rights", () =>
    withSubject(ecrFront, async ({ front, open, clock }) => {
      const registry = open();
      const denied = JSON.stringify({ errors: [{ code: "DENIED", message: "User is not authorized" }] });
      const renewals = async (): Promise<number> => {
        const before = front.records.length;
        front.inject(/^registry GET .*manifests/, answers(403, { "content-type": "application/json" }, denied), 2);
        expect(await codeOf(registry.resolve(REPOSITORY, "oci", { signal }))).toBe("REPO_FORBIDDEN");
        front.reset();
        return front.lines(before).filter((line) => line.startsWith("ecr-api")).length;
      };
      // The first of all fetches its first password besides.
      expect([await renewals(), await renewals()]).toEqual([2, 0]);
      clock.skip(LIMITS.ecrRenewalMs);
      expect(await renewals()).toBe(1);
    }));

  it("serves several accounts at once, each with its own session and password", () =>
    withSubject(ecrFront, async ({ front, open }) => {
      const registries = ACCOUNTS.map((account) => open({ roleArn: roleOf(account) }));
      const resolved = registries.map((registry) => registry.resolve(REPOSITORY, "oci", { signal }));
      expect((await Promise.all(resolved)).map(({ repository }) => repository)).toEqual([REPOSITORY, REPOSITORY]);
      const pulls = front.records.filter(({ path }) => path.includes("/manifests/"));
      expect(pulls.map(({ site }) => site).toSorted()).toEqual(["other-registry", "registry"]);
      expect(new Set(pulls.map(({ headers }) => headers["authorization"])).size).toBe(2);
      for (const registry of registries) expect(await collect(registry.repositories(signal))).toEqual([REPOSITORY]);
      expectSecretsKept(front);
    }));

  it("names who may not assume which role", () =>
    withSubject(ecrFront, async ({ open }) => {
      const roleArn = `arn:aws:iam::${ACCOUNTS[0]}:role/another`;
      await expect(collect(open({ roleArn }).repositories(signal))).rejects.toMatchObject({
        code: "BAD_CREDENTIALS",
        status: 403,
        message:
          `Cannot log in to 123456789012.dkr.ecr.eu-central-1.amazonaws.com: it may not assume ${roleArn} (AWS ` +
          `says: User: arn:aws:iam::999999999999:user/outpost is not authorized to perform: sts:AssumeRole on resource: ${roleArn})`,
      });
    }));

  it.each<readonly [string, string, string]>([
    ["ThrottlingException", "Rate exceeded", "RATE_LIMITED"],
    ["UnrecognizedClientException", "The security token included in the request is invalid.", "BAD_CREDENTIALS"],
    ["InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than", "BAD_CREDENTIALS"],
    ["ExpiredTokenException", "The security token included in the request is expired", "EXPIRED_CREDENTIALS"],
    ["AccessDeniedException", "not authorized to perform: ecr:DescribeRepositories", "NO_CATALOG_PERMISSION"],
    ["ServerException", "These errors are usually caused by a server-side issue.", "REGISTRY_ERROR"],
  ])("takes %s of its API for what it is", (type, message, code) =>
    withSubject(ecrFront, async ({ front, open }) => {
      front.inject(/^ecr-api/, answers(400, AMZ_JSON, JSON.stringify({ __type: type, message })));
      await expect(collect(open().repositories(signal))).rejects.toMatchObject({
        code,
        message: expect.stringContaining(message),
      });
    }));

  it("repeats calls of AWS' APIs as all others", () =>
    withSubject(ecrFront, async ({ front, open }) => {
      front.inject(/^sts/, answers(503));
      front.inject(/^ecr-api/, answers(500));
      expect(await collect(open().repositories(signal))).toEqual([REPOSITORY]);
      expect(front.lines()).toEqual(["sts POST /", "sts POST /", "ecr-api POST /", "ecr-api POST /"]);
    }));

  it("says that a repository does not exist, and lists tags by /v2 where images may not be described", () =>
    withSubject(ecrFront, async ({ front, open }) => {
      expect(await codeOf(collect(open().tagsWithMetadata("absent/app", signal)))).toBe("REPO_NOT_FOUND");
      const message = JSON.stringify({ __type: "AccessDeniedException", message: "no" });
      front.inject(/^ecr-api/, answers(400, AMZ_JSON, message));
      const expected = front.library.tags(REPOSITORY)?.map(({ tag, digest }) => ({ tag, digest, lastPushed: null }));
      expect(await collect(open().tagsWithMetadata(REPOSITORY, signal))).toEqual(expected);
    }));

  it("gives up with its caller, and with its client", () =>
    withSubject(ecrFront, async ({ open }) => {
      expect(await codeOf(collect(open().repositories(AbortSignal.abort())))).toBe("CANCELLED");
      const registry = open();
      const listed = codeOf(registry.resolve(REPOSITORY, "oci", { signal }));
      registry.close();
      expect(await listed).toBe("CANCELLED");
    }));
});

describe.skipIf(!peersAvailable("docker-registry"))("the identity that ECR's role is assumed with", () => {
  afterEach(() => awsEnvironment(KEYS));
  const listed = (): Promise<void> =>
    withSubject(ecrFront, async ({ front, open }) => {
      expect(await collect(open().repositories(signal))).toEqual([REPOSITORY]);
      expectSecretsKept(front);
    });

  it("is that of the environment", listed);

  it("is a web identity, exchanged at STS by our own connection", async () => {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, WEB_IDENTITY);
    awsEnvironment({
      AWS_WEB_IDENTITY_TOKEN_FILE: file,
      AWS_ROLE_ARN: "arn:aws:iam::999999999999:role/pod",
      AWS_ROLE_SESSION_NAME: "pod",
    });
    await listed();
    await Deno.remove(file);
  });

  it("is that of a profile in shared files", async () => {
    const file = await Deno.makeTempFile();
    const { accessKeyId, secretAccessKey } = BASE_KEY;
    const text = `[outpost]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;
    await Deno.writeTextFile(file, text);
    awsEnvironment({ AWS_SHARED_CREDENTIALS_FILE: file, AWS_PROFILE: "outpost" });
    await listed();
    await Deno.remove(file);
  });

  it("is that of the container", async () => {
    await using server = startServer(BASE_KEY);
    awsEnvironment({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${server.url}/container`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: "canary-container-token",
    });
    await listed();
    expect(server.requests).toEqual(["GET /container canary-container-token"]);
  });

  it("is that of the instance, by IMDSv2", async () => {
    await using server = startServer(BASE_KEY);
    awsEnvironment({ AWS_EC2_METADATA_DISABLED: "false", AWS_EC2_METADATA_SERVICE_ENDPOINT: server.url });
    await listed();
    expect(server.requests).toEqual([
      "PUT /latest/api/token -",
      "GET /latest/meta-data/iam/security-credentials/ imds-token",
      "GET /latest/meta-data/iam/security-credentials/outpost-instance imds-token",
    ]);
  });

  it("is missing", async () => {
    awsEnvironment({});
    await withSubject(ecrFront, async ({ open }) => {
      const report = await open().validate(signal);
      expect(report).toMatchObject({ ok: false, code: "BAD_CREDENTIALS", status: 401 });
      expect(report.message).toContain("no AWS credentials were found");
      expect(report.hint).toContain("AWS_ACCESS_KEY_ID");
    });
  });
});

describe.skipIf(!peersAvailable("docker-registry"))("the ECR front", () => {
  /** The SDK with nothing of ours in between. */
  const assume = (endpoint: string, secretAccessKey: string): Promise<AssumeRoleCommandOutput> => {
    const credentials = { accessKeyId: BASE_KEY.accessKeyId, secretAccessKey };
    const client = new STSClient({ region: REGION, endpoint, credentials, maxAttempts: 1 });
    const { externalId: ExternalId } = ecrFront.credentials;
    const RoleArn = roleOf(ACCOUNTS[0]);
    return client.send(new AssumeRoleCommand({ RoleArn, RoleSessionName: "sdk", ExternalId }))
      .finally(() => client.destroy());
  };

  it("is taken for AWS by AWS' SDK, and tells a wrong key from a right one", () =>
    withSubject(ecrFront, async ({ front }) => {
      const endpoint = `http://${front.host("sts")}`;
      const { Credentials } = await assume(endpoint, BASE_KEY.secretAccessKey);
      const client = new ECRClient({
        region: REGION,
        endpoint: `http://${front.host("ecr-api")}`,
        maxAttempts: 1,
        credentials: {
          accessKeyId: Credentials?.AccessKeyId ?? "",
          secretAccessKey: Credentials?.SecretAccessKey ?? "",
          sessionToken: Credentials?.SessionToken ?? "",
        },
      });
      const { authorizationData } = await client.send(new GetAuthorizationTokenCommand({}));
      expect(authorizationData?.[0]?.proxyEndpoint).toBe("https://123456789012.dkr.ecr.eu-central-1.amazonaws.com");
      client.destroy();
      await expect(assume(endpoint, "wrong")).rejects.toMatchObject({ name: "SignatureDoesNotMatch" });
    }));
});
