/**
 * Workers for the tests of shared heaps, the same way in Deno, Bun and Node.
 *
 * @module
 */
import type { SharedHeapHandle } from "../../mod.ts";
import { runtimeName } from "../support/runtime.ts";

/** What a worker is asked to do: a function of worker.ts and its arguments. */
export interface Task {
  /** Its name. */
  readonly name: string;
  /** The heap to attach to. */
  readonly handle: SharedHeapHandle;
  /** Numbers that the function understands. */
  readonly options: Readonly<Record<string, number>>;
}

/** What a worker answers. */
export type Answer = { readonly result: Record<string, number> } | { readonly error: string } | {
  readonly started: true;
};

/** The least of what the three kinds of workers have in common. */
interface AnyWorker {
  postMessage(message: unknown): void;
  terminate(): unknown;
}

/** One worker. */
export class TestWorker {
  readonly #worker: AnyWorker;
  #settle: ((answer: Answer) => void) | undefined;
  #started: (() => void) | undefined;

  constructor(make: (receive: (answer: Answer) => void) => AnyWorker) {
    this.#worker = make((answer) => {
      if ("started" in answer) this.#started?.();
      else this.#settle?.(answer);
    });
  }

  /** Starts one. */
  static async start(): Promise<TestWorker> {
    const url = new URL("./worker.ts", import.meta.url);
    if (runtimeName === "node") {
      const { Worker: NodeWorker } = await import("node:worker_threads");
      return new TestWorker((receive) => {
        const worker = new NodeWorker(url);
        worker.on("message", receive);
        worker.on("error", (error: unknown) => receive({ error: `${error}` }));
        return worker;
      });
    }
    return new TestWorker((receive) => {
      const worker = new Worker(url, { type: "module" });
      worker.onmessage = ({ data }) => receive(data as Answer);
      worker.onerror = (event) => {
        event.preventDefault();
        receive({ error: event.message });
      };
      return worker;
    });
  }

  /** Has a function run, and waits for what it returns. */
  run(
    name: string,
    handle: SharedHeapHandle,
    options: Readonly<Record<string, number>>,
  ): Promise<Record<string, number>> {
    return new Promise((resolve, reject) => {
      this.#settle = (answer) => {
        if ("result" in answer) resolve(answer.result);
        else reject(new Error("error" in answer ? `a worker failed: ${answer.error}` : "no answer"));
      };
      this.#worker.postMessage({ name, handle, options } satisfies Task);
    });
  }

  /** Has a function run that never returns; resolves when it has begun. */
  begin(name: string, handle: SharedHeapHandle, options: Readonly<Record<string, number>>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#started = resolve;
      this.#settle = (answer) =>
        reject(new Error("error" in answer ? `a worker failed: ${answer.error}` : "it returned"));
      this.#worker.postMessage({ name, handle, options } satisfies Task);
    });
  }

  /** Ends the worker, whatever it is doing. */
  terminate(): void {
    this.#worker.terminate();
  }
}

/** Runs `use` with so many workers, and ends them. */
export async function withWorkers<T>(count: number, use: (workers: TestWorker[]) => Promise<T>): Promise<T> {
  const workers: TestWorker[] = [];
  try {
    for (let index = 0; index < count; index++) workers.push(await TestWorker.start());
    return await use(workers);
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

/** Waits until `condition` holds, and fails after a minute. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 60_000; !condition();) {
    if (Date.now() > end) throw new Error(`a minute has passed, and not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
