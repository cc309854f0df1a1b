import { describe, expect, it } from "vitest";
import { findProgram, peer } from "../../tests/peers/mod.ts";
import { analyzerSuite, analyzeWith, rpmDatabase, rpmHeader, rpmTags, viewOf } from "./analyzer_suite.ts";
import { RPM_SQLITE } from "./rpm.ts";

const DATABASE = "var/lib/rpm/rpmdb.sqlite";
const SYSIMAGE = "usr/lib/sysimage/rpm/rpmdb.sqlite";
const MANIFESTS = "root/buildinfo/content_manifests/";
const RHEL = { name: "rhel", version: "9.3", prettyName: "" };

const one = (name: string): Uint8Array => rpmDatabase([rpmHeader(rpmTags(name))]);

describe("rpm sqlite", () => {
  analyzerSuite(RPM_SQLITE, "rpm", [
    {
      name: "version, epoch, module and source package",
      files: {
        [DATABASE]: rpmDatabase([
          rpmHeader(rpmTags("bash", "5.1", "9.el9")),
          rpmHeader([...rpmTags("nodejs"), [1003, 4, 1], [5096, 6, "nodejs:18:9:ctx"]]),
          rpmHeader([[1000, 6, "gpg-pubkey"], [1001, 6, "fd431d51"], [1002, 6, "4ae0493b"], [1009, 4, 0]]),
        ]),
      },
      release: RHEL,
      database: DATABASE,
      packages: [
        {
          name: "bash",
          version: "5.1-9.el9",
          provides: [],
          depends: [],
          purl: "pkg:rpm/rhel/bash@5.1-9.el9?distro=rhel-9.3&upstream=bash%405.1-9.el9",
        },
        {
          name: "nodejs",
          version: "1:1.0-1.el9",
          purl:
            "pkg:rpm/rhel/nodejs@1:1.0-1.el9?distro=rhel-9.3&epoch=1&module=nodejs%3A18&upstream=nodejs%401.0-1.el9",
        },
        { name: "gpg-pubkey", purl: "pkg:rpm/rhel/gpg-pubkey@fd431d51-4ae0493b?distro=rhel-9.3" },
      ],
    },
    {
      name: "the content sets of all manifests, newest layer first",
      files: {
        [SYSIMAGE]: one("a"),
        [`${MANIFESTS}base.json`]: { content: '{"content_sets":["base","both"]}', layer: 0 },
        [`${MANIFESTS}app.json`]: { content: '{"content_sets":["app","both"]}', layer: 1 },
        [`${MANIFESTS}none.json`]: { content: '{"metadata":{}}', layer: 2 },
      },
      release: RHEL,
      database: SYSIMAGE,
      packages: [{
        purl: "pkg:rpm/rhel/a@1.0-1.el9?distro=rhel-9.3&repositories=app%2Cboth%2Cbase&upstream=a%401.0-1.el9",
      }],
    },
    {
      name: "the database of the upper layer when there are two",
      files: { [SYSIMAGE]: { content: one("lower"), layer: 0 }, [DATABASE]: { content: one("upper"), layer: 1 } },
      database: DATABASE,
      packages: [{ name: "upper" }],
    },
    {
      name: "the database of an ostree image",
      files: { "usr/share/rpm/rpmdb.sqlite": one("a") },
      database: "usr/share/rpm/rpmdb.sqlite",
      packages: [{ name: "a" }],
    },
    {
      name: "Packages.db when it is SQLite",
      files: { "usr/lib/sysimage/rpm/Packages.db": one("a") },
      database: "usr/lib/sysimage/rpm/Packages.db",
      packages: [{ name: "a" }],
    },
  ]);

  it("leaves a Packages.db of another form to the analyzer before it", () => {
    expect(analyzeWith(RPM_SQLITE, viewOf({ "usr/lib/sysimage/rpm/Packages.db": "RpmP".padEnd(200, "\0") }))).toEqual({
      result: undefined,
      problems: [],
    });
  });

  it("finds nothing in a database without packages", () => {
    expect(analyzeWith(RPM_SQLITE, viewOf({ [DATABASE]: rpmDatabase([]) }))).toEqual({
      result: undefined,
      problems: [],
    });
  });

  it("reports a broken header and keeps the other packages", () => {
    const bytes = rpmDatabase([
      rpmHeader(rpmTags("a")),
      Uint8Array.of(1, 2, 3),
      rpmHeader(rpmTags("b")),
      new Uint8Array(9),
    ]);
    const { result, problems } = analyzeWith(RPM_SQLITE, viewOf({ [DATABASE]: bytes }));
    expect(result?.packages.map((found) => found.name)).toEqual(["a", "b"]);
    expect(problems).toEqual([{
      code: "ANALYSIS_FAILED",
      subject: DATABASE,
      message: `Cannot read all of ${DATABASE}: row 2: Cannot read the rpm header: it is too short (and 1 more faults)`,
    }]);
  });

  it("reports what is no database, and one that is cut off", () => {
    const large = rpmDatabase(Array.from({ length: 200 }, (_, at) => rpmHeader(rpmTags(`p${at}`))));
    const cut = analyzeWith(RPM_SQLITE, viewOf({ [DATABASE]: large.subarray(0, large.length - 8192) }));
    expect(cut.problems).toMatchObject([{ code: "ANALYSIS_FAILED", subject: DATABASE }]);
    const junk = analyzeWith(RPM_SQLITE, viewOf({ [DATABASE]: "x".repeat(9000) }));
    expect(junk.result).toBeUndefined();
    expect(junk.problems).toMatchObject([{ code: "ANALYSIS_FAILED", subject: DATABASE }]);
  });

  it.each(["{", "null}", '{"content_sets":"x"}', '{"content_sets":[1]}'])(
    "reports the content manifest %j and goes on",
    (bad) => {
      const files = {
        [DATABASE]: one("a"),
        [`${MANIFESTS}bad.json`]: bad,
        [`${MANIFESTS}ok.json`]: '{"content_sets":["s"]}',
      };
      const { result, problems } = analyzeWith(RPM_SQLITE, viewOf(files), RHEL);
      expect(result?.packages[0]?.purl).toContain("repositories=s&");
      expect(problems).toMatchObject([{ code: "ANALYSIS_FAILED", subject: `${MANIFESTS}bad.json` }]);
    },
  );

  it("leaves content sets out when they would fill memory, and says so", () => {
    const headers = Array.from({ length: 50 }, (_, at) => rpmHeader(rpmTags(`p${at}`)));
    const files = {
      [DATABASE]: rpmDatabase(headers),
      [`${MANIFESTS}huge.json`]: JSON.stringify({ content_sets: ["x".repeat(1_000_000)] }),
    };
    const { result, problems } = analyzeWith(RPM_SQLITE, viewOf(files));
    expect(result?.packages).toHaveLength(50);
    expect(result?.packages[0]?.purl).not.toContain("repositories");
    expect(problems).toMatchObject([{ code: "LIMIT_EXCEEDED", subject: MANIFESTS }]);
  });
});

