/**
 * A word count by several workers: a queue of jobs, the text and the results all on one shared heap.
 *
 *     deno run --allow-ffi --allow-read examples/workers.ts [MEGABYTES] [WORKERS]
 *     bun examples/workers.ts 300 2
 *     node examples/workers.ts
 *
 * ```text
 *   main      generates the text in blocks of 1 MiB      queue   │ next │ count │ address │ address │ ...
 *   worker    takes the next job, counts its words into a table of its own, frees the block
 *   main      adds the tables up, and compares them with what it has counted alone
 * ```
 *
 * Nothing is copied and nothing is sent but addresses. The default is 200 MB and two workers.
 *
 * @module
 */
import process from "node:process";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { type Address, SharedHeap, type SharedHeapHandle } from "../mod.ts";

/** Bytes of one job. */
const JOB_BYTES = 2 ** 20;

/** Places of a table of counts: a power of two, well above the count of different words. */
const TABLE_PLACES = 2 ** 17;

/** Different words in the text. */
const VOCABULARY = 30_000;

/** What a worker is sent. */
interface Start {
  readonly handle: SharedHeapHandle;
  readonly queue: Address;
}

async function main(megabytes: number, workerCount: number): Promise<void> {
  using heap = SharedHeap.create();
  const jobs = generate(heap, Math.max(1, megabytes));

  const started = performance.now();
  const expected = new Int32Array(TABLE_PLACES * 2);
  for (const job of jobs) countWords(heap.view(job), expected);
  const alone = performance.now() - started;

  const queue = new Queue(heap, heap.allocate(Queue.bytes(jobs.length)));
  queue.fill(jobs);
  const workers = await Promise.all(Array.from({ length: workerCount }, () => startWorker()));
  const begun = performance.now();
  const tables = await Promise.all(workers.map((worker) => worker.run({ handle: heap.handle, queue: queue.address })));
  const together = performance.now() - begun;

  const counted = new Int32Array(TABLE_PLACES * 2);
  for (const table of tables) {
    const { buffer, byteOffset, byteLength } = heap.view(table);
    addTable(new Int32Array(buffer, byteOffset, byteLength / 4), counted);
    heap.free(table);
  }
  heap.free(queue.address);
  const [words, sameWords] = [totalOf(expected), totalOf(counted)];
  const isSame = sameTables(expected, counted);
  console.log(
    `text          ${jobs.length} MiB in ${jobs.length} blocks, ${words.total} words, ${words.different} different`,
  );
  console.log(`alone         ${alone.toFixed(0)} ms`);
  console.log(`${workerCount} workers     ${together.toFixed(0)} ms, ${(alone / together).toFixed(2)} times as fast`);
  console.log(`results       ${isSame ? "identical" : `different: ${sameWords.total} words`}`);
  await Promise.all(workers.map((worker) => worker.ended));
  heap.check();
  console.log(`blocks left   ${heap.stats().liveBlocks}, attachments ${heap.attachments}`);
  if (!isSame) process.exitCode = 1;
}

/** Starts a worker, and waits until it can be sent its jobs. */
async function startWorker(): Promise<{ run(start: Start): Promise<Address>; ended: Promise<unknown> }> {
  const worker = new Worker(new URL(import.meta.url));
  const ended = new Promise((resolve) => worker.once("exit", resolve));
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  await next();
  return {
    ended,
    run(start) {
      const answer = next() as Promise<Address>;
      worker.postMessage(start);
      return answer;
    },
  };
}

function serve(): void {
  parentPort?.once("message", ({ handle, queue: address }: Start) => {
    const heap = SharedHeap.attach(handle);
    const queue = new Queue(heap, address);
    const counts = heap.array(Int32Array, TABLE_PLACES * 2).fill(0);
    const table = heap.addressOf(counts);
    for (let job = queue.take(); job !== 0; job = queue.take()) {
      countWords(heap.view(job), counts);
      // Allocated by the main thread, and freed here.
      heap.free(job);
    }
    heap.detach();
    parentPort?.postMessage(table);
  });
  parentPort?.postMessage("ready");
}

/** A queue of addresses in a block: filled once, then emptied by whoever comes. */
class Queue {
  /** Where the queue is. */
  readonly address: Address;
  readonly #state: Int32Array;
  readonly #jobs: Float64Array;

