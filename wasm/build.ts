/**
 * Builds the layer engine: `deno run -A --no-config wasm/build.ts` writes the module, its checksum and the copy that src/wasm loads;
 * with `--check` it writes nothing and fails when one of them is not what the source gives.
 *
 * The compiler is AssemblyScript from the npm registry, pinned here, and itself a WebAssembly program: the same
 * source gives the same bytes on every machine.
 *
 * @module
 */
import { createHash } from "node:crypto";

const folder = new URL("./", import.meta.url);
const SOURCE = "layer_engine.as";
const MODULE = new URL("layer_engine.wasm", folder);
const CHECKSUM = new URL("layer_engine.wasm.sha256", folder);
const EMBEDDED = new URL("../src/wasm/layer_engine_wasm.ts", folder);

/**
 * Not in deno.json's import map: with its 104 MB it would be fetched by everybody who runs anything. What it gives is
 * compared byte for byte, so a lock file has nothing to add.
 */
const COMPILER = "npm:assemblyscript@0.28.20/asc";

const FLAGS = [
  // More of it makes the loop 1 to 2 % slower: V8 optimises again, and what it is given shapes how it uses registers.
  "-O1",
  // Bounds and nulls are not AssemblyScript's to check: the module has no objects, and its memory is its sandbox.
  "--noAssert",
  "--runtime",
  "stub",
  "--enable",
  "simd",
  // 704 KiB, of which the map in the source uses 573; static data stands behind it.
  "--initialMemory",
  "11",
  "--maximumMemory",
  "11",
  "--memoryBase",
  "655360",
];

/** Compiles the engine. Whatever the compiler has to say goes to standard error. */
async function compile(): Promise<Uint8Array<ArrayBuffer>> {
  const { default: asc } = await import(COMPILER);
  const source = await Deno.readTextFile(new URL(SOURCE, folder));
  let module: Uint8Array<ArrayBuffer> | undefined;
  const { error, stderr } = await asc.main(["engine.ts", ...FLAGS, "--outFile", "engine.wasm"], {
    // The compiler asks for its own extension; ours keeps the file apart from TypeScript, which it is not.
    readFile: (name: string) => name === "engine.ts" ? source : null,
    writeFile: (_name: string, contents: string | Uint8Array) => {
      if (typeof contents !== "string") module = contents.slice();
    },
    listFiles: () => [],
  });
  await Deno.stderr.write(new TextEncoder().encode(stderr.toString()));
  if (error !== null || module === undefined) throw error ?? new Error("The compiler gave no module");
  return module;
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
