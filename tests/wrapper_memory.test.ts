/**
 * The view half of wrappers, on the least wrapper there is: 48 bytes of its own before each block of a heap.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import { DisposedError, fixedPageSource, Heap, InvalidFreeError, setViolationHook, UseAfterFreeError } from "../mod.ts";
import type { OwningAllocator } from "../src/owned_blocks.ts";
import { type WrappedBlock, WrapperMemory } from "../src/wrapper_memory.ts";
import { collectViolations } from "./support/violations.ts";

const FRONT = 48;

/** As much of a wrapper as {@link WrapperMemory} asks of one. */
class Shifted {
  readonly inner: OwningAllocator;
  readonly memory: WrapperMemory;
  readonly blocks = new Map<number, WrappedBlock>();
  disposed = false;

  constructor(inner: OwningAllocator = new Heap()) {
    this.inner = inner;
    this.memory = new WrapperMemory(this as unknown as OwningAllocator, inner, {
      name: "shifted allocator",
      isDisposed: () => this.disposed,
      find: (address) => this.blocks.get(address),
      invalid: (address, action) => new InvalidFreeError(action, address, "foreign", "no block begins there"),
    });
  }

  get source(): OwningAllocator["source"] {
    return this.inner.source;
  }

  allocate(size: number, alignment = 16): number {
    const inner = this.inner.allocate(FRONT + size, alignment);
    const address = inner + FRONT;
    this.blocks.set(address, { address, inner, requestedSize: size, usableSize: size, alignment });
    return address;
  }

  allocateZeroed(size: number, alignment = 16): number {
    const address = this.allocate(size, alignment);
    this.memory.clear(this.memory.live(address, "clear"), size);
    return address;
  }

  view(address: number, byteLength?: number): Uint8Array {
    return this.memory.view(address, byteLength);
  }

  free(address: number): void {
    const block = this.memory.liveToFree(address);
    if (block === undefined) return;
    this.memory.revoke(address);
    this.blocks.delete(address);
    this.inner.free(block.inner);
  }

  [Symbol.dispose](): void {
    this.memory.dispose();
    this.disposed = true;
    this.inner[Symbol.dispose]();
  }
}

afterEach(() => void setViolationHook());

describe("WrapperMemory", () => {
  for (
    const [name, make] of [
      ["the system", () => new Shifted()],
      ["a fixed buffer", () => new Shifted(new Heap({ source: fixedPageSource(new ArrayBuffer(2 ** 22)) }))],
    ] as const
  ) {
    it(`views, arrays and addresses are those of the caller's block, over ${name}`, () => {
      using wrapper = make();
      for (const size of [1, 100, 5000, 200_000]) {
        const address = wrapper.allocate(size);
        const view = wrapper.memory.view(address);
        view.fill(7);
        assertEquals([view.length, wrapper.memory.addressOf(view)], [size, address]);
        const around = wrapper.inner.view(address - FRONT, FRONT + size);
        assertEquals([around[FRONT], around[FRONT + size - 1]], [7, 7]);
        assertEquals(wrapper.memory.view(address, 1).length, 1);
        assertThrows(() => wrapper.memory.view(address, size + 1), RangeError, `the block has ${size}`);
        wrapper.memory.freeArray(view);
        assertEquals(wrapper.memory.owns(address), false);
      }
      const array = wrapper.memory.array(Float64Array, 9);
      assertEquals([array.length, wrapper.memory.addressOf(array.subarray(2))], [
        9,
        wrapper.memory.addressOf(array) + 16,
      ]);
      const buffer = wrapper.memory.buffer(1000);
      buffer.bytes[999] = 5;
      assertEquals(wrapper.memory.view(buffer.address)[999], 5);
      assertEquals(wrapper.memory.addressOf(buffer.bytes.subarray(1)), buffer.address + 1);
      assertThrows(() => wrapper.memory.refuseOwned(buffer.address, "resize"), InvalidFreeError, "NativeBuffer owns");
      buffer.resize(3000);
      assertEquals([buffer.bytes[999], buffer.bytes[1000], wrapper.memory.ownedBlocks], [5, 0, 1]);
      buffer.free();
      assertEquals([wrapper.memory.ownedBlocks, wrapper.blocks.size], [0, 1]);
    });
  }

  it("copies between blocks to the byte", () => {
    using wrapper = new Shifted();
    const [from, to] = [wrapper.allocate(10), wrapper.allocate(10)];
    wrapper.view(from).fill(1);
    wrapper.view(to).fill(2);
    wrapper.memory.copy(wrapper.memory.live(from, "read"), wrapper.memory.live(to, "write"), 3);
    assertEquals([...wrapper.view(to)], [1, 1, 1, 2, 2, 2, 2, 2, 2, 2]);
  });

  it("reports violations to the hook: free goes on when it returns, the others throw", () => {
    using wrapper = new Shifted();
    const seen = collectViolations();
    const stranger = new Uint8Array(8);
    wrapper.free(4096);
    wrapper.memory.freeArray(stranger);
    assertEquals(seen.map((error) => error.message), [
      "Cannot free 0x1000: no block begins there",
      "Cannot free the view: it is not of this shifted allocator's memory",
    ]);
    assertThrows(() => wrapper.memory.view(4096), InvalidFreeError, "Cannot view 0x1000");
    assertThrows(() => wrapper.memory.addressOf(stranger), InvalidFreeError, "Cannot take the address of the view");
    assertEquals(seen.length, 4);
    wrapper.free(0);
    assertEquals(seen.length, 4);
  });

  it("detaches owned buffers on dispose, and refuses everything after it", () => {
    const wrapper = new Shifted();
    const { bytes } = wrapper.memory.buffer(10);
    const view = wrapper.view(wrapper.allocate(10));
    wrapper[Symbol.dispose]();
    assertEquals([bytes.length, view.length], [0, 0]);
    assertThrows(() => wrapper.view(1), DisposedError, "the shifted allocator is disposed");
    assertThrows(() => wrapper.free(1), DisposedError);
    assertThrows(() => wrapper.memory.owns(1), DisposedError);
    assertThrows(() => wrapper.memory.buffer(1), DisposedError);
    assertThrows(() => wrapper.memory.addressOf(view), DisposedError);
  });

  it("says that a detached view is one of freed memory", () => {
    using wrapper = new Shifted();
    const buffer = wrapper.memory.buffer(10);
    const { bytes } = buffer;
    buffer.free();
    assert(bytes.length === 0);
    assertThrows(() => wrapper.memory.addressOf(bytes), UseAfterFreeError);
  });

  it("frees the block of an array() that is not as long as it says", () => {
    using wrapper = new Shifted();
    class Liar extends Uint8Array {
      static override readonly BYTES_PER_ELEMENT = 4;
    }
    assertThrows(() => wrapper.memory.array(Liar as unknown as typeof Uint8Array, 10), TypeError);
    assertEquals(wrapper.blocks.size, 0);
  });
});