/** The real peer: Debian's rpm builds packages and writes its own database. */
describe.skipIf(!peer("rpm").available || findProgram("rpmbuild") === undefined)("rpm sqlite by rpm itself", () => {
  it("gives the packages that rpm lists", async () => {
    const folder = await Deno.makeTempDir();
    try {
      const packages = [
        { name: "tiny", epoch: "", files: 0 },
        { name: "epochal", epoch: "Epoch: 3\n", files: 0 },
        { name: "zero-epoch", epoch: "Epoch: 0\n", files: 0 },
        { name: "bulky", epoch: "", files: 1500 },
      ];
      for (const entry of packages) await buildRpm(folder, entry.name, entry.epoch, entry.files);
      const options = ["--dbpath", `${folder}/db`, "--define", "_db_backend sqlite"];
      const built = packages.map((entry) => `${folder}/out/noarch/${entry.name}-1.2-3.noarch.rpm`);
      await run("rpm", ["-i", "--justdb", "--nodeps", "--noscripts", ...options, ...built]);
      const format = "%{NAME} %|EPOCH?{%{EPOCH}}:{-}| %{VERSION}-%{RELEASE} %{SOURCERPM}\n";
      const listed = (await run("rpm", ["-qa", "--qf", format, ...options])).trim().split("\n").toSorted();
      const view = viewOf({ [DATABASE]: await Deno.readFile(`${folder}/db/rpmdb.sqlite`) });
      const { result, problems } = analyzeWith(RPM_SQLITE, view, RHEL);
      expect(problems).toEqual([]);
      expect(listed).toEqual(
        ["bulky - 1.2-3", "epochal 3 1.2-3", "tiny - 1.2-3", "zero-epoch 0 1.2-3"].map((line) =>
          `${line} ${line.split(" ")[0]}-1.2-3.src.rpm`
        ),
      );
      expect(result?.packages.map((found) => found.purl).toSorted()).toEqual([
        "pkg:rpm/rhel/bulky@1.2-3?distro=rhel-9.3&upstream=bulky%401.2-3",
        "pkg:rpm/rhel/epochal@3:1.2-3?distro=rhel-9.3&epoch=3&upstream=epochal%401.2-3",
        "pkg:rpm/rhel/tiny@1.2-3?distro=rhel-9.3&upstream=tiny%401.2-3",
        "pkg:rpm/rhel/zero-epoch@1.2-3?distro=rhel-9.3&epoch=0&upstream=zero-epoch%401.2-3",
      ]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});

async function buildRpm(folder: string, name: string, epoch: string, files: number): Promise<void> {
  const spec = `Name: ${name}\nVersion: 1.2\nRelease: 3\n${epoch}Summary: test\nLicense: none\nBuildArch: noarch\n` +
    `%description\ntest\n%install\nmkdir -p %{buildroot}/opt/${name}\n` +
    `for i in $(seq ${files}); do echo $i > %{buildroot}/opt/${name}/some-file-name-$i; done\n%files\n/opt/${name}\n`;
  await Deno.writeTextFile(`${folder}/${name}.spec`, spec);
  const defines = ["--define", `_topdir ${folder}/build`, "--define", `_rpmdir ${folder}/out`];
  await run("rpmbuild", ["-bb", ...defines, "--dbpath", `${folder}/builddb`, `${folder}/${name}.spec`]);
}

async function run(program: string, args: readonly string[]): Promise<string> {
  const env = { LC_ALL: "C.UTF-8" };
  const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args], env }).output();
  if (code !== 0) throw new Error(`${program} exited with ${code}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}
