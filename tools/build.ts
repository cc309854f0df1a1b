/**
 * Builds what the container ships: `deno run -A tools/build.ts [DIR]`, by default `dist/`. Sources and packages become a
 * few files, one for each part that is loaded on demand, laid out as a package in `node_modules` beside a program that
 * imports it.
 *
 * Deno parses every module of a program before it runs any, which costs 25 MB where its cache cannot be written, as in a
 * container with a read-only file system. A package's modules it hands to V8 as they are.
 *
 * @module
 */

const root = new URL("../", import.meta.url);

/** What the program starts with, and what it loads by a name that no bundler can follow. */
const MAIN = "src/main.ts";
const LOADED_BY_NAME = "src/registries/aws_ecr.ts";

/** The part of deno.json that matters at run time. */
interface RunConfig {
  readonly version: string;
  readonly unstable: readonly string[];
  readonly permissions: unknown;
}

async function bundle(folder: string): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "-q",
      "--platform",
      "deno",
      "--code-splitting",
      "--minify",
      "--outdir",
      folder,
      MAIN,
      LOADED_BY_NAME,
    ],
    cwd: root.pathname,
  }).spawn().status;
  if (!success) throw new Error("deno bundle failed");
}

/**
 * Makes the import by name lead to the built file. Where it stands, the name is relative to a source file.
 *
 * @throws {Error} When it does not stand in exactly one file.
 */
async function linkByName(folder: string): Promise<void> {
  const found: string[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile) continue;
    const text = await Deno.readTextFile(`${folder}/${name}`);
    const linked = text.replace("./aws_ecr.ts", "./registries/aws_ecr.js");
    if (linked === text) continue;
    found.push(name);
    await Deno.writeTextFile(`${folder}/${name}`, linked);
  }
  if (found.length !== 1) throw new Error(`The import of ${LOADED_BY_NAME} is in ${found.length} files`);
}

/**
 * Leaves parts of Deno unread that only few programs need, and that cost each start 11 ms: what `require()` is made of,
 * for a package that calls it when it is called itself, and what Commander runs executables of subcommands with, of which
 * there are none.
 *
 * @throws {Error} When one of them is not there to be replaced.
 */
async function loadLater(folder: string): Promise<void> {
  const replacements: readonly [RegExp, (name: string, value: string) => string][] = [
    [
      /import\{createRequire as (__\w+)\} ?from ?"node:module";var (\w+)=\1\(import\.meta\.url\);/,
      (_, name) => `var ${name}=id=>process.getBuiltinModule("node:module").createRequire(import.meta.url)(id);`,
    ],
    ...["child_process", "fs"].map((module): [RegExp, (name: string) => string] => [
      new RegExp(`import (\\w+) from ?"node:${module}";`),
      (name) => `var ${name}=new Proxy({},{get:(_,key)=>process.getBuiltinModule("node:${module}")[key]});`,
    ]),
  ];
  const found = new Set<RegExp>();
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile) continue;
    const text = await Deno.readTextFile(`${folder}/${name}`);
    const changed = replacements.reduce(
      (changing, [pattern, replace]) =>
        changing.replace(pattern, (_, first: string, second: string) => {
          found.add(pattern);
          return replace(first, second);
        }),
      text,
    );
    if (changed !== text) await Deno.writeTextFile(`${folder}/${name}`, changed);
  }
  for (const [pattern] of replacements) if (!found.has(pattern)) throw new Error(`No file has ${pattern}`);
}

/** Builds into the folder, which is emptied first. */
export async function build(folder: string): Promise<void> {
  const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", root))) as RunConfig;
  const { version, unstable, permissions } = config;
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  const packaged = `${folder}/node_modules/outpost`;
  await Deno.mkdir(packaged, { recursive: true });
  await bundle(packaged);
  await linkByName(packaged);
  await loadLater(packaged);
  const json = (name: string, value: unknown): Promise<void> =>
    Deno.writeTextFile(`${folder}/${name}`, `${JSON.stringify(value, null, 2)}\n`);
  await json("deno.json", { nodeModulesDir: "manual", unstable, permissions });
  await json("package.json", { type: "module", dependencies: { outpost: version } });
  await json("node_modules/outpost/package.json", { name: "outpost", version, type: "module", exports: "./main.js" });
  await Deno.writeTextFile(
    `${folder}/outpost.js`,
    'import { main } from "outpost";\n\nDeno.exit(await main(Deno.args));\n',
  );
}

if (import.meta.main) {
  const folder = Deno.args[0] ?? "dist";
  await build(folder.startsWith("/") ? folder : `${Deno.cwd()}/${folder}`);
}
