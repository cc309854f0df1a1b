/**
 * The walls of the tree, as a `deno lint` plug-in: imports point down only, siblings never import each other, and
 * nothing below main reaches for the outside world by itself.
 *
 * @module
 */

/** Floors of `src/`, top first. A file may import from its own folder and from any lower floor. */
const FLOORS: readonly (readonly string[])[] = [
  ["main"],
  ["server", "cli"],
  ["jobs"],
  ["broker", "registries", "layers"],
  ["net", "analyzers", "store", "results", "wasm", "config", "telemetry"],
  ["lib"],
  ["core"],
];

/** Globals that only the composition root may touch; everything else gets them through core/ports.ts. */
const AMBIENT: Readonly<Record<string, string>> = {
  "Deno.env": "take a Config",
  "Deno.args": "take the arguments",
  "Deno.exit": "return an exit code",
  "Date.now": "take a Clock",
  "Math.random": "take a Clock",
  "performance.now": "take a Clock",
  "crypto.randomUUID": "take it as a dependency",
};

const AMBIENT_CALLS: Readonly<Record<string, string>> = {
  fetch: "take a Fetch",
  setTimeout: "take a Clock",
  setInterval: "take a Clock",
};

const INJECTED_FLOORS = new Set(["main"]);

function folderOf(path: string): string | undefined {
  const at = path.lastIndexOf("/src/");
  if (at < 0) return undefined;
  const rest = path.slice(at + 5);
  // Files directly in src/ are the composition root.
  return rest.includes("/") ? rest.slice(0, rest.indexOf("/")) : "main";
}

function floorOf(folder: string): number {
  return FLOORS.findIndex((floor) => floor.includes(folder));
}

function isTest(path: string): boolean {
  return path.endsWith("_test.ts") || path.endsWith("_suite.ts") || path.endsWith("_bench.ts");
}

/** Resolves a relative import against the importing file, without touching the file system. */
function resolve(from: string, specifier: string): string {
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** Says why `from` may not import `specifier`, or nothing when it may. Exported for its test. */
export function forbiddenImport(from: string, specifier: string): string | undefined {
  const own = folderOf(from);
  if (/^(npm|jsr|https?|file):/.test(specifier)) return "Name dependencies in deno.json's import map";
  if (own === undefined || !specifier.startsWith(".")) return undefined;
  const target = resolve(from, specifier);
  const other = folderOf(target);
  if (other === undefined) {
    const tests = target.includes("/tests/") && isTest(from);
    return tests ? undefined : "Nothing in src/ may import from outside src/";
  }
  if (own === other) return undefined;
  const floor = floorOf(own);
  const otherFloor = floorOf(other);
  if (floor < 0) return `src/${own}/ has no floor in tools/lint_boundaries.ts`;
  if (otherFloor < 0) return `src/${other}/ has no floor in tools/lint_boundaries.ts`;
  if (otherFloor > floor) return undefined;
  return otherFloor === floor
    ? `src/${own}/ and src/${other}/ are siblings: meet in core/ports.ts`
    : `src/${other}/ is above src/${own}/: imports point down only`;
}

const plugin: Deno.lint.Plugin = {
  name: "outpost",
  rules: {
    "boundaries": {
      create(context) {
        const check = (node: Deno.lint.Node, source: unknown): void => {
          if (typeof source !== "string") return;
          const why = forbiddenImport(context.filename.replaceAll("\\", "/"), source);
          if (why !== undefined) context.report({ node, message: why });
        };
        return {
          ImportDeclaration: (node) => check(node, node.source.value),
          ExportNamedDeclaration: (node) => check(node, node.source?.value),
          ExportAllDeclaration: (node) => check(node, node.source.value),
          ImportExpression: (node) => check(node, node.source.type === "Literal" ? node.source.value : undefined),
        };
      },
    },
    "no-ambient": {
      create(context) {
        const path = context.filename.replaceAll("\\", "/");
        const own = folderOf(path);
        if (own === undefined || INJECTED_FLOORS.has(own) || isTest(path)) return {};
        return {
          MemberExpression(node): void {
            if (node.object.type !== "Identifier" || node.property.type !== "Identifier") return;
            const name = `${node.object.name}.${node.property.name}`;
            const instead = Object.hasOwn(AMBIENT, name) ? AMBIENT[name] : undefined;
            if (instead !== undefined) context.report({ node, message: `No ${name} below main`, hint: instead });
          },
          CallExpression(node): void {
            if (node.callee.type !== "Identifier") return;
            const { name } = node.callee;
            const instead = Object.hasOwn(AMBIENT_CALLS, name) ? AMBIENT_CALLS[name] : undefined;
            if (instead !== undefined) {
              context.report({ node, message: `No ${name}() below main`, hint: instead });
            }
          },
        };
      },
    },
  },
};

export default plugin;
