/**
 * `outpost scan` as a user runs it: a process, its outputs and its exit code.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ScanResult } from "../../src/core/scan_ports.ts";
import { buildImage, dockerArchive } from "../../src/lib/oci_builder.ts";
import {
  alpineSample,
  debianSample,
  multiPlatformSample,
  SAMPLE_APKS,
  SAMPLE_DEBS,
} from "../../src/lib/sample_images.ts";
import { LOGIN, type LoopbackServer, startLoopbackRegistry } from "../fakes/loopback.ts";
import { type DockerRegistry, startDockerRegistry } from "../peers/docker_registry.ts";
import { uploadImage, writeOciArchive, writeOciLayout } from "../peers/images.ts";
import { peersAvailable } from "../peers/mod.ts";
import { outpost } from "./command.ts";

const DEBIAN = debianSample();
const INSTALLED_DEBS = SAMPLE_DEBS.filter(({ status }) => status === undefined);

/** Names of the packages in a Snyk result. */
function packages(stdout: string): string[] {
  const [result] = JSON.parse(stdout) as ScanResult[];
  const graph = result?.facts.find(({ type }) => type === "depGraph")?.data as { pkgs: { info: { name: string } }[] };
  return graph.pkgs.slice(1).map(({ info }) => info.name);
}

describe("outpost scan", () => {
  let dir = "";
  let registry: LoopbackServer;
  const at = (name: string): string => `${dir}/${name}`;

  beforeAll(async () => {
    dir = await Deno.makeTempDir({ prefix: "outpost-scan-" });
    await Deno.writeFile(at("docker.tar"), dockerArchive([{ content: DEBIAN, names: ["team/debian:12"] }]));
    await writeOciArchive(at("oci.tar"), alpineSample(), "3.21");
    await writeOciLayout(at("layout"), multiPlatformSample(), "multi");
    await Deno.writeFile(at("broken.tar"), (await Deno.readFile(at("docker.tar"))).subarray(0, 3000));
    await Deno.writeTextFile(at("password"), `${LOGIN.password}\n`);
    const half = buildImage({
      layers: [{
        members: [
          { path: "etc/os-release", content: "ID=fedora\nVERSION_ID=42\n" },
          { path: "usr/lib/sysimage/rpm/rpmdb.sqlite", content: "no database" },
        ],
      }],
    });
    await writeOciArchive(at("half.tar"), half);
    registry = startLoopbackRegistry({ "team/alpine": { "3.21": alpineSample() } });
  });
  afterAll(async () => {
    await registry[Symbol.asyncDispose]();
    await Deno.remove(dir, { recursive: true });
  });

  it("shows a table of packages, and progress beside it", async () => {
    const { code, stdout, stderr } = await outpost(["scan", `docker-archive:${at("docker.tar")}`]);
    expect(code, stderr).toBe(0);
    for (const { name, version } of INSTALLED_DEBS) {
      expect(stdout).toMatch(new RegExp(`${name}.*${version.replace(/[.+~]/g, "\\$&")}`));
    }
    expect(stdout).not.toContain("nano");
    expect(stdout).not.toContain("\x1b");
    expect(stderr).toMatch(/^docker\.tar: 2 layers/);
    expect(stderr).toContain("layer 2/2");
    expect(stderr).toContain(`${INSTALLED_DEBS.length} packages found`);
  });

  it.each([
    ["docker-archive:docker.tar", INSTALLED_DEBS],
    ["docker.tar", INSTALLED_DEBS],
    ["oci-archive:oci.tar", SAMPLE_APKS],
    ["oci.tar", SAMPLE_APKS],
    ["oci:layout:multi", SAMPLE_APKS],
    ["oci:layout", SAMPLE_APKS],
    ["layout", SAMPLE_APKS],
  ])("writes Snyk's results of %s and nothing else to stdout", async (source, expected) => {
    const file = source.replace(/(docker\.tar|oci\.tar|layout)/, at("$1"));
    const { code, stdout, stderr } = await outpost(["scan", file, "--format", "snyk", "--quiet"]);
    expect(code, stderr).toBe(0);
    expect(stderr).toBe("");
    const found = packages(stdout).map((name) => name.slice(name.lastIndexOf("/") + 1));
    expect(found.toSorted()).toEqual(expected.map(({ name }) => name).toSorted());
  });

  it("writes JSON with what was found and whether it is whole", async () => {
    const { code, stdout } = await outpost(["scan", at("oci.tar"), "--format", "json"]);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ status: "success", problems: [] });
    expect(stdout).toContain("busybox-binsh");
  });

  it("takes a name for an archive, and the platform", async () => {
    const args = ["scan", `oci:${at("layout")}:multi`, "--image-name", "team/app:7", "--format", "snyk"];
    const { code, stdout } = await outpost([...args, "--platform", "linux/arm64"]);
    expect(code).toBe(0);
    const [result] = JSON.parse(stdout) as ScanResult[];
    expect(result?.target.image).toBe("docker-image|team/app");
    expect(result?.identity.args?.["platform"]).toContain("linux/arm64");
  });

  it("writes the result to a file", async () => {
    const output = at("result.json");
    const { code, stdout } = await outpost(["scan", at("oci.tar"), "--format", "snyk", "--output", output]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(packages(await Deno.readTextFile(output))).toHaveLength(SAMPLE_APKS.length);
  });

  it("pulls from the configured registry, with and without its host in the reference", async () => {
    const { username: CR_USERNAME, password: CR_PASSWORD } = LOGIN;
    const env = { CR_TYPE: "oci", CR_BASE: registry.url, CR_USERNAME, CR_PASSWORD };
    for (const source of ["team/alpine:3.21", `${registry.host}/team/alpine:3.21`, "registry:team/alpine:3.21"]) {
      const { code, stdout, stderr } = await outpost(["scan", source, "--format", "snyk"], { env });
      expect(code, stderr).toBe(0);
      expect(packages(stdout)).toHaveLength(SAMPLE_APKS.length);
      expect(stderr).not.toContain(CR_PASSWORD);
    }
  });

  it("logs in to another registry from the command line", async () => {
    const login = ["--username", LOGIN.username, "--password-file", at("password"), "--plain-http"];
    const { code, stderr } = await outpost(["scan", `${registry.host}/team/alpine:3.21`, ...login]);
    expect(code, stderr).toBe(0);
    const anonymous = await outpost(["scan", `${registry.host}/team/alpine:3.21`, "--plain-http"]);
    expect(anonymous.code).toBe(1);
    expect(anonymous.stderr).toContain("error: ");
  });

  it.each([
    ["a file that is not there", ["none.tar"], 1, "no such file"],
    ["an archive that is cut off", ["broken.tar"], 1, "error: Cannot "],
    ["what is no archive", ["password"], 1, "error: Cannot "],
    ["a tag that the layout does not have", ["oci:layout:none"], 1, "none"],
    ["a platform that the image does not have", ["layout", "--platform", "plan9/mips"], 1, "linux/arm64"],
    ["a folder that is not there", ["oci.tar", "--output", "/no/such/folder/x"], 64, "Cannot write the result"],
    ["a platform that is none", ["oci.tar", "--platform", "linux"], 64, "as a platform"],
    ["a format that is none", ["oci.tar", "--format", "xml"], 64, "table, snyk, json"],
    ["an option that is none", ["oci.tar", "--formt", "json"], 64, "Did you mean --format?"],
    ["a reference that is none", ["registry:Team/App"], 64, "lower case"],
    ["an empty source", [" "], 64, "SOURCE is empty"],
    ["a login without a password", ["a", "--username", "u"], 64, "--password-file"],
    ["a password file that is not there", ["a", "--username", "u", "--password-file", "/none"], 64, "/none"],
  ])("explains %s", async (_what, [source = "", ...args], expected, message) => {
    const file = source.replace(/(none\.tar|broken\.tar|password|layout|oci\.tar)/, at("$1"));
    const { code, stdout, stderr } = await outpost(["scan", file, ...args]);
    expect({ code, stdout }).toEqual({ code: expected, stdout: "" });
    expect(stderr).toContain("error: ");
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it("says that a result is not whole, and prints it", async () => {
    const { code, stdout, stderr } = await outpost(["scan", at("half.tar"), "--format", "json"]);
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({ status: "partial" });
    expect(stderr).toContain("warning: usr/lib/sysimage/rpm/rpmdb.sqlite");
    expect(stderr).toContain("incomplete");
  });

  it("ends at once with 130 on Ctrl-C, and lets go of the download", async () => {
    const digest = alpineSample().layers[0]?.descriptor.digest ?? "";
    const asked = Promise.withResolvers<void>();
    const cancelled = Promise.withResolvers<void>();
    registry.intercept = (request) => {
      if (!request.url.endsWith(digest)) return undefined;
      asked.resolve();
      // The layer's download starts and never ends.
      return new Response(new ReadableStream({ cancel: () => cancelled.resolve() }));
    };
    try {
      const env = { CR_TYPE: "oci", CR_BASE: registry.url, CR_USERNAME: LOGIN.username, CR_PASSWORD: LOGIN.password };
      const end = await outpost(["scan", "team/alpine:3.21"], { env, interruptAt: asked.promise });
      expect({ code: end.code, stdout: end.stdout }, end.stderr).toEqual({ code: 130, stdout: "" });
      expect(end.stderr).not.toMatch(/internal error|\n\s+at /i);
      await cancelled.promise;
    } finally {
      registry.intercept = undefined;
    }
  });
});

describe.skipIf(!peersAvailable("docker-registry"))("outpost scan from docker-registry with Basic auth", () => {
  let registry: DockerRegistry;
  const env = (): Record<string, string> => ({
    CR_TYPE: "docker-registry",
    CR_BASE: registry.url,
    CR_USERNAME: registry.username,
    CR_PASSWORD: registry.password,
  });

  beforeAll(async () => {
    registry = await startDockerRegistry({ mode: "htpasswd" });
    await uploadImage(registry, "team/debian", ["12"], DEBIAN);
  });
  afterAll(() => registry.stop());

  it("finds the same packages by tag and by digest", async () => {
    for (const reference of ["team/debian:12", `${registry.host}/team/debian@${DEBIAN.descriptor.digest}`]) {
      const { code, stdout, stderr } = await outpost(["scan", reference, "--format", "snyk"], { env: env() });
      expect(code, stderr).toBe(0);
      expect(packages(stdout)).toHaveLength(INSTALLED_DEBS.length);
    }
  });

  it("explains a wrong password and an unknown tag", async () => {
    const refused = await outpost(["scan", "team/debian:12"], { env: { ...env(), CR_PASSWORD: "wrong-canary" } });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("CR_PASSWORD");
    expect(refused.stderr).not.toContain("wrong-canary");
    const unknown = await outpost(["scan", "team/debian:none"], { env: env() });
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain("none");
  });

  it("lists repositories and tags", async () => {
    expect(await outpost(["list"], { env: env() })).toEqual({ code: 0, stdout: "team/debian\n", stderr: "" });
    const tags = await outpost(["list", "team/debian"], { env: env() });
    expect(tags.stdout).toBe(`12\t${DEBIAN.descriptor.digest}\t-\n`);
  });
});
