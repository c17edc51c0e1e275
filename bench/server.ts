/**
 * `examples/server.ts` under load, with native buffers that are used again and with a `Uint8Array` for each body.
 *
 *     deno run -A bench/server.ts [--rounds 5] [--seconds 4] [--bytes 65536] [--connections 32] [--runtimes deno,bun] [--wrk PATH]
 *
 * A round starts a server in each mode on each runtime, in turn, puts load on it for some seconds after one of warming up,
 * and looks at its memory from outside (`/proc`). The load comes from `wrk` (Debian's package) where there is one, else from
 * `fetch` in this process, which then is what is measured more than anything else. Medians over the rounds; all of it runs on
 * the same processors, so only the ratios between modes mean something.
 *
 * @module
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadByFetch, loadByWrk, type LoadOptions, type LoadResult } from "./support/http_load.ts";
import type { Runtime } from "./support/libc.ts";
import { describeMachine, findRuntime, runtimeVersion } from "./support/machine.ts";
import { median } from "./support/statistics.ts";
import { formatTable } from "./support/text.ts";

const MODES = ["native", "plain"] as const;
type Mode = typeof MODES[number];

/** What one server did in one round. */
interface Round extends LoadResult {
  /** Resident memory at the end of the load, MiB. */
  readonly rss: number;
  /** The most that was resident, MiB. */
  readonly peak: number;
  /** CPU time of the server per request, microseconds. */
  readonly cpu: number;
}

/** Starts the example, and resolves with where it listens. */
async function startServer(runtime: Runtime, path: string, mode: Mode): Promise<{ child: ChildProcess; url: string }> {
  const file = fileURLToPath(new URL("../examples/server.ts", import.meta.url));
  const head = runtime === "deno"
    ? ["run", "--quiet", "--no-config", "--allow-ffi", "--allow-net", "--allow-sys"]
    : ["run"];
  const args = [...head, file, "--port", "0", "--until-input-ends", ...(mode === "plain" ? ["--plain"] : [])];
  const child = spawn(path, args, { stdio: ["pipe", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout! })) {
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
    if (url !== undefined) return { child, url };
  }
  throw new Error(`The server of ${runtime} did not start`);
}

/** Ends a server by closing its standard input. */
function stopServer(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("close", (code) => code === 0 ? resolve() : reject(new Error(`The server ended with ${code}`)));
    child.stdin!.end();
  });
}

function statusOf(pid: number, field: string): number {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(found) / 1024;
}

/** CPU time that a process has used, microseconds: in ticks of 10 ms. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

async function measure(
  runtime: Runtime,
  path: string,
  mode: Mode,
  load: (options: LoadOptions) => Promise<LoadResult>,
  options: Omit<LoadOptions, "url">,
): Promise<Round> {
  const { child, url } = await startServer(runtime, path, mode);
  try {
    const target = { ...options, url: `${url}/reverse` };
    await load({ ...target, seconds: Math.min(1, options.seconds) });
    const before = cpuOf(child.pid!);
    const result = await load(target);
    const requests = result.requestsPerSecond * options.seconds;
    const cpu = (cpuOf(child.pid!) - before) / requests;
    return { ...result, cpu, rss: statusOf(child.pid!, "VmRSS"), peak: statusOf(child.pid!, "VmHWM") };
  } finally {
    await stopServer(child);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "4" },
      bytes: { type: "string", default: "65536" },
      connections: { type: "string", default: "32" },
      runtimes: { type: "string", default: "deno,bun" },
      wrk: { type: "string", default: "wrk" },
    },
  });
  const runtimes = values.runtimes.split(",") as Runtime[];
  const paths = new Map(runtimes.map((runtime) => [runtime, findRuntime(runtime, undefined)]));
  const hasWrk = spawnSync(values.wrk, ["-v"]).error === undefined;
  const load = hasWrk ? (options: LoadOptions) => loadByWrk(values.wrk, options) : loadByFetch;
  const options = {
    bodyBytes: Number(values.bytes),
    connections: Number(values.connections),
    seconds: Number(values.seconds),
  };
  const rounds = new Map<string, Round[]>();
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [runtime, path] of paths) {
      for (const mode of MODES) {
        const name = `${runtime}, ${mode}`;
        const done = rounds.get(name) ?? [];
        done.push(await measure(runtime, path, mode, load, options));
        rounds.set(name, done);
        console.error(`round ${round + 1}: ${name}: ${done.at(-1)!.requestsPerSecond.toFixed(0)} requests/s`);
      }
    }
  }
  const of = (name: string, field: keyof Round): number => median(rounds.get(name)!.map((one) => one[field]));
  const rows = [...rounds.keys()].map((name) => [
    name,
    of(name, "requestsPerSecond").toFixed(0),
    of(name, "median").toFixed(2),
    of(name, "p99").toFixed(2),
    of(name, "cpu").toFixed(0),
    of(name, "rss").toFixed(0),
    of(name, "peak").toFixed(0),
    `${rounds.get(name)!.reduce((sum, { errors }) => sum + errors, 0)}`,
  ]);
  console.log(
    formatTable([
      "server",
      "requests/s",
      "median, ms",
      "99 %, ms",
      "CPU, us/request",
      "RSS, MiB",
      "peak, MiB",
      "errors",
    ], rows),
  );
  const versions = Object.fromEntries([...paths].map(([runtime, path]) => [runtime, runtimeVersion(path)]));
  const { cpu, cores } = describeMachine(versions);
  console.log(
    `\n${cpu}, ${cores} cores; ${Object.entries(versions).flat().join(" ")}; load by ${hasWrk ? "wrk" : "fetch"}`,
  );
}

if (import.meta.main) await main();
