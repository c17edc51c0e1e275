/**
 * Calling something when the program ends: the one thing of this package that listens to the runtime, and only when it
 * is asked to.
 *
 * ```text
 *              the program ends by itself    exit(code)    an error that nobody caught
 *   Deno       called                        called        not called
 *   Bun, Node  called                        called        called
 * ```
 *
 * A signal ends the program without a call, everywhere.
 *
 * @module
 */

/** The part of the runtimes that is used here. */
interface Runtime {
  readonly Deno?: unknown;
  readonly process?: { on(event: "exit", listener: () => void): unknown };
  addEventListener?(event: "unload", listener: () => void): void;
}

const callbacks = new Set<() => void>();
let listening = false;

/** Has `callback` called when the program ends. Returns what takes that back. Callbacks are kept alive until then. */
export function atExit(callback: () => void): () => void {
  if (!listening) listen();
  callbacks.add(callback);
  return () => void callbacks.delete(callback);
}

function listen(): void {
  const runtime = globalThis as unknown as Runtime;
  if (runtime.Deno !== undefined && runtime.addEventListener !== undefined) {
    runtime.addEventListener("unload", callAll);
  } else {
    runtime.process?.on("exit", callAll);
  }
  listening = true;
}

/** Calls each once; what one of them throws does not keep the others from being called. */
function callAll(): void {
  const errors: unknown[] = [];
  for (const callback of callbacks) {
    callbacks.delete(callback);
    try {
      callback();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
