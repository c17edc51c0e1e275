/**
 * An HTTP server that keeps the bodies of requests and responses in native buffers and uses those again.
 *
 *     deno run --allow-ffi --allow-net examples/server.ts [--port 8000] [--plain] [--limit BYTES]
 *     bun examples/server.ts
 *
 *     curl --data-binary hello http://127.0.0.1:8000/reverse     # olleh
 *     curl http://127.0.0.1:8000/stats
 *
 * `POST /reverse` collects the body in one buffer, writes its bytes in reverse order to a second one and responds with that:
 * a stand-in for any service that needs a whole upload in one piece and makes another of it. `--plain` makes a `Uint8Array`
 * for each instead; `bench/server.ts` compares the two.
 *
 * Three things to know when native memory meets a server:
 * - A buffer belongs to one request until the `finally` of its handler, whatever happens: an upload that breaks off, a body
 *   that is too long, an error.
 * - `new Response(bytes)` copies them, in both runtimes, so that the buffer is free when the handler returns. A stream of
 *   views would still be read then.
 * - Never give a view of a heap to who may transfer its ArrayBuffer (a BYOB reader, `postMessage` with a transfer list):
 *   that takes the whole region with it.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { type BodyMemory, BodyPool, PlainBodies } from "./support/body_pool.ts";

/** The most bytes of a body, unless `--limit` says otherwise. */
const BODY_LIMIT = 8 * 2 ** 20;

/** What a body that does not say how long it is starts with. */
const FIRST_BYTES = 16_384;

/** How long a shutdown waits for the requests that are under way. */
const GRACE_MS = 2000;

/** Responds to one request; every buffer that it takes is given back when the promise is settled. */
async function respond(request: Request, bodies: BodyMemory, limit: number): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (request.method === "POST" && pathname === "/reverse") return await reverse(request, bodies, limit);
  if (pathname === "/stats") {
    const { inUse, heldBytes } = bodies;
    return Response.json({ pid: process.pid, inUse, heldBytes, rssBytes: process.memoryUsage.rss() });
  }
  return new Response("There is POST /reverse and GET /stats\n", { status: 404 });
}

async function reverse(request: Request, bodies: BodyMemory, limit: number): Promise<Response> {
  const declared = Number(request.headers.get("content-length") ?? FIRST_BYTES);
  if (declared > limit) return tooLong(limit);
  let input = bodies.take(declared);
  let output: Uint8Array | undefined;
  try {
    let length = 0;
    for await (const chunk of request.body ?? []) {
      const needed = length + chunk.byteLength;
      if (needed > limit) return tooLong(limit);
      if (needed > input.byteLength) input = replace(bodies, input, length, Math.max(needed, length * 2));
      input.set(chunk, length);
      length = needed;
    }
    output = bodies.take(length);
    const result = output.subarray(0, length);
    result.set(input.subarray(0, length));
    result.reverse();
    return new Response(result as Uint8Array<ArrayBuffer>);
  } finally {
    bodies.release(input);
    if (output !== undefined) bodies.release(output);
  }
}

/** A larger buffer with the first `length` bytes of `buffer`, which is given back. */
function replace(bodies: BodyMemory, buffer: Uint8Array, length: number, byteLength: number): Uint8Array {
  const larger = bodies.take(byteLength);
  larger.set(buffer.subarray(0, length));
  bodies.release(buffer);
  return larger;
}

function tooLong(limit: number): Response {
  return new Response(`The body is longer than ${limit} bytes\n`, { status: 413 });
}

/** A running server. */
interface Server {
  /** Where it listens. */
  readonly port: number;
  /** Takes no more requests, and resolves when those under way have ended. */
  stop(): Promise<void>;
}

type Handler = (request: Request) => Promise<Response>;

/** The little of each runtime that a server takes; typed here because neither knows the other's. */
interface Runtimes {
  readonly Deno?: {
    serve(
      options: { port: number; hostname: string; onListen(): void; onError(error: unknown): Response },
      handler: Handler,
    ): { readonly addr: { readonly port: number }; shutdown(): Promise<void> };
  };
  readonly Bun?: {
    serve(options: { port: number; hostname: string; fetch: Handler; error(error: unknown): Response }): {
      readonly port: number;
      stop(closeConnections?: boolean): Promise<void>;
    };
  };
}

function serve(port: number, handler: Handler): Server {
  const { Deno, Bun } = globalThis as unknown as Runtimes;
  const hostname = "127.0.0.1";
  const failed = () => new Response("The request has failed\n", { status: 500 });
  if (Deno !== undefined) {
    const server = Deno.serve({ port, hostname, onListen() {}, onError: failed }, handler);
    return { port: server.addr.port, stop: () => server.shutdown() };
  }
  if (Bun !== undefined) {
    const server = Bun.serve({ port, hostname, fetch: handler, error: failed });
    return { port: server.port, stop: () => server.stop(false) };
  }
  throw new Error("This example runs on Deno and Bun: other runtimes have no server of Request and Response");
}

/** Resolves when somebody wants the server to end: a signal, or the end of standard input where that is asked for. */
function untilTold(untilInputEnds: boolean): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
    if (untilInputEnds) process.stdin.on("end", () => resolve()).resume();
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8000" },
      limit: { type: "string", default: `${BODY_LIMIT}` },
      plain: { type: "boolean", default: false },
      "until-input-ends": { type: "boolean", default: false },
    },
  });
  const limit = Number(values.limit);
  using bodies = values.plain ? new PlainBodies() : new BodyPool();
  const server = serve(Number(values.port), (request) => respond(request, bodies, limit));
  console.log(`listening on http://127.0.0.1:${server.port}`);
  await untilTold(values["until-input-ends"]);
  // Connections that nobody closes must not keep the memory for ever.
  await Promise.race([server.stop(), new Promise((resolve) => setTimeout(resolve, GRACE_MS))]);
  console.log(`stopped with ${bodies.inUse} buffers in use`);
}

await main();
// Bun would wait for connections that are kept alive.
process.exit(0);
