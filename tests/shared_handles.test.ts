/**
 * Handles of a `SharedHeap`: which ones `SharedHeap.attach()` takes, and what it says of others.
 *
 * @module
 */
import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { DisposedError, InvalidHandleError, SharedHeap, type SharedHeapHandle, systemPageSource } from "../mod.ts";
import * as pageTable from "../src/page_table.ts";
import * as sharedLayout from "../src/shared_layout.ts";
import { CLASS_GRANULES } from "../src/size_class.ts";

const RESERVE = 2 ** 30;

/** The constants of a module, one after the other. */
function constantsOf(module: { readonly [name: string]: unknown }): string {
  const names = Object.keys(module).filter((name) => typeof module[name] === "number").toSorted();
  return names.map((name) => `${name} ${module[name]}`).join("\n");
}

/** 32 bits of a text, by FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
  return hash >>> 0;
}

describe("SharedHeap.attach()", () => {
  it("knows the layout by a version that is new with each layout: two of this package in one process do not mix", () => {
    const layout = [constantsOf(pageTable), constantsOf(sharedLayout), `${CLASS_GRANULES}`].join("\n");
    // Of another sum LAYOUT_VERSION must be another too.
    assertEquals([sharedLayout.LAYOUT_VERSION, hashOf(layout)], [6, 3_904_286_014]);
  });

  it("refuses what is no handle", () => {
    for (const value of [undefined, null, 1, "x", {}, [], { type: "offheap.SharedHeap" }]) {
      assertThrows(() => SharedHeap.attach(value as unknown as SharedHeapHandle), TypeError, "handle");
    }
  });

  it("refuses handles that are damaged, of another process or version", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    const { handle } = heap;
    const changed: Partial<SharedHeapHandle>[] = [
      { address: handle.address + 65_536 },
      { address: 65_536 },
      { address: -65_536 },
      { address: 2 ** 52 },
      { nonce: [handle.nonce[0] ^ 1, handle.nonce[1]] },
      { check: handle.check ^ 1 },
      { processId: handle.processId + 1 },
      { version: 99 },
    ];
    for (const change of changed) {
      assertThrows(() => SharedHeap.attach({ ...handle, ...change }), InvalidHandleError);
    }
  });

  it("keeps to the handle as it was when it was given", () => {
    const first = SharedHeap.create({ reserve: 2 ** 24 });
    const { handle } = first;
    const second = SharedHeap.attach(handle);
    const nonce = handle.nonce as [number, number];
    nonce[0] ^= 1;
    Object.assign(handle, { address: 65_536, processId: 1 });
    for (const heap of [first, second]) {
      heap.free(heap.allocate(100_000));
      assertEquals(heap.handle, first.handle);
      assertNotEquals(heap.handle, handle);
    }
    first[Symbol.dispose]();
    const { address } = second.handle;
    let reads = 0;
    const changing = {
      ...second.handle,
      get address() {
        return reads++ === 0 ? address : 65_536;
      },
    };
    const third = SharedHeap.attach(changing);
    assertEquals(reads, 1);
    second[Symbol.dispose]();
    third.free(third.allocate(100_000));
    third[Symbol.dispose]();
  });

  it("refuses handles that were forged with a right sum, without touching what they point at", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    const { handle } = heap;
    const unmapped = systemPageSource().reserve(65_536, 65_536);
    const places = [65_536, unmapped, 2 ** 46, handle.address, Math.floor(heap.allocate(100_000) / 65_536) * 65_536];
    for (const address of places) {
      const forged = { ...handle, address, nonce: [5, 6] as const };
      // The sum is public; whoever wants to can work it out. Here the right one is found by the message.
      const check = sumOf(forged);
      assertThrows(() => SharedHeap.attach({ ...forged, check }), InvalidHandleError);
    }
    systemPageSource().unmap(unmapped, 65_536);
  });

  it("refuses handles of heaps that have ended, also when another has taken the place", () => {
    const old = SharedHeap.create({ reserve: RESERVE });
    const { handle } = old;
    old.detach();
    assertThrows(() => SharedHeap.attach(handle), DisposedError, "Cannot attach: the shared heap is disposed");
    using next = SharedHeap.create({ reserve: RESERVE });
    assertEquals(next.handle.address, handle.address);
    assertThrows(() => SharedHeap.attach(handle), InvalidHandleError);
    using again = SharedHeap.attach(next.handle);
    assertEquals(again.attachments, 2);
  });
});

/** The sum of shared_handle.ts, as anybody could write it. */
function sumOf({ version, processId, address, nonce }: Omit<SharedHeapHandle, "check">): number {
  let sum = 0x811c9dc5;
  for (const char of `${version} ${processId} ${address} ${nonce[0]} ${nonce[1]}`) {
    sum = Math.imul(sum ^ char.charCodeAt(0), 0x01000193);
  }
  return sum >>> 0;
}
