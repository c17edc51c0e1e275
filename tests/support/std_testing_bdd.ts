/**
 * Stands in for the part of `@std/testing/bdd` that the tests use, over the running runtime's own test runner:
 * `Deno.test`, `bun:test` or `node:test`. It exists because `@std/testing` is only on JSR, which closed networks cannot
 * reach, and because Bun and Node cannot load it at all. Where JSR can be reached, the same test files run on the real
 * package unchanged.
 *
 * Bun and Node have `describe`, `it` and the four hooks themselves. For Deno every `it` becomes one `Deno.test` named
 * `outer > inner > name`, so that each counts as a test in every report (the real package makes steps of them), and
 * the hooks are run from here:
 *
 * ```text
 *  file            Deno.test list                 hooks around it
 *  describe A
 *    it 1      ->  "A > 1"                        beforeAll A, beforeEach A, 1, afterEach A
 *    describe B
 *      it 2    ->  "A > B > 2"                    beforeAll B, beforeEach A, beforeEach B, 2, afterEach B, ...
 *    it 3      ->  "A > 3"                        ..., afterAll A after the last test of A
 * ```
 *
 * @module
 */
import process from "node:process";

type TestFunction = () => void | Promise<void>;

/** What may stand between the name and the function of an `it`; the Deno-only ones are ignored elsewhere. */
export interface ItOptions {
  /** Whether to report the test as skipped. */
  ignore?: boolean;
  /** Whether to run only this test of the file. */
  only?: boolean;
  /** Deno's check that the test does not call `Deno.exit`. */
  sanitizeExit?: boolean;
  /** Deno's check that every asynchronous operation has ended. */
  sanitizeOps?: boolean;
  /** Deno's check that every resource is closed. */
  sanitizeResources?: boolean;
}

/** What may stand between the name and the function of a `describe`. */
export interface DescribeOptions {
  /** Whether to report the tests in it as skipped. */
  ignore?: boolean;
}

type ItArgs = [name: string, fn: TestFunction] | [name: string, options: ItOptions, fn: TestFunction];
type DescribeArgs =
  | [name: string, fn: () => void | undefined]
  | [name: string, options: DescribeOptions, fn: () => void | undefined];

/** What every runner is reduced to. */
interface Runner {
  describe(name: string, options: DescribeOptions, fn: () => void): void;
  it(name: string, options: ItOptions, fn: TestFunction): void;
  beforeAll(fn: TestFunction): void;
  afterAll(fn: TestFunction): void;
  beforeEach(fn: TestFunction): void;
  afterEach(fn: TestFunction): void;
}

/** The part of `Deno` used here, so that this file also type-checks where there is none. */
interface DenoTest {
  (definition: ItOptions & { name: string; fn: TestFunction }): void;
  afterAll(fn: TestFunction): void;
}

type ForeignTest = (name: string, fn: TestFunction, options: { timeout: number }) => void;
type ForeignHook = (fn: TestFunction, options: { timeout: number }) => void;

/** The part of `bun:test` used here. */
interface BunTest {
  describe: ((name: string, fn: () => void) => void) & { skip(name: string, fn: () => void): void };
  it: ForeignTest & { skip: ForeignTest; only: ForeignTest };
  beforeAll: ForeignHook;
  afterAll: ForeignHook;
  beforeEach: ForeignHook;
  afterEach: ForeignHook;
}

/** The part of `node:test` used here. */
interface NodeTest {
  describe(name: string, options: { skip: boolean }, fn: () => void): void;
  it(name: string, options: { skip: boolean; only: boolean }, fn: TestFunction): void;
  before(fn: TestFunction): void;
  after(fn: TestFunction): void;
  beforeEach(fn: TestFunction): void;
  afterEach(fn: TestFunction): void;
}

/** Bun ends a test or a hook after 5 seconds by default, which is short for a random test under emulation. */
const BUN_TIMEOUT_MS = 1_800_000;

/** One `describe` on Deno, and what is known of its run. */
class Suite {
  readonly parent: Suite | undefined;
  readonly name: string;
  readonly ignore: boolean;
  readonly beforeAll: TestFunction[] = [];
  readonly afterAll: TestFunction[] = [];
  readonly beforeEach: TestFunction[] = [];
  readonly afterEach: TestFunction[] = [];
  /** Tests in it, and in the suites in it, that have not ended; skipped ones do not count. */
  pending = 0;
  /** Set by the first test; a failure of `beforeAll` is so the failure of every test. */
  started: Promise<void> | undefined;
  ended = false;

  constructor(parent: Suite | undefined, name: string, ignore: boolean) {
    this.parent = parent;
    this.name = name;
    this.ignore = ignore;
  }

  async start(): Promise<void> {
    await this.parent?.start();
    this.started ??= runAll(this.beforeAll);
    await this.started;
  }

  async setUp(): Promise<void> {
    await this.parent?.setUp();
    await runAll(this.beforeEach);
  }

  async tearDown(): Promise<void> {
    try {
      await runAll(this.afterEach);
    } finally {
      await this.parent?.tearDown();
    }
  }

  /** Runs `afterAll` of this suite and of those around it that have no test left. */
  async finish(): Promise<void> {
    this.pending--;
    try {
      if (this.pending === 0) await this.end();
    } finally {
      await this.parent?.finish();
    }
  }

  async end(): Promise<void> {
    if (this.ended || this.started === undefined) return;
    this.ended = true;
    await runAll(this.afterAll);
  }
}

async function runAll(functions: readonly TestFunction[]): Promise<void> {
  for (const fn of functions) await fn();
}

