/**
 * vitest's test API on `deno test`: the import map points `vitest` here, so that tests keep Deno's sanitizers,
 * permissions and reporter while they read as vitest tests do.
 *
 * A suite without `beforeAll`/`afterAll` becomes one Deno test per `it`; a suite that has them becomes one Deno test
 * with steps, so that what `beforeAll` opens and `afterAll` closes is balanced within one sanitizer scope.
 *
 * @module
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  ChaiStyleAssertions,
  customMatchers,
  type ExpectStatic,
  getState,
  GLOBAL_EXPECT,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  type MatchersObject,
  setState,
} from "@vitest/expect";
import { fn, isMockFunction, spyOn } from "@vitest/spy";

/** vitest's `vi`, as far as tests here use it. */
export const vi = { fn, spyOn, isMockFunction };

type Body = () => void | Promise<void>;
type Hook = () => unknown;

interface Case {
  readonly name: string;
  readonly body: Body;
  readonly ignore: boolean;
  readonly only: boolean;
}

class Suite {
  readonly cases: Case[] = [];
  readonly suites: Suite[] = [];
  readonly beforeAll: Hook[] = [];
  readonly afterAll: Hook[] = [];
  readonly beforeEach: Hook[] = [];
  readonly afterEach: Hook[] = [];

  constructor(readonly name: string, readonly ignore: boolean) {}

  get stepped(): boolean {
    return this.beforeAll.length > 0 || this.afterAll.length > 0;
  }
}

let current: Suite | undefined;

function registerHook(kind: "beforeAll" | "afterAll" | "beforeEach" | "afterEach", hook: Hook): void {
  if (current === undefined) throw new Error(`${kind}() must be called inside describe()`);
  current[kind].push(hook);
}

/** Runs before the first test of the suite. */
export function beforeAll(hook: Hook): void {
  registerHook("beforeAll", hook);
}
/** Runs after the last test of the suite. */
export function afterAll(hook: Hook): void {
  registerHook("afterAll", hook);
}
/** Runs before each test of the suite and of those inside it. */
export function beforeEach(hook: Hook): void {
  registerHook("beforeEach", hook);
}
/** Runs after each test of the suite and of those inside it, also after a failed one. */
export function afterEach(hook: Hook): void {
  registerHook("afterEach", hook);
}

function withHooks(path: readonly Suite[], body: Body): () => Promise<void> {
  return async function hooked(): Promise<void> {
    setState({ assertionCalls: 0 }, expect);
    try {
      for (const suite of path) for (const hook of suite.beforeEach) await hook();
      await body();
    } finally {
      for (const suite of path.toReversed()) for (const hook of suite.afterEach.toReversed()) await hook();
    }
  };
}

async function runSteps(t: Deno.TestContext, path: readonly Suite[]): Promise<void> {
  const suite = path[path.length - 1];
  if (suite === undefined) return;
  const step = { sanitizeOps: false, sanitizeResources: false, sanitizeExit: true };
  try {
    for (const hook of suite.beforeAll) await hook();
    for (const test of suite.cases) {
      await t.step({ ...step, name: test.name, ignore: test.ignore, fn: withHooks(path, test.body) });
    }
    for (const inner of suite.suites) {
      await t.step({ ...step, name: inner.name, ignore: inner.ignore, fn: (s) => runSteps(s, [...path, inner]) });
    }
  } finally {
    for (const hook of suite.afterAll.toReversed()) await hook();
  }
}

function register(path: readonly Suite[]): void {
  const suite = path[path.length - 1];
  if (suite === undefined) return;
  const prefix = path.map((s) => s.name).join(" > ");
  if (suite.stepped) {
    const ignore = path.some((s) => s.ignore);
    Deno.test({ name: prefix, ignore, fn: (t) => runSteps(t, path) });
    return;
  }
  for (const test of suite.cases) {
    const ignore = test.ignore || path.some((s) => s.ignore);
    Deno.test({ name: `${prefix} > ${test.name}`, ignore, only: test.only, fn: withHooks(path, test.body) });
  }
  for (const inner of suite.suites) register([...path, inner]);
}

