/**
 * A Float64Array that goes from worker to worker without being copied.
 *
 *     deno run --allow-ffi --allow-read examples/share_array.ts
 *     bun examples/share_array.ts
 *     node examples/share_array.ts
 *
 * What is sent is the heap's handle and an address: two small objects, however long the array is. The worker writes into the
 * array it was given, and sends one of its own back; each frees what the other allocated.
 *
 * @module
 */
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { SharedHeap, type SharedHeapHandle } from "../mod.ts";

/** What goes over: where the numbers are. */
interface Numbers {
  readonly handle: SharedHeapHandle;
  readonly address: number;
}

/** A view of all the numbers at `address`, in whichever worker. */
function numbersAt(heap: SharedHeap, address: number): Float64Array {
  const { buffer, byteOffset, byteLength } = heap.view(address);
  return new Float64Array(buffer, byteOffset, byteLength / 8);
}

async function main(): Promise<void> {
  using heap = SharedHeap.create();
  const samples = heap.array(Float64Array, 1_000_000);
  for (let i = 0; i < samples.length; i++) samples[i] = i;
  const address = heap.addressOf(samples);

  const worker = new Worker(new URL(import.meta.url));
  const answer = new Promise<Numbers>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  worker.postMessage({ handle: heap.handle, address } satisfies Numbers);
  const { address: sums } = await answer;

  console.log(`sent             ${samples.length} numbers, 0 bytes copied`);
  console.log(`doubled by it    samples[999999] = ${samples[999_999]}`);
  const received = numbersAt(heap, sums);
  console.log(`received         ${received.length} sums, the last ${received[received.length - 1]}`);
  heap.free(sums);
  heap.free(address);
  await new Promise((resolve) => worker.once("exit", resolve));
  heap.check();
  console.log(`blocks left      ${heap.stats().liveBlocks}`);
}

function serve({ handle, address }: Numbers): void {
  const heap = SharedHeap.attach(handle);
  const samples = numbersAt(heap, address);
  const sums = heap.array(Float64Array, 1000);
  sums.fill(0);
  for (let i = 0; i < samples.length; i++) {
    samples[i] = samples[i]! * 2;
    const group = Math.floor(i / 1000);
    sums[group] = sums[group]! + samples[i]!;
  }
  const sent = { handle, address: heap.addressOf(sums) };
  // The blocks live on; only this worker's views end.
  heap.detach();
  parentPort?.postMessage(sent satisfies Numbers);
}

if (isMainThread) await main();
else parentPort?.once("message", serve);
