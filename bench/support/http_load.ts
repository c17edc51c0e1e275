/**
 * Load on an HTTP server of this machine for a given time: by `wrk` where it is installed, else by `fetch` in this process.
 *
 * Every request posts the same body. `fetch` also compares the responses; `wrk` counts those that are no success.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What load there is. */
export interface LoadOptions {
  /** Where to post to; only 127.0.0.1 is allowed. */
  readonly url: string;
  /** Bytes of every body. */
  readonly bodyBytes: number;
  /** Requests under way at any time. */
  readonly connections: number;
  /** How long. */
  readonly seconds: number;
}

/** What came of it. */
export interface LoadResult {
  readonly requestsPerSecond: number;
  /** Milliseconds that half of the requests took at most. */
  readonly median: number;
  /** Milliseconds that 99 of 100 requests took at most. */
  readonly p99: number;
  /** Requests that failed, or got another response than the reversed body. */
  readonly errors: number;
}

/** Puts load on a server with `fetch`. */
export async function loadByFetch({ url, bodyBytes, connections, seconds }: LoadOptions): Promise<LoadResult> {
  assertLocal(url);
  const body = new Uint8Array(bodyBytes).map((_, i) => i * 7);
  const expected = body.slice().reverse();
  const latencies: number[] = [];
  let errors = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  async function client(): Promise<void> {
    while (performance.now() < end) {
      const sent = performance.now();
      try {
        const response = await fetch(url, { method: "POST", body });
        const received = new Uint8Array(await response.arrayBuffer());
        if (Buffer.compare(received, expected) !== 0) errors++;
      } catch {
        errors++;
      }
      latencies.push(performance.now() - sent);
    }
  }
  await Promise.all(Array.from({ length: connections }, client));
  const took = (performance.now() - start) / 1000;
  latencies.sort((a, b) => a - b);
  const quantile = (share: number): number => latencies[Math.floor((latencies.length - 1) * share)] ?? NaN;
  return { requestsPerSecond: latencies.length / took, median: quantile(0.5), p99: quantile(0.99), errors };
}

/** Puts load on a server with `wrk`, in a process of its own. */
export async function loadByWrk(wrk: string, options: LoadOptions): Promise<LoadResult> {
  const { url, bodyBytes, connections, seconds } = options;
  assertLocal(url);
  const directory = mkdtempSync(join(tmpdir(), "offheap-load-"));
  const script = join(directory, "post.lua");
  writeFileSync(
    script,
    `wrk.method = "POST"\nwrk.body = string.rep("0123456789abcdef", ${Math.ceil(bodyBytes / 16)})\n`,
  );
  try {
    const args = ["-t1", `-c${connections}`, `-d${seconds}s`, "--latency", "-s", script, url];
    return parseWrk(await outputOf(wrk, args));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What the report of `wrk` says. */
export function parseWrk(report: string): LoadResult {
  const find = (pattern: RegExp): string => {
    const found = pattern.exec(report)?.[1];
    if (found === undefined) throw new Error(`Cannot read the report of wrk: ${pattern} is not in it\n${report}`);
    return found;
  };
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(report) ?? [];
  const refused = /Non-2xx or 3xx responses: (\d+)/.exec(report)?.[1] ?? "0";
  return {
    requestsPerSecond: Number(find(/Requests\/sec:\s+([\d.]+)/)),
    median: milliseconds(find(/50%\s+([\d.]+\w+)/)),
    p99: milliseconds(find(/99%\s+([\d.]+\w+)/)),
    errors: sockets.slice(1).reduce((sum, count) => sum + Number(count), Number(refused)),
  };
}

function milliseconds(text: string): number {
  const factors: { readonly [unit: string]: number } = { us: 1e-3, ms: 1, s: 1000, m: 60_000 };
  const [, number, unit] = /^([\d.]+)(\w+)$/.exec(text) ?? [];
  const factor = factors[unit ?? ""];
  if (factor === undefined) throw new Error(`Cannot read ${text} as a time`);
  return Number(number) * factor;
}

function assertLocal(url: string): void {
  if (new URL(url).hostname === "127.0.0.1") return;
  throw new Error(`Cannot put load on ${url}: only on this machine, 127.0.0.1`);
}

function outputOf(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => output += text);
    child.on("error", reject);
    child.on("close", (code) => code === 0 ? resolve(output) : reject(new Error(`${command} ended with ${code}`)));
  });
}
