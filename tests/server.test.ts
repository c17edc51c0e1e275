/**
 * `examples/server.ts` as a process of its own: what it answers, what becomes of its buffers, and how it ends. And the pieces
 * that it and `bench/server.ts` are made of.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type ChildProcess, spawn } from "node:child_process";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { loadByFetch, parseWrk } from "../bench/support/http_load.ts";
import { BodyPool, PlainBodies } from "../examples/support/body_pool.ts";
import { commandFor, isEmulated, isLinux, rootUrl, runFile, runtimeName } from "./support/runtime.ts";

const LIMIT = 300_000;
/** The longest that the server may take for what is a matter of milliseconds. */
const PATIENCE_MS = 20_000;

interface Running {
  readonly child: ChildProcess;
  readonly url: string;
  /** Everything it has written so far. */
  readonly lines: string[];
}

async function start(...args: string[]): Promise<Running> {
  const file = fileURLToPath(new URL("examples/server.ts", rootUrl));
  const [command, head] = commandFor(file, ["--allow-ffi", "--allow-net", "--allow-sys"]);
  const all = [...head, "--port", "0", "--until-input-ends", "--limit", `${LIMIT}`, ...args];
  const child = spawn(command, all, { stdio: ["pipe", "pipe", "inherit"] });
  const lines: string[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    const late = setTimeout(() => (child.kill(), reject(new Error("The server did not start"))), PATIENCE_MS * 3);
    child.once("error", reject);
    createInterface({ input: child.stdout! }).on("line", (line: string) => {
      lines.push(line.trim());
      const found = /^listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(line.trim())?.[1];
      if (found === undefined) return;
      clearTimeout(late);
      resolve(found);
    });
  });
  return { child, url, lines };
}

/** Ends the server; its exit code. */
function stop({ child }: Running): Promise<number | null> {
  return new Promise((resolve) => {
    const late = setTimeout(() => child.kill(), PATIENCE_MS);
    child.once("close", (code) => {
      clearTimeout(late);
      resolve(code);
    });
    child.stdin!.end();
  });
}

function bytesOf(length: number, seed: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).map((_, i) => i * 31 + seed);
}

async function reversed({ url }: Running, body: Uint8Array<ArrayBuffer>): Promise<void> {
  const response = await fetch(`${url}/reverse`, { method: "POST", body });
  const got = new Uint8Array(await response.arrayBuffer());
  assertEquals([response.status, got.length], [200, body.length]);
  const wrong = got.findIndex((byte, i) => byte !== body[body.length - 1 - i]);
  assertEquals(wrong, -1, `byte ${wrong} of ${body.length} is not the one reversed`);
}

async function buffersInUse({ url }: Running): Promise<number> {
  const response = await fetch(`${url}/stats`);
  return ((await response.json()) as { inUse: number }).inUse;
}

/** Begins an upload and breaks the connection off in the middle. */
function breakOff({ url }: Running): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1", () => {
      socket.write(`POST /reverse HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n${"x".repeat(30_000)}`);
      setTimeout(() => socket.destroy(), 50);
    });
    socket.on("close", () => resolve());
    socket.on("error", reject);
  });
}

// Node has no server of Request and Response.
describe(
  "examples/server.ts",
  { ignore: runtimeName === "node" },
  () => {
    for (const mode of ["native", "plain"]) {
      it(`${mode}: answers many at once, each with its own bytes, and gives every buffer back`, async () => {
        const server = await start(...(mode === "plain" ? ["--plain"] : []));
        let code: number | null = null;
        try {
          for (const length of [0, 1, 4095, 4096, 4097, 65_536, LIMIT]) await reversed(server, bytesOf(length, length));
          await Promise.all(Array.from({ length: 60 }, (_, i) => reversed(server, bytesOf(1000 + i * 997, i))));

          const pieces = new ReadableStream<Uint8Array>({
            start(controller) {
              for (let i = 0; i < 10; i++) controller.enqueue(bytesOf(9000, 0));
              controller.close();
            },
          });
          const streamed = { method: "POST", body: pieces, duplex: "half" } as RequestInit;
          const long = await fetch(`${server.url}/reverse`, streamed);
          assertEquals((await long.arrayBuffer()).byteLength, 90_000);

          const refused = await fetch(`${server.url}/reverse`, { method: "POST", body: bytesOf(LIMIT + 1, 0) });
          assertEquals([refused.status, await refused.text()], [413, `The body is longer than ${LIMIT} bytes\n`]);
          const unknown = await fetch(`${server.url}/`);
          assertEquals([unknown.status, (await unknown.text()).length > 0], [404, true]);

          await Promise.all(Array.from({ length: 8 }, () => breakOff(server)));
          const end = Date.now() + PATIENCE_MS;
          while (await buffersInUse(server) > 0 && Date.now() < end) await new Promise((go) => setTimeout(go, 20));
          assertEquals(await buffersInUse(server), 0);
          await reversed(server, bytesOf(50_000, 1));
        } finally {
          code = await stop(server);
        }
        assertEquals([code, server.lines.slice(1)], [0, ["stopped with 0 buffers in use"]]);
      });
    }

    it("takes the load of the generator", async () => {
      const server = await start();
      try {
        const load = { bodyBytes: 10_000, connections: 4, seconds: 0.5 };
        const { requestsPerSecond, median, p99, errors } = await loadByFetch({ ...load, url: `${server.url}/reverse` });
        assertEquals(errors, 0);
        assert(requestsPerSecond > 0 && median > 0 && p99 >= median);
        const missing = await loadByFetch({ ...load, seconds: 0.1, url: `${server.url}/nothing` });
        assert(missing.errors > 0);
      } finally {
        await stop(server);
      }
    });
  },
);

