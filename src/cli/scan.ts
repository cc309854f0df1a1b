/**
 * `outpost scan SOURCE`: what is inside an image.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { formatImageRef, type ImageRef, parseImageRef } from "../core/image_ref.ts";
import type { ImageHandle, RegistryCredentials } from "../core/ports.ts";
import type { ScanReport } from "../core/scan_ports.ts";
import type { AnalysisOptions } from "../core/types.ts";
import { parsePlatform } from "../lib/platform.ts";
import type { ResultFormat } from "../results/format.ts";
import { FORMATS } from "../results/mod.ts";
import { type CommandContext, EXIT, type LoginOptions, type Toolbox } from "./context.ts";
import { ScanProgress } from "./progress.ts";
import { registryHost } from "./registry_source.ts";
import { parseSource, type Source } from "./source.ts";

/** Options of {@link runScan}. */
export interface ScanOptions extends LoginOptions {
  readonly format: keyof typeof FORMATS;
  readonly platform?: string | undefined;
  readonly output?: string | undefined;
  readonly imageName?: string | undefined;
  /** Plain HTTP for a registry that is not the configured one. */
  readonly plainHttp?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  /** What is looked at. */
  readonly analysis?: AnalysisOptions | undefined;
}

/** Names of Docker Hub in references. */
const HUB_HOSTS: readonly string[] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/** Runs the command; returns the exit code. The result goes to stdout or `output`, everything else to stderr. */
export async function runScan(context: CommandContext, sourceText: string, options: ScanOptions): Promise<number> {
  const { world } = context;
  const toolbox = await context.toolbox();
  try {
    const source = await parseSource(sourceText, world.pathExists);
    const report = await scanSource(context, toolbox, source, options);
    await writeReport(context, report, options);
    if (report.os.packages.type === "linux") {
      world.stderr.write(
        "note: No known package manager was found: packages of an operating system are not in the result.\n",
      );
    }
    if (report.status === "success") return EXIT.ok;
    for (const problem of report.problems) {
      world.stderr.write(toolbox.redact(`warning: ${problem.subject}: ${problem.message}\n`));
    }
    world.stderr.write("The scan is incomplete: what the warnings name is missing from the result.\n");
    return EXIT.incomplete;
  } finally {
    await toolbox.close();
  }
}

async function scanSource(
  context: CommandContext,
  toolbox: Toolbox,
  source: Source,
  options: ScanOptions,
): Promise<ScanReport> {
  const { world } = context;
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
  const progress = new ScanProgress(world.stderr, world.clock);
  const scan = (
    image: ImageHandle,
    imageName: string,
    imageNameIsFile: boolean,
    registryHost?: string,
  ): Promise<ScanReport> =>
    toolbox.scan({
      image,
      imageName,
      imageNameIsFile,
      registryHost,
      maxImageBytes: toolbox.config.maxImageBytes,
      analysis: options.analysis,
      signal: world.signal,
      onEvent: options.quiet === true ? undefined : (event) => progress.show(event),
    });
  if (source.kind === "archive") {
    using image = await toolbox.openArchive(source, { platform, signal: world.signal });
    return await scan(image, options.imageName ?? source.name, options.imageName === undefined);
  }
  const ref = parseImageRef(source.text);
  const credentials = sourceCredentials(toolbox, ref.host, options);
  const registry = toolbox.registries.open(credentials);
  const reference = ref.digest ?? ref.tag ?? "latest";
  const image = await registry.image(ref.repository, reference, { platform, signal: world.signal });
  return await scan(image, options.imageName ?? imageNameOf(ref), false, registry.host);
}

/** The name in results, as the operator wrote it; with the tag that was meant when it says neither tag nor digest. */
function imageNameOf(ref: ImageRef): string {
  return formatImageRef(ref.digest === undefined ? { ...ref, tag: ref.tag ?? "latest" } : ref);
}

/** The configured credentials when the reference is on that registry; otherwise those of the command line, or none. */
function sourceCredentials(toolbox: Toolbox, written: string | undefined, options: ScanOptions): RegistryCredentials {
  const configured = toolbox.credentials;
  const host = written?.toLowerCase();
  const hub = host === undefined || HUB_HOSTS.includes(host);
  const own = configured !== undefined &&
    (host === undefined || host === registryHost(configured) || (hub && configured.type === "docker-hub"));
  if (own) return configured;
  const { username, password } = options;
  return {
    type: hub ? "docker-hub" : "oci",
    base: hub ? "docker.io" : `${options.plainHttp === true ? "http" : "https"}://${host}`,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password: password.reveal() }),
  };
}

async function writeReport({ world }: CommandContext, report: ScanReport, options: ScanOptions): Promise<void> {
  const format: ResultFormat = FORMATS[options.format];
  const toFile = options.output !== undefined;
  const rendered = format.render(report, {
    width: toFile ? undefined : world.stdout.columns,
    color: !toFile && world.stdout.color,
  });
  const parts: Iterable<string> = typeof rendered === "string" ? [rendered] : rendered;
  if (options.output === undefined) {
    for (const part of parts) world.stdout.write(part);
    return;
  }
  const { output } = options;
  const encoder = new TextEncoder();
  await world.writeFile(output, Iterator.from(parts).map((part) => encoder.encode(part))).catch((cause: unknown) => {
    throw new OutpostError("USAGE", `Cannot write the result to ${output}: ${reason(cause)}`, {
      hint: "Give --output a path in a folder where this user may write.",
      cause,
    });
  });
}

/** What the system says, without its error number. */
function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message.replace(/ \(os error \d+\).*$/s, "") : "it failed";
}
