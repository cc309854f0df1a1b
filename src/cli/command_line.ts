/**
 * The command line: names, options, help. Each command's work is in its own file.
 *
 * @module
 */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { OutpostError } from "../core/errors.ts";
import { JOB_STATES } from "../core/store.ts";
import type { AnalysisOptions } from "../core/types.ts";
import { Secret } from "../lib/secret.ts";
import { FORMATS } from "../results/mod.ts";
import { type CommandContext, EXIT } from "./context.ts";
import { endWithError } from "./explain.ts";
import { runDemo } from "./demo.ts";
import { parseLimit, runJobs } from "./jobs.ts";
import { runList } from "./list.ts";
import { runScan } from "./scan.ts";
import { runStart } from "./start.ts";
import { runSystemcheck } from "./systemcheck.ts";

const EXIT_STATUS = `
Exit codes:
  0  done, nothing to complain about
  1  operational error
  2  policy failed
  3  incomplete scan
  4  vulnerability database missing or too old
  64 wrong usage
  130 interrupted`;

const JOB_ACTIONS = [
  ["show", "one with its images and callbacks"],
  ["retry", "send its dead callbacks again, or scan its images again"],
  ["cancel", "end it: its remaining images are reported as cancelled"],
] as const;

/** Runs the command line; returns the exit code. Errors are printed here (explain.ts) and nowhere else. */
export async function runCommandLine(context: CommandContext, args: readonly string[]): Promise<number> {
  const { world } = context;
  let code: number = EXIT.ok;
  const program = describe(context, (result) => {
    code = result;
  });
  try {
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return endWithError(world, error);
  }
}

function describe(context: CommandContext, done: (code: number) => void): Command {
  const { world } = context;
  const program = new Command("outpost")
    .description("Connects private container registries to Snyk, and scans images by itself.")
    .version(world.version)
    .exitOverride()
    .configureOutput({ writeOut: (text) => world.stdout.write(text), writeErr: (text) => world.stderr.write(text) })
    .showHelpAfterError("(outpost --help shows the commands)")
    .addHelpText("after", EXIT_STATUS);

  program.command("start")
    .description("run the daemon; configuration from the environment")
    .option("--port <number>", "local port, instead of PORT")
    .action(async ({ port }: { port?: string }) =>
      done(await runStart(context, port === undefined ? {} : { PORT: port }))
    );

  program.command("demo")
    .description("show the main job on this machine alone: registry, broker, listing, scan, callback")
    .option("--once", "end after the run instead of staying up", false)
    .action(async (options: { once: boolean }) => done(await runDemo(context, options)));

  program.command("scan")
    .argument("<source>", "registry reference, docker-archive:FILE, oci-archive:FILE, oci:DIR[:TAG] or a path")
    .description("list what is inside an image")
    .addOption(new Option("--format <format>", "form of the result").choices(Object.keys(FORMATS)).default("table"))
    .option("--platform <os/arch>", "which image of a multi-platform one, os/arch[/variant]")
    .option("--output <file>", "write the result to a file")
    .option("--image-name <name>", "name of the image in the result, for archives")
    .option("--username <name>", "login for a registry other than CR_BASE")
    .option("--password-file <file>", "file that holds the password for --username")
    .option("--plain-http", "speak HTTP to a registry other than CR_BASE", false)
    .option("--exclude-app-vulns", "only the packages of the operating system")
    .option("--exclude-node-modules", "no npm packages of directories without a lock file")
    .addOption(
      new Option(
        "--nested-jars-depth <levels>",
        "levels of archives inside an archive in which jars are looked for (1)",
      )
        .argParser(levels),
    )
    .addOption(
      new Option("--shaded-jars-depth <levels>", "old name of --nested-jars-depth").argParser(levels).hideHelp(),
    )
    .option("--include-system-jars", "also jars below /usr/lib")
    .option("--file <dockerfile>", "the Dockerfile that the image was built from")
    .option("--exclude-base-image-vulns", "only packages that instructions of the Dockerfile or history installed")
    .option("--find-files <glob>", "also the contents of files whose absolute path matches; may be repeated", collect)
    .option("--ignore-files <glob>", "not the contents of files whose absolute path matches; may be repeated", collect)
    .option("--target-reference <text>", "distinguishes versions of one project at Snyk")
    .option("--layer-attribution", "also which layer brought each package")
    .option("--collect-application-files", "also the paths of applications' source files")
    .option("--quiet", "no progress on stderr", false)
    .action(async (source: string, options: ScanFlags) => done(await scan(context, source, options)));

  program.command("list")
    .argument("[repository]", "show the tags of this repository")
    .option("--json", "one JSON array", false)
    .description("list the repositories of CR_BASE, or the tags of one with digest and last push")
    .action(async (repository: string | undefined, options: { json: boolean }) =>
      done(await runList(context, repository, options))
    );

  const jobs = program.command("jobs")
    .description("accepted scans: list, show, retry, cancel")
    .exitOverride();
  jobs.command("list", { isDefault: true })
    .description("accepted scans, newest first")
    .addOption(new Option("--state <state>", "only these").choices(JOB_STATES))
    .option("--limit <number>", "at most so many", "100")
    .option("--json", "one JSON array", false)
    .action(async ({ state, limit, json }: { state?: string; limit: string; json: boolean }) =>
      done(await runJobs(context, { kind: "list", state, limit: parseLimit(limit) }, { json }))
    );
  for (const [kind, description] of JOB_ACTIONS) {
    jobs.command(kind).argument("<id>").description(description)
      .option("--json", "one JSON object", false)
      .action(async (id: string, { json }: { json: boolean }) => done(await runJobs(context, { kind, id }, { json })));
  }
  for (const command of jobs.commands) command.exitOverride();

  program.command("systemcheck")
    .option("--json", "machine-readable report", false)
    .option("--live", "only ask the daemon on this machine whether it is connected", false)
    .description("check configuration, broker server and registry, with advice")
    .action(async (options: { json: boolean; live: boolean }) => done(await runSystemcheck(context, options)));

  for (const command of program.commands) command.exitOverride();
  return program;
}

