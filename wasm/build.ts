/**
 * Builds the layer engine: `deno run -A wasm/build.ts` writes the module, its checksum and the copy that src/wasm loads;
 * with `--check` it writes nothing and fails when one of them is not what the source gives.
 *
 * The compiler is clang in WebAssembly from the npm registry, pinned in deno.json: the same source gives the same bytes
 * on every machine.
 *
 * @module
 */
import { createHash } from "node:crypto";

const folder = new URL("./", import.meta.url);
const SOURCE = "layer_engine.c";
const MODULE = new URL("layer_engine.wasm", folder);
const CHECKSUM = new URL("layer_engine.wasm.sha256", folder);
const EMBEDDED = new URL("../src/wasm/layer_engine_wasm.ts", folder);

const FLAGS = [
  "--target=wasm32-unknown-unknown",
  "-std=c17",
  "-O3",
  "-msimd128",
  "-mbulk-memory",
  "-ffreestanding",
  "-nostdlib",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-Wl,--no-entry",
  "-Wl,--strip-all",
  // Deep calls do not exist; a small stack in front of the data faults instead of overwriting it.
  "-Wl,--stack-first",
  "-Wl,-z,stack-size=4096",
];

/** Compiles the engine. Warnings are errors, and go to standard error. */
async function compile(): Promise<Uint8Array<ArrayBuffer>> {
  const { commands } = await import("@yowasp/clang");
  const source = await Deno.readTextFile(new URL(SOURCE, folder));
  const files = await commands.clang([...FLAGS, "-o", "engine.wasm", SOURCE], { [SOURCE]: source }, {
    stderr: (bytes: Uint8Array | null): void => void (bytes !== null && Deno.stderr.writeSync(bytes)),
  });
  const module = files?.["engine.wasm"];
  if (!(module instanceof Uint8Array)) throw new Error("The compiler gave no module");
  return module.slice();
}

/** The files that the module goes to, by their text or bytes. */
function outputs(module: Uint8Array<ArrayBuffer>): [URL, Uint8Array<ArrayBuffer>][] {
  const sha256 = createHash("sha256").update(module).digest("hex");
  const embedded = `/**
 * The layer engine's module in base64, written by wasm/build.ts: an import needs no permission and no path.
 *
 * @module
 */

/** sha256 ${sha256}, ${module.length} bytes. */
export const LAYER_ENGINE_WASM =
  "${module.toBase64()}";
`;
  const text = new TextEncoder();
  return [
    [MODULE, module],
    [CHECKSUM, text.encode(`${sha256}  layer_engine.wasm\n`)],
    [EMBEDDED, text.encode(embedded)],
  ];
}

async function isCurrent(file: URL, expected: Uint8Array): Promise<boolean> {
  const actual = await Deno.readFile(file).catch(() => new Uint8Array(0));
  return actual.length === expected.length && actual.every((byte, i) => byte === expected[i]);
}

async function main(): Promise<number> {
  const check = Deno.args.includes("--check");
  let stale = 0;
  for (const [file, bytes] of outputs(await compile())) {
    if (!check) await Deno.writeFile(file, bytes);
    else if (!await isCurrent(file, bytes)) {
      stale++;
      await Deno.stderr.write(new TextEncoder().encode(`${file.pathname} is not what ${SOURCE} gives\n`));
    }
  }
  return stale === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exitCode = await main();
