/**
 * Amazon ECR with nothing replaced but the machines at the other end: the daemon with its own permissions, AWS' SDK in it,
 * a proxy, TLS; and what the daemon costs with ECR and without.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ConnectProxy, startConnectProxy, startTlsEnd, type TlsEnd } from "../fakes/connect_proxy.ts";
import { ACCOUNTS, BASE_KEY, ecrFront, REGION, roleOf } from "../fronts/ecr_front.ts";
import { Subject } from "../fronts/subject.ts";
import { peersAvailable } from "../peers/mod.ts";
import { createCa } from "../peers/tls.ts";
import { build } from "../../tools/build.ts";
import { type DaemonProcess, denoEnv, ROOT, SHIPPED, startDaemonProcess } from "./daemon.ts";
import { readUsage } from "./process_usage.ts";

const MB = 1_000_000;
/** Bounds on resident memory at rest, of a registry that is not ECR and of ECR in use. */
const IDLE_BYTES = 65 * MB;
const ECR_BYTES = 95 * MB;
/** As the container has them. */
const FLAGS = ["-q", ...SHIPPED.flags];

describe.skipIf(!peersAvailable("docker-registry"))("the daemon with Amazon ECR", () => {
  let dir: string;
  let subject: Subject;
  let ends: readonly TlsEnd[];
  let proxy: ConnectProxy;
  let env: Readonly<Record<string, string>>;

  beforeAll(async () => {
    dir = await Deno.makeTempDir({ prefix: "outpost-e2e-" });
    await build(`${dir}/dist`);
    subject = await Subject.start(ecrFront);
    subject.begin();
    const { front } = subject;
    const names = ["registry", "sts", "ecr-api"] as const;
    const hosts = names.map((name) => new URL(front.site(name).origin).hostname);
    const ca = await createCa();
    await Deno.writeTextFile(`${dir}/ca.pem`, ca.certPem);
    const certificate = await ca.issue({ hosts });
    ends = names.map((name) => startTlsEnd(certificate, Number(front.host(name).split(":")[1])));
    proxy = startConnectProxy({
      resolve: (authority) => ends[hosts.findIndex((host) => authority === `${host}:443`)]?.port,
    });
    env = {
      OUTPOST_ROLE: "agent",
      HTTPS_PROXY: `http://${proxy.host}`,
      CR_CA_FILE: `${dir}/ca.pem`,
      CR_TYPE: "ElasticCR",
      CR_ROLE_ARN: roleOf(ACCOUNTS[0]),
      CR_REGION: REGION,
      CR_EXTERNAL_ID: ecrFront.credentials.externalId ?? "",
      AWS_ACCESS_KEY_ID: BASE_KEY.accessKeyId,
      AWS_SECRET_ACCESS_KEY: BASE_KEY.secretAccessKey,
    };
  });
  afterAll(async () => {
    for (const one of [proxy, ...ends ?? []]) await one?.[Symbol.asyncDispose]();
    await subject?.stop();
    await Deno.remove(dir, { recursive: true });
  });

  /** Starts the daemon as the container ships it. */
  function started(variables: Readonly<Record<string, string>>): Promise<DaemonProcess> {
    return startDaemonProcess(variables, FLAGS, { folder: `${dir}/dist`, module: "outpost.js" });
  }

  async function answer({ url }: DaemonProcess, path: string): Promise<unknown> {
    const response = await fetch(`${url}${path}`);
    return await response.json();
  }

  function peak({ process }: DaemonProcess): number {
    return readUsage(process.pid)?.peakRssBytes ?? NaN;
  }

  it("lists, validates and resolves with the daemon's permissions, in 95 MB", async () => {
    await using daemon = await started(env);
    expect(await answer(daemon, "/validate-credentials")).toMatchObject({ ok: true });
    expect(await answer(daemon, "/list")).toEqual(["team/app-0000"]);
    const tags = subject.front.library.tags("team/app-0000") ?? [];
    expect(await answer(daemon, "/list-with-metadata/team/app-0000")).toEqual(
      tags.map(({ tag, digest, pushed }) => ({ tag, digest, lastPushed: pushed })),
    );
    const { digest } = tags.find(({ tag }) => tag === "oci") ?? {};
    expect(await answer(daemon, "/get-state-identifier?image=team/app-0000:oci")).toMatchObject({ id: digest });
    expect(peak(daemon)).toBeGreaterThan(20 * MB);
    expect(peak(daemon)).toBeLessThanOrEqual(ECR_BYTES);
  });

  it("looks for an identity with the daemon's permissions also where there is no HOME", async () => {
    const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
    const { denoDir } = JSON.parse(new TextDecoder().decode(info.stdout)) as { readonly denoDir: string };
    const { CR_TYPE = "", CR_ROLE_ARN = "", CR_REGION = "" } = env;
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", ...FLAGS, "-P=daemon", "mod.ts", "list"],
      cwd: ROOT,
      clearEnv: true,
      env: { ...denoEnv(), DENO_DIR: denoDir, AWS_EC2_METADATA_DISABLED: "true", CR_TYPE, CR_ROLE_ARN, CR_REGION },
    }).output();
    expect(code).toBe(1);
    expect(new TextDecoder().decode(stderr)).toContain("no AWS credentials were found");
  });

  it("stays within 65 MB with another type", async () => {
    const { HTTPS_PROXY: _, CR_TYPE: __, ...others } = env;
    await using daemon = await started({ ...others, CR_TYPE: "oci", CR_BASE: "http://127.0.0.1:9" });
    expect(await answer(daemon, "/livez")).toBeDefined();
    expect(peak(daemon)).toBeGreaterThan(20 * MB);
    expect(peak(daemon)).toBeLessThanOrEqual(IDLE_BYTES);
  });
});