function suite(name: string, body: () => void, ignore: boolean): void {
  const parent = current;
  const made = new Suite(name, ignore);
  current = made;
  try {
    body();
  } finally {
    current = parent;
  }
  if (parent === undefined) register([made]);
  else parent.suites.push(made);
}

function test(name: string, body: Body, options: { ignore?: boolean; only?: boolean } = {}): void {
  const made: Case = { name, body, ignore: options.ignore === true, only: options.only === true };
  if (current !== undefined) current.cases.push(made);
  else Deno.test({ name, ignore: made.ignore, only: made.only, fn: withHooks([], body) });
}

function format(name: string, row: readonly unknown[], index: number): string {
  let next = 0;
  return name.replace(/%([sdijo#%])/g, (whole, kind: string) => {
    if (kind === "%") return "%";
    if (kind === "#") return String(index);
    if (next >= row.length) return whole;
    const value = row[next++];
    return kind === "s" ? String(value) : kind === "d" || kind === "i" ? String(Number(value)) : JSON.stringify(value);
  });
}

type Each = <const T>(
  rows: readonly T[],
) => (
  name: string,
  body: (...row: T extends readonly unknown[] ? [...T] : [T]) => void | Promise<void>,
) => void;

function each(define: (name: string, body: Body) => void): Each {
  return (rows) => (name, body) =>
    rows.forEach((row, index) => {
      const values: readonly unknown[] = Array.isArray(row) ? row : [row];
      const call = body as (...row: readonly unknown[]) => void | Promise<void>;
      define(format(name, values, index), () => call(...values));
    });
}

/** Groups tests. */
export const describe = Object.assign((name: string, body: () => void): void => suite(name, body, false), {
  skip: (name: string, body: () => void): void => suite(name, body, true),
  skipIf: (condition: boolean) => (name: string, body: () => void): void => suite(name, body, condition),
  runIf: (condition: boolean) => (name: string, body: () => void): void => suite(name, body, !condition),
  each: each((name, body) => suite(name, body as () => void, false)),
});

/** One test. */
export const it = Object.assign((name: string, body: Body): void => test(name, body), {
  skip: (name: string, body: Body): void => test(name, body, { ignore: true }),
  only: (name: string, body: Body): void => test(name, body, { only: true }),
  skipIf: (condition: boolean) => (name: string, body: Body): void => test(name, body, { ignore: condition }),
  runIf: (condition: boolean) => (name: string, body: Body): void => test(name, body, { ignore: !condition }),
  each: each((name, body) => test(name, body)),
});

export { it as test };

/** vitest's matchers with the chai surface that `vitest` types for its users. */
export interface Expect extends ExpectStatic {
  extend(matchers: MatchersObject): void;
  unreachable(message?: string): never;
}

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(ChaiStyleAssertions);
chai.use(JestAsymmetricMatchers);

/** vitest's `expect`, from vitest's own package. */
export const expect: Expect = makeExpect();

function makeExpect(): Expect {
  const made = ((value: unknown, message?: string) => {
    const { assertionCalls } = getState(made);
    setState({ assertionCalls: assertionCalls + 1 }, made);
    return chai.expect(value, message);
  }) as Expect;
  Object.assign(made, chai.expect);
  Object.assign(made, (globalThis as unknown as Record<symbol, unknown>)[ASYMMETRIC_MATCHERS_OBJECT]);
  made.getState = () => getState(made);
  made.setState = (state) => setState(state, made);
  made.extend = (matchers) =>
    (chai.expect as unknown as { extend(expect: ExpectStatic, matchers: MatchersObject): void }).extend(made, matchers);
  made.unreachable = (message?: string): never => {
    throw new chai.AssertionError(message ?? "This line must not be reached");
  };
  Object.defineProperty(globalThis, GLOBAL_EXPECT, { value: made, writable: true, configurable: true });
  setState({
    assertionCalls: 0,
    isExpectingAssertions: false,
    isExpectingAssertionsError: null,
    expectedAssertionsNumber: null,
    expectedAssertionsNumberErrorGen: null,
  }, made);
  made.extend(customMatchers);
  return made;
}