  /** Over a block of {@link Queue.bytes} bytes. */
  constructor(heap: SharedHeap, address: Address) {
    const { buffer, byteOffset, byteLength } = heap.view(address);
    this.address = address;
    this.#state = new Int32Array(buffer, byteOffset, 2);
    this.#jobs = new Float64Array(buffer, byteOffset + 8, byteLength / 8 - 1);
  }

  /** Bytes of a queue for `count` jobs. */
  static bytes(count: number): number {
    return 8 + count * 8;
  }

  /** Puts all jobs into it, before anybody takes any. */
  fill(jobs: readonly Address[]): void {
    this.#jobs.set(jobs);
    this.#state.set([0, jobs.length]);
  }

  /** The next job, nobody else's; 0 when there is none left. */
  take(): Address {
    const index = Atomics.add(this.#state, 0, 1);
    return index < this.#state[1]! ? this.#jobs[index]! : 0;
  }
}

/** Text of about `megabytes` MB in blocks of the heap, each of whole words, frequent and rare ones as in a language. */
function generate(heap: SharedHeap, megabytes: number): Address[] {
  const words = Array.from({ length: VOCABULARY }, (_, index) => new TextEncoder().encode(`${spell(index)} `));
  const jobs: Address[] = [];
  let random = 1;
  for (let job = 0; job < megabytes; job++) {
    const address = heap.allocate(JOB_BYTES);
    const bytes = heap.view(address);
    let end = 0;
    for (;;) {
      random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
      const share = (random >>> 8) / 2 ** 24;
      const word = words[Math.floor(VOCABULARY * share * share * share)]!;
      if (end + word.length > JOB_BYTES) break;
      for (let i = 0; i < word.length; i++) bytes[end++] = word[i]!;
    }
    bytes.fill(0x20, end);
    jobs.push(address);
  }
  return jobs;
}

/** A word for each number, short for small ones. */
function spell(index: number): string {
  let word = "";
  for (let left = index + 1; left > 0; left = Math.floor(left / 20)) word += "etaoinshrdlcumwfgypb"[left % 20];
  return word;
}

/** Counts the words of some text into a table of hash and count, by open addressing. */
function countWords(text: Uint8Array, table: Int32Array): void {
  let hash = 0;
  for (let i = 0; i < text.length; i++) {
    const byte = text[i]!;
    if (byte !== 0x20) {
      hash = Math.imul(hash ^ byte, 0x0100_0193) + byte;
      continue;
    }
    if (hash !== 0) add(table, hash, 1);
    hash = 0;
  }
  if (hash !== 0) add(table, hash, 1);
}

function add(table: Int32Array, hash: number, count: number): void {
  let place = (hash ^ (hash >>> 15)) & (TABLE_PLACES - 1);
  while (table[place * 2] !== hash && table[place * 2 + 1] !== 0) place = (place + 1) & (TABLE_PLACES - 1);
  table[place * 2] = hash;
  table[place * 2 + 1] = table[place * 2 + 1]! + count;
}

function addTable(from: Int32Array, to: Int32Array): void {
  for (let at = 0; at < from.length; at += 2) if (from[at + 1] !== 0) add(to, from[at]!, from[at + 1]!);
}

function totalOf(table: Int32Array): { total: number; different: number } {
  let total = 0;
  let different = 0;
  for (let at = 1; at < table.length; at += 2) {
    total += table[at]!;
    if (table[at] !== 0) different++;
  }
  return { total, different };
}

/** Whether two tables count the same words as often, in whichever places. */
function sameTables(a: Int32Array, b: Int32Array): boolean {
  const counts = (table: Int32Array): Map<number, number> => {
    const map = new Map<number, number>();
    for (let at = 0; at < table.length; at += 2) if (table[at + 1] !== 0) map.set(table[at]!, table[at + 1]!);
    return map;
  };
  const [first, second] = [counts(a), counts(b)];
  return first.size === second.size && [...first].every(([hash, count]) => second.get(hash) === count);
}

if (isMainThread) await main(Number(process.argv[2] ?? 200), Number(process.argv[3] ?? 2));
else serve();
