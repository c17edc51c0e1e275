/**
 * What a stranger sees who has not given the permission, or not all of it. Every case is a process of its own: Deno with
 * fewer flags, and Node with its permission model.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { spawn, spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  commandFor,
  isEmulated,
  isLinux,
  rootUrl,
  run,
  runFile,
  type RunResult,
  runtimeName,
} from "./support/runtime.ts";

const isDeno = runtimeName === "deno";
const isNode = runtimeName === "node";

/** Prints what happens as one line of JSON. */
const REPORT = "tests/fixtures/ffi_report.ts";

/** What the child writes; see the fixture. */
interface Report {
  readonly imported: boolean;
  readonly fixed: string;
  readonly attempts: readonly {
    readonly name: string;
    readonly code?: string;
    readonly message: string;
    readonly cause: string;
  }[];
  readonly heap: string;
}

async function report(denoFlags: readonly string[]): Promise<Report> {
  return parse(await runFile(REPORT, { denoFlags }));
}

function parse({ code, stdout, stderr }: RunResult): Report {
  assertEquals(code, 0, stderr);
  return JSON.parse(stdout.trimEnd().split("\n").at(-1) as string) as Report;
}

/** The one message for every way in which Deno's permission is not whole. */
function assertPermissionError({ imported, fixed, attempts, heap }: Report, cause: RegExp): void {
  assertEquals(imported, true);
  assertEquals(fixed, "works");
  assertEquals(attempts.length, 2);
  for (const error of attempts) {
    assertEquals([error.name, error.code], ["UnsupportedPlatformError", "ERR_UNSUPPORTED_PLATFORM"]);
    assert(error.message.includes("run deno with --allow-ffi."), error.message);
    assert(error.message.includes("A grant for paths (--allow-ffi=PATH)"), error.message);
    assert(error.message.includes("is not enough, because pointers and views of memory belong to no library"));
    assert(error.message.includes("it turns libc.so.6 into ./libc.so.6 (denoland/deno#29246)"), error.message);
    assert(cause.test(error.cause), error.cause);
  }
  assert(heap.startsWith("UnsupportedPlatformError: "), heap);
}

describe("Deno's permission", { ignore: !isDeno }, () => {
  const requiresAccess = /^NotCapable: Requires ffi access/;

  for (
    const [title, flags, cause] of [
      ["without --allow-ffi", [], requiresAccess],
      ["with --no-prompt", ["--no-prompt"], requiresAccess],
      ["with --deny-ffi", ["--deny-ffi"], requiresAccess],
      ["with a grant for a path", ["--allow-ffi=/usr/lib"], requiresAccess],
      ["with a grant for the very library", ["--allow-ffi=libc.so.6,kernel32.dll"], requiresAccess],
      [
        "with an exception for some path",
        ["--allow-ffi", "--deny-ffi=/some/path"],
        /^Error: Could not open library/,
      ],
    ] as const
  ) {
    it(`${title} the error names the flag and why a part of it is not enough`, async () => {
      assertPermissionError(await report(flags), cause);
    });
  }

  it("with --allow-ffi alone everything works", async () => {
    assertEquals(await report(["--allow-ffi"]), { imported: true, fixed: "works", attempts: [], heap: "works" });
  });

  it("once revoked, what is bound and wrapped works on, and new wraps do not", async () => {
    const { code, stdout, stderr } = await runFile("tests/fixtures/ffi_revoke.ts", { denoFlags: ["--allow-ffi"] });
    assertEquals(stderr, "");
    assertEquals(code, 0);
    assertEquals(JSON.parse(stdout), {
      before: 7,
      existingView: 8,
      reserve: "works",
      wrap: "UnsupportedPlatformError",
      unwrapped: 0,
    });
  });
});

describe("Deno's prompt", () => {
  const terminal = isDeno && isLinux && !isEmulated && spawnSync("script", ["--version"]).status === 0;

  it("a yes is enough: we are asked for all of FFI, not for a library", { ignore: !terminal }, async () => {
    const output = await answer("y\n");
    assert(/requests ffi access\S*\.|requests .*ffi access/.test(output), output);
    assert(!/ffi access to "/.test(output), output);
    const line = output.split("\n").find((text) => text.startsWith('{"imported"')) as string;
    assertEquals(JSON.parse(line), { imported: true, fixed: "works", attempts: [], heap: "works" });
  });

  /** Runs the report on a terminal of its own, and gives the answer when it is asked for. */
  function answer(text: string): Promise<string> {
    const [executable, args] = commandFor(fileURLToPath(new URL(REPORT, rootUrl)), []);
    const command = [executable, ...args].map((part) => `'${part}'`).join(" ");
    return new Promise((resolve, reject) => {
      const env = { ...process.env, NO_COLOR: "1" };
      const child = spawn("script", ["-qec", command, "/dev/null"], { env, stdio: ["pipe", "pipe", "inherit"] });
      let output = "";
      let answered = false;
      const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
      child.stdout.setEncoding("utf8").on("data", (part: string) => {
        output += part;
        if (answered || !output.includes("[y/n")) return;
        answered = true;
        // Deno throws away what was typed before it asked; give it the time to begin reading.
        setTimeout(() => child.stdin.write(text), 500);
      });
      child.on("error", reject);
      child.on("close", () => {
        clearTimeout(timer);
        resolve(output.replaceAll("\r", ""));
      });
    });
  }
});

describe("Node's permission", { ignore: !isNode }, () => {
  async function nodeReport(...flags: string[]): Promise<Report> {
    const [executable, args] = commandFor(fileURLToPath(new URL(REPORT, rootUrl)));
    return parse(await run(executable, [...flags, ...args]));
  }

  it("--permission without --allow-ffi: the error names the flag", async () => {
    const { fixed, attempts, heap } = await nodeReport("--permission", "--allow-fs-read=*");
    assertEquals(fixed, "works");
    assertEquals(attempts.length, 2);
    const [error] = attempts;
    assert(error !== undefined);
    assertEquals(error.code, "ERR_UNSUPPORTED_PLATFORM");
    assert(error.message.endsWith("run node with --allow-ffi beside --permission"), error.message);
    assert(error.cause.includes("Access to this API has been restricted"), error.cause);
    assert(heap.startsWith("UnsupportedPlatformError: "), heap);
  });

  it("--permission with --allow-ffi works", async () => {
    const { attempts, heap } = await nodeReport("--permission", "--allow-fs-read=*", "--allow-ffi");
    assertEquals([attempts, heap], [[], "works"]);
  });

  it("--no-experimental-ffi: the error says that there is no node:ffi", async () => {
    const { attempts, fixed } = await nodeReport("--no-experimental-ffi");
    assertEquals(fixed, "works");
    const [error] = attempts;
    assert(error !== undefined);
    assertEquals(error.code, "ERR_UNSUPPORTED_PLATFORM");
    assert(error.message.includes("it has no node:ffi. Use Node.js 26 or later"), error.message);
  });
});