describe("what the example relies on", () => {
  it("new Response(bytes) copies them", async () => {
    for (const length of [10, 100_000]) {
      const bytes = new Uint8Array(length).fill(1);
      const response = new Response(bytes);
      bytes.fill(2);
      const got = new Uint8Array(await response.arrayBuffer());
      assertEquals([got.length, got.every((byte) => byte === 1), bytes.length], [length, true, length]);
    }
  });
});

describe("BodyPool", () => {
  it("gives a released buffer out again, and only as large a one as needed", () => {
    using pool = new BodyPool();
    const first = pool.take(5000);
    assertEquals([first.byteLength, pool.inUse, pool.heldBytes], [8192, 1, 8192]);
    pool.release(first);
    assert(pool.take(4096) !== first);
    assert(pool.take(8000) === first);
    assertEquals([pool.take(0).byteLength, pool.take(4097).byteLength, pool.inUse], [4096, 8192, 4]);
  });

  it("refuses a buffer that it did not give out, or has back already", () => {
    using pool = new BodyPool();
    const buffer = pool.take(1);
    pool.release(buffer);
    assertThrows(() => pool.release(buffer), Error, "was not taken");
    assertThrows(() => pool.release(new Uint8Array(4096)), Error, "was not taken");
  });

  it("keeps no more than it was told to, and nothing after its end", () => {
    const pool = new BodyPool(3 * 4096);
    const buffers = Array.from({ length: 5 }, () => pool.take(4096));
    for (const buffer of buffers) pool.release(buffer);
    assertEquals([pool.inUse, pool.heldBytes], [0, 3 * 4096]);
    pool[Symbol.dispose]();
    assertEquals(buffers[0]!.byteLength, 0);
    const plain = new PlainBodies();
    plain.release(plain.take(10));
    assertEquals([plain.inUse, plain.heldBytes], [0, 0]);
  });
});

describe("bench/server.ts", {
  ignore: !isLinux || runtimeName === "node" || isEmulated,
}, () => {
  it("compares both modes on a runtime", async () => {
    const args = [
      "--rounds",
      "1",
      "--seconds",
      "0.3",
      "--connections",
      "2",
      "--bytes",
      "5000",
      "--wrk",
      "no-such-program",
    ];
    const { code, stdout } = await runFile("bench/server.ts", { args: [...args, "--runtimes", runtimeName] });
    const rows = stdout.split("\n").filter((line) => line.startsWith(`| ${runtimeName}, `)).map((line) =>
      line.split("|")
    );
    assertEquals([code, rows.map((row) => row[1]!.trim().split(", ")[1])], [0, ["native", "plain"]]);
    for (const row of rows) {
      const figures = row.slice(2, -1).map(Number);
      assert(figures.slice(0, -1).every((figure) => figure > 0), row.join("|"));
      assertEquals(figures.at(-1), 0, "errors");
    }
  });
});

describe("http_load", () => {
  it("reads the report of wrk", () => {
    const report = `Running 4s test @ http://127.0.0.1:1/reverse
  1 threads and 32 connections
  Latency Distribution
     50%  850.00us
     75%   11.11ms
     99%    1.50s
  5000 requests in 4.00s, 312.50MB read
  Socket errors: connect 0, read 3, write 1, timeout 0
  Non-2xx or 3xx responses: 5
Requests/sec:   1250.50
`;
    assertEquals(parseWrk(report), { requestsPerSecond: 1250.5, median: 0.85, p99: 1500, errors: 9 });
    assertThrows(() => parseWrk("nothing"), Error, "Cannot read the report of wrk");
  });

  it("puts load on this machine only", async () => {
    const load = { url: "http://192.0.2.1/", bodyBytes: 1, connections: 1, seconds: 1 };
    const error = await loadByFetch(load).then(() => undefined, (error: Error) => error);
    assertEquals(error?.message, "Cannot put load on http://192.0.2.1/: only on this machine, 127.0.0.1");
  });
});
