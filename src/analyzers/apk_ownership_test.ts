import { describe, expect, it } from "vitest";
import type { AppResult } from "../core/scan_ports.ts";
import type { OsRelease } from "../core/types.ts";
import { viewOf } from "./analyzer_suite.ts";
import { type ApkPackageOwnership, withOwners } from "./apk_ownership.ts";

const WOLFI: OsRelease = { name: "wolfi", version: "20230201", prettyName: "Wolfi" };
const DATABASE = "lib/apk/db/installed";

/** Lines of a package: its files and directories as the database lists them. */
function apk(name: string, listed: readonly string[], origin?: string): string {
  return [`P:${name}`, "V:1-r0", ...(origin === undefined ? [] : [`o:${origin}`]), ...listed, "", ""].join("\n");
}

function go(targetFile: string): AppResult {
  return {
    type: "gomodules",
    targetFile,
    facts: [{ type: "depGraph", data: {} }],
    evidence: [{ path: targetFile.slice(1) }],
  };
}

function npm(...packages: readonly (readonly [path: string, name: string])[]): AppResult {
  const evidence = packages.map(([directory, name]) => ({ path: `${directory}/package.json`, name, version: "1.0.0" }));
  return { type: "npm", targetFile: "/usr/lib/node_modules", facts: [], evidence };
}

/** Owners of each result: `package` or `package of name`, with the origin behind a slash when it is another. */
function owners(
  results: readonly AppResult[],
  database: string,
  links: Record<string, string> = {},
  release = WOLFI,
): string[][] {
  return withOwners(results, viewOf({ [DATABASE]: database }, links), release).map(({ closingFacts = [] }) =>
    closingFacts.flatMap(({ type, data }) => {
      expect(type).toBe("apkPackageOwnership");
      const { distroId, ownedPackages } = data as ApkPackageOwnership;
      expect(distroId).toBe(release.name);
      return ownedPackages.map(({ apkPackageName, originPackage, name }) =>
        `${apkPackageName}${originPackage === apkPackageName ? "" : `/${originPackage}`}${name ? ` of ${name}` : ""}`
      );
    })
  );
}

describe("withOwners", () => {
  it("finds the package that lists an executable, and nobody for another one", () => {
    const database = apk("prometheus", ["F:usr/bin", "R:prometheus"], "prom");
    expect(owners([go("/usr/bin/prometheus"), go("/usr/bin/own")], database)).toEqual([["prometheus/prom"], [
      "prometheus/prom",
    ]]);
    expect(owners([go("/usr/bin/own")], database + apk("busybox", ["F:usr/bin", "R:sh"]))).toEqual([[]]);
    expect(owners([go("/opt/own")], database)).toEqual([[]]);
  });

  it("prefers the package that others are built from", () => {
    const database = apk("a-compat", ["F:bin", "R:a"], "a") + apk("a", ["F:bin", "R:a"], "a");
    expect(owners([go("/bin/a")], database)).toEqual([["a"]]);
  });

  it("asks the deepest directory alone", () => {
    const database = apk("node", ["F:usr/lib", "F:usr/lib/node_modules", "F:usr/lib/node_modules/npm"]) +
      apk("other", ["F:usr/lib", "F:usr/lib/node_modules"]);
    const result = npm(["usr/lib/node_modules/npm/node_modules/a", "a"], ["usr/lib/node_modules/own", "own"]);
    expect(owners([result], database)).toEqual([["node of a"]]);
  });

  it("names a package once, by the first place that is owned", () => {
    const database = apk("x", ["F:x"]) + apk("y", ["F:y"]);
    const places = npm(["y/node_modules/a", "a"], ["own/node_modules/a", "a"], ["x/node_modules/a", "a"]);
    expect(owners([places], database)).toEqual([["x of a"]]);
  });

  it("wants one owner for all of a result", () => {
    const jars = (...names: string[]): AppResult => ({
      type: "maven",
      targetFile: "/lib/java",
      facts: [{
        type: "jarFingerprints",
        data: { fingerprints: names.map((name) => ({ location: `/lib/java/${name}` })) },
      }],
      evidence: [],
    });
    const one = apk("one", ["F:lib/java", "R:a.jar", "R:b.jar"]);
    expect(owners([jars("a.jar", "b.jar")], one)).toEqual([["one"]]);
    expect(
      owners([jars("a.jar", "b.jar")], apk("one", ["F:lib/java", "R:a.jar"]) + apk("two", ["F:lib/java", "R:b.jar"])),
    )
      .toEqual([[]]);
    // The directory is shared, so that the result's own path belongs to nobody.
    expect(owners([jars("a.jar")], one + apk("two", ["F:lib/java"]))).toEqual([[]]);
  });

  it("takes the paths of tested files from the result's directory", () => {
    const result: AppResult = {
      type: "npm",
      targetFile: "/app/package.json",
      facts: [{ type: "testedFiles", data: ["package.json", "package-lock.json"] }],
      evidence: [{ path: "app/package.json" }, { path: "app/package-lock.json" }],
    };
    expect(owners([result], apk("app", ["F:app", "R:package.json", "R:package-lock.json"]))).toEqual([["app"]]);
    const [owned] = withOwners([result], viewOf({ [DATABASE]: apk("app", ["F:app"]) }), WOLFI);
    expect(owned?.closingFacts?.[0]?.data).toEqual({
      distroId: "wolfi",
      ownedPackages: [{
        evidencePaths: ["/app/package.json", "/app/package-lock.json"],
        apkPackageName: "app",
        apkPackageVersion: "1-r0",
        originPackage: "app",
      }],
    });
  });

  it("compares places, not the links that lead to them", () => {
    const links = { "usr/bin/tool": "opt/tool/bin/tool" };
    expect(owners([go("/opt/tool/bin/tool")], apk("tool", ["F:usr/bin", "R:tool"]), links)).toEqual([["tool"]]);
  });

  it("leaves images of others alone", () => {
    const database = apk("a", ["F:bin", "R:a"]);
    expect(owners([go("/bin/a")], database, {}, { ...WOLFI, name: "alpine" })).toEqual([[]]);
    expect(owners([go("/bin/a")], database, {}, { ...WOLFI, name: "chainguard" })).toEqual([["a"]]);
    expect(withOwners([go("/bin/a")], viewOf({}), WOLFI)).toEqual([go("/bin/a")]);
  });

  it("passes over lines that mean nothing", () => {
    expect(owners([go("/bin/a")], `F:bin\nR:a\n\nR:a\n${apk("b", ["R:a", "F:", "R:a", "x", "F:bin", "R:a"])}`)).toEqual(
      [["b"]],
    );
  });
});
