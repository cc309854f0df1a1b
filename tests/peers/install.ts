/**
 * Installs the real peers that are missing: Debian packages by apt-get, the broker server and its Node.js by npm into
 * `.peers/`. What the system cannot give is recorded with the reason and is no error, unless CI=true.
 *
 * Run: `deno task peers`
 *
 * @module
 */
import { findProgram, isFile, type Peer, peer, type PeerName, PEERS, PEERS_DIR, STATUS_FILE } from "./mod.ts";
import { run } from "./process.ts";

/** Debian packages by peer; each brings a program of the same name. */
const DEBIAN: readonly PeerName[] = ["docker-registry", "skopeo", "umoci", "rpm", "openssl", "nats-server"];

const NPM_FILES = new URL("./npm/", import.meta.url).pathname;

/** Why npm or apt-get could not deliver, by peer. */
type Failures = Partial<Record<PeerName, string>>;

/** Installs what is missing and returns the state of every peer. Concurrent calls wait for each other. */
export async function installPeers(say: (line: string) => void): Promise<readonly Peer[]> {
  await Deno.mkdir(PEERS_DIR, { recursive: true });
  using lock = await Deno.open(`${PEERS_DIR}/lock`, { create: true, write: true });
  await lock.lock(true);
  const failures: Failures = { ...await installDebian(say), ...await installBroker(say) };
  await Deno.writeTextFile(STATUS_FILE, `${JSON.stringify(failures, null, 2)}\n`);
  await lock.unlock();
  return PEERS.map(peer);
}

async function installDebian(say: (line: string) => void): Promise<Failures> {
  const missing = DEBIAN.filter((name) => !peer(name).available);
  if (missing.length === 0) return {};
  const because = (reason: string): Failures => Object.fromEntries(missing.map((name) => [name, reason]));
  if (!isFile("/etc/debian_version") || findProgram("apt-get") === undefined) {
    return because("this is not a Debian system, install the program of that name yourself");
  }
  if (Deno.uid() !== 0) return because(`apt-get needs root; run: apt-get install ${missing.join(" ")}`);
  say(`Installing Debian packages: ${missing.join(" ")}`);
  let result = await aptInstall(missing);
  if (result.code !== 0) {
    await run("apt-get", ["update", "-q"]);
    result = await aptInstall(missing);
  }
  return result.code === 0 ? {} : because(`apt-get install failed: ${lastLines(result.stderr)}`);
}

function aptInstall(packages: readonly string[]): ReturnType<typeof run> {
  const env = { DEBIAN_FRONTEND: "noninteractive", APT_LISTCHANGES_FRONTEND: "none" };
  const options = ["-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"];
  return run("apt-get", ["install", ...options, ...packages], { env });
}

async function installBroker(say: (line: string) => void): Promise<Failures> {
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    return { "snyk-broker": "its Node.js 24 comes from npm for Linux on x86-64 only" };
  }
  // Two files tell whether the folder is what the lock file says: the lock file's copy is written last.
  const wanted = await Deno.readTextFile(`${NPM_FILES}package-lock.json`);
  const done = `${PEERS_DIR}/installed-lock.json`;
  if (isFile(done) && await Deno.readTextFile(done) === wanted && peer("snyk-broker").available) return {};
  const npm = findProgram("npm");
  if (npm === undefined) return { "snyk-broker": "there is no npm on PATH" };
  say("Installing the broker server by npm");
  for (const name of ["package.json", "package-lock.json"]) {
    await Deno.copyFile(`${NPM_FILES}${name}`, `${PEERS_DIR}/${name}`);
  }
  // No install scripts: nothing here needs one, and a test must not run foreign code unasked.
  const result = await run(npm, ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: PEERS_DIR,
  });
  if (result.code !== 0) return { "snyk-broker": `npm ci failed: ${lastLines(result.stderr)}` };
  // The server looks for this file in the folders above its own and refuses to start without one; npm's package has
  // none. Everything that it needs is given by environment variables (broker_server.ts).
  await Deno.writeTextFile(`${PEERS_DIR}/config.default.json`, "{}\n");
  await Deno.writeTextFile(done, wanted);
  return {};
}

function lastLines(text: string): string {
  return text.trim().split("\n").slice(-3).join(" | ").slice(0, 500);
}

if (import.meta.main) {
  const say = (line: string): void => void Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
  const peers = await installPeers(say);
  for (const { name, available, reason } of peers) {
    say(available ? `peer ${name}: ready` : `peer ${name}: missing, ${reason}`);
  }
  if (Deno.env.get("CI") === "true" && peers.some((found) => !found.available)) Deno.exit(1);
}
