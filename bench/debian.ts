/**
 * Real Debian packages as the content of images: downloaded by apt-get with everything that they depend on, unpacked
 * by dpkg-deb, and entered into a dpkg database as an installation does. Needs no root and no container engine.
 *
 * @module
 */
import { run } from "../tests/peers/process.ts";

/** Packages downloaded so far, and in which order they were "installed". */
export class DebianPackages {
  /** Folder of the package files; kept between runs. */
  readonly #cache: string;

  constructor(cache: string) {
    this.#cache = cache;
  }

  /**
   * Downloads the packages with their dependencies (no recommendations), for a system that has nothing installed.
   *
   * @returns The package files, sorted by name.
   * @throws {Error} with apt-get's message.
   */
  async download(names: readonly string[]): Promise<readonly string[]> {
    await Deno.mkdir(`${this.#cache}/partial`, { recursive: true });
    await Deno.writeTextFile(`${this.#cache}/status`, "");
    const options = [
      ["Dir::State::status", `${this.#cache}/status`],
      ["Dir::Cache::archives", `${this.#cache}/`],
      ["Debug::NoLocking", "1"],
      ["APT::Install-Recommends", "false"],
      ["APT::Sandbox::User", "root"],
    ].flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    // What is in the cache is not printed, so the list comes from an empty one.
    const empty = ["-o", `Dir::Cache::archives=${this.#cache}/none/`];
    await Deno.mkdir(`${this.#cache}/none/partial`, { recursive: true });
    const listed = await checked("apt-get", ["-q", "-y", ...options, ...empty, "--print-uris", "install", ...names]);
    await checked("apt-get", ["-q", "-y", ...options, "--download-only", "install", ...names]);
    const files = [...listed.matchAll(/^'[^']+' (\S+\.deb) /gm)].map(([, file]) => `${this.#cache}/${file}`);
    return files.toSorted();
  }
}

/** Unpacks packages into a folder. */
export async function unpack(debs: readonly string[], folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  for (const deb of debs) await checked("dpkg-deb", ["-x", deb, folder]);
}

/** Stanzas of the dpkg status file for the packages, all installed. */
export async function statusOf(debs: readonly string[]): Promise<string> {
  let text = "";
  for (const deb of debs) {
    const control = await checked("dpkg-deb", ["-f", deb]);
    text += `${control.trimEnd().replace("\n", "\nStatus: install ok installed\n")}\n\n`;
  }
  return text;
}

/**
 * Runs a program.
 *
 * @returns Its output.
 * @throws {Error} with its message when it fails.
 */
export async function checked(command: string, args: readonly string[], cwd?: string): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, cwd === undefined ? {} : { cwd });
  if (code !== 0) throw new Error(`${command} ${args.slice(0, 6).join(" ")} failed: ${stderr.slice(-2000)}`);
  return stdout;
}