function denoRunner(test: DenoTest): Runner {
  const file = new Suite(undefined, "", false);
  const suites = [file];
  let current = file;

  // Tests that a filter or an `only` leaves out never end, so what is still open is ended with the file.
  test.afterAll(async () => {
    for (const suite of suites.toReversed()) await suite.end();
  });

  return {
    describe(name, options, fn) {
      const outer = current;
      const label = outer === file ? name : `${outer.name} > ${name}`;
      current = new Suite(outer, label, outer.ignore || options.ignore === true);
      suites.push(current);
      try {
        fn();
      } finally {
        current = outer;
      }
    },
    it(name, options, fn) {
      const suite = current;
      const ignore = suite.ignore || options.ignore === true;
      if (!ignore) {
        for (let s: Suite | undefined = suite; s !== undefined; s = s.parent) s.pending++;
      }
      test({
        ...options,
        ignore,
        name: suite === file ? name : `${suite.name} > ${name}`,
        async fn() {
          try {
            await suite.start();
            try {
              await suite.setUp();
              await fn();
            } finally {
              await suite.tearDown();
            }
          } finally {
            await suite.finish();
          }
        },
      });
    },
    beforeAll: (fn) => void current.beforeAll.push(fn),
    afterAll: (fn) => void current.afterAll.push(fn),
    beforeEach: (fn) => void current.beforeEach.push(fn),
    afterEach: (fn) => void current.afterEach.push(fn),
  };
}

function bunRunner(bun: BunTest): Runner {
  return {
    describe(name, options, fn) {
      (options.ignore === true ? bun.describe.skip : bun.describe)(name, fn);
    },
    it(name, options, fn) {
      const register = options.ignore === true ? bun.it.skip : options.only === true ? bun.it.only : bun.it;
      register(name, () => fn(), { timeout: BUN_TIMEOUT_MS });
    },
    beforeAll: (fn) => bun.beforeAll(() => fn(), { timeout: BUN_TIMEOUT_MS }),
    afterAll: (fn) => bun.afterAll(() => fn(), { timeout: BUN_TIMEOUT_MS }),
    beforeEach: (fn) => bun.beforeEach(() => fn(), { timeout: BUN_TIMEOUT_MS }),
    afterEach: (fn) => bun.afterEach(() => fn(), { timeout: BUN_TIMEOUT_MS }),
  };
}

function nodeRunner(node: NodeTest): Runner {
  return {
    describe(name, options, fn) {
      node.describe(name, { skip: options.ignore === true }, () => fn());
    },
    it(name, options, fn) {
      node.it(name, { skip: options.ignore === true, only: options.only === true }, () => fn());
    },
    beforeAll: (fn) => node.before(() => fn()),
    afterAll: (fn) => node.after(() => fn()),
    beforeEach: (fn) => node.beforeEach(() => fn()),
    afterEach: (fn) => node.afterEach(() => fn()),
  };
}

/** The runner of the running runtime. `getBuiltinModule` because a static import of another's would fail to load. */
function detectRunner(): Runner {
  const deno = (globalThis as { Deno?: { test: DenoTest } }).Deno;
  if (deno !== undefined) return denoRunner(deno.test);
  if (process.versions["bun"] !== undefined) {
    return bunRunner(process.getBuiltinModule("bun:test") as unknown as BunTest);
  }
  return nodeRunner(process.getBuiltinModule("node:test") as unknown as NodeTest);
}

const runner = detectRunner();

function registerIt(args: ItArgs, forced: ItOptions): void {
  const [name, second, third] = args;
  const options = typeof second === "function" ? {} : second;
  const fn = typeof second === "function" ? second : third;
  if (typeof fn !== "function") throw new TypeError(`Cannot register "${name}": it has no function`);
  runner.it(name, { ...options, ...forced }, fn);
}

function registerDescribe(args: DescribeArgs, forced: DescribeOptions): void {
  const [name, second, third] = args;
  const options = typeof second === "function" ? {} : second;
  const fn = typeof second === "function" ? second : third;
  if (typeof fn !== "function") throw new TypeError(`Cannot register "${name}": it has no function`);
  runner.describe(name, { ...options, ...forced }, fn);
}

/** Registers a test. */
export function it(...args: ItArgs): void {
  registerIt(args, {});
}
/** Registers a test that is reported as skipped. */
it.skip = function skip(...args: ItArgs): void {
  registerIt(args, { ignore: true });
};
/** As `it.skip`. */
it.ignore = it.skip;
/** Registers a test, and has the runner leave out the others of the file (Bun and Node: with their `--only` flag). */
it.only = function only(...args: ItArgs): void {
  registerIt(args, { only: true });
};

/** Registers a group of tests. Groups may be nested. */
export function describe(...args: DescribeArgs): void {
  registerDescribe(args, {});
}
/** Registers a group whose tests are reported as skipped. */
describe.skip = function skip(...args: DescribeArgs): void {
  registerDescribe(args, { ignore: true });
};
/** As `describe.skip`. */
describe.ignore = describe.skip;

/** Runs `fn` once before the first test of the group. */
export function beforeAll(fn: TestFunction): void {
  runner.beforeAll(fn);
}
/** Runs `fn` once after the last test of the group. */
export function afterAll(fn: TestFunction): void {
  runner.afterAll(fn);
}
/** Runs `fn` before each test of the group and of the groups in it. */
export function beforeEach(fn: TestFunction): void {
  runner.beforeEach(fn);
}
/** Runs `fn` after each test of the group and of the groups in it, whether it passed or not. */
export function afterEach(fn: TestFunction): void {
  runner.afterEach(fn);
}