interface ScanFlags {
  readonly format: keyof typeof FORMATS;
  readonly platform?: string;
  readonly output?: string;
  readonly imageName?: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly plainHttp: boolean;
  readonly quiet: boolean;
  readonly excludeAppVulns?: true;
  readonly excludeNodeModules?: true;
  readonly nestedJarsDepth?: number;
  readonly shadedJarsDepth?: number;
  readonly includeSystemJars?: true;
  readonly collectApplicationFiles?: true;
  readonly layerAttribution?: true;
  readonly file?: string;
  readonly excludeBaseImageVulns?: true;
  readonly findFiles?: readonly string[];
  readonly ignoreFiles?: readonly string[];
  readonly targetReference?: string;
}

/** A number of levels on the command line. */
function levels(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It has to be a whole number, 0 or more.");
}

/** The values of an option that is given several times. */
function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** What is looked at, by the flags. `dockerfile` is the text of `--file`. */
function analysisOf(flags: ScanFlags, dockerfile: string | undefined): AnalysisOptions {
  const { excludeAppVulns, excludeNodeModules, includeSystemJars, collectApplicationFiles } = flags;
  const { layerAttribution, excludeBaseImageVulns, targetReference, findFiles, ignoreFiles, shadedJarsDepth } = flags;
  const nestedJarsDepth = flags.nestedJarsDepth ?? shadedJarsDepth;
  if (nestedJarsDepth !== undefined && excludeAppVulns === true) {
    throw new OutpostError("USAGE", "Cannot scan: --nested-jars-depth has no meaning with --exclude-app-vulns");
  }
  return {
    excludeAppVulns,
    excludeNodeModules,
    nestedJarsDepth,
    includeSystemJars,
    collectApplicationFiles,
    layerAttribution,
    excludeBaseImageVulns,
    targetReference,
    dockerfile,
    globsToFind: findFiles && { include: findFiles, exclude: ignoreFiles ?? [] },
    parameterWarnings: shadedJarsDepth === undefined ? [] : [SHADED_JARS_WARNING],
  };
}

/** The plugin's own sentence. */
const SHADED_JARS_WARNING = "--shaded-jars-depth is deprecated, use --nested-jars-depth instead";

async function readOption({ world }: CommandContext, option: string, path: string): Promise<string> {
  return await world.readTextFile(path).catch((cause: unknown) => {
    throw new OutpostError("USAGE", `Cannot read the file of ${option}: ${path} cannot be read`, {
      hint: `Give ${option} a file that this user may read.`,
      cause,
    });
  });
}

async function scan(context: CommandContext, source: string, flags: ScanFlags): Promise<number> {
  const { passwordFile, file } = flags;
  const dockerfile = file === undefined ? undefined : await readOption(context, "--file", file);
  const options = { ...flags, analysis: analysisOf(flags, dockerfile) };
  if ((passwordFile === undefined) !== (options.username === undefined)) {
    throw new OutpostError("USAGE", "Cannot log in: --username and --password-file go together");
  }
  if (passwordFile === undefined) return await runScan(context, source, options);
  const password = await readOption(context, "--password-file", passwordFile);
  return await runScan(context, source, { ...options, password: new Secret(password.replace(/\r?\n$/, "")) });
}
