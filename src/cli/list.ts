/**
 * `outpost list [REPO]`: repositories, or the tags of one with digest and last push.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { isRepository } from "../core/image_ref.ts";
import type { Registry } from "../core/ports.ts";
import { type CommandContext, EXIT } from "./context.ts";

/** Options of {@link runList}. */
export interface ListOptions {
  readonly json: boolean;
}

/** Runs the command; returns the exit code. */
export async function runList(
  context: CommandContext,
  repository: string | undefined,
  options: ListOptions,
): Promise<number> {
  if (repository !== undefined && !isRepository(repository)) {
    throw new OutpostError("USAGE", `Cannot list: "${repository.slice(0, 255)}" is not a repository name`);
  }
  const toolbox = await context.toolbox();
  try {
    const { credentials } = toolbox;
    if (credentials === undefined) {
      throw new OutpostError("CONFIG_INVALID", "Cannot list: no registry is configured", {
        hint: "Set CR_BASE (and CR_TYPE, CR_USERNAME, CR_PASSWORD where the registry asks for a login).",
      });
    }
    const registry = toolbox.registries.open(credentials);
    await (repository === undefined
      ? listRepositories(context, registry, options)
      : listTags(context, registry, repository, options));
    return EXIT.ok;
  } finally {
    await toolbox.close();
  }
}

async function listRepositories({ world }: CommandContext, registry: Registry, options: ListOptions): Promise<void> {
  const names: string[] = [];
  for await (const page of registry.repositories(world.signal)) {
    if (options.json) names.push(...page);
    else for (const name of page) world.stdout.write(`${name}\n`);
  }
  if (options.json) world.stdout.write(`${JSON.stringify(names)}\n`);
}

async function listTags(
  { world }: CommandContext,
  registry: Registry,
  repository: string,
  options: ListOptions,
): Promise<void> {
  const tags: unknown[] = [];
  for await (const page of registry.tagsWithMetadata(repository, world.signal)) {
    if (options.json) tags.push(...page);
    else {for (const { tag, digest, lastPushed } of page) {
        world.stdout.write(`${tag}\t${digest ?? "-"}\t${lastPushed ?? "-"}\n`);
      }}
  }
  if (options.json) world.stdout.write(`${JSON.stringify(tags)}\n`);
}
