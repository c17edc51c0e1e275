/**
 * Every message of a `Heap`, to the word.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type Address, DisposedError, fixedPageSource, Heap, InvalidFreeError, OutOfMemoryError } from "../mod.ts";
import { formatAddress } from "../src/errors.ts";

const KIB = 2 ** 10;

describe("Heap error messages", () => {
  it("free(0) does nothing, and is no error", () => {
    using heap = new Heap();
    heap.free(0);
    heap.free(-0);
    heap.allocate(20_000);
    heap.free(0);
    assertEquals(heap.stats().liveBlocks, 1);
    heap.check();
  });

  it("name the address, and what is there instead", () => {
    using heap = new Heap();
    const small = heap.allocate(60);
    const large = heap.allocate(20_000);
    const huge = heap.allocate(5_000_000);
    const usable = heap.usableSize(huge);
    const cases: [Address, string][] = [
      [small + 8, `it is 8 bytes inside the live block of 64 bytes at ${formatAddress(small)}`],
      [small + 1, `it is 1 byte inside the live block of 64 bytes at ${formatAddress(small)}`],
      [large + 4096, `it is 4096 bytes inside the live block of 20480 bytes at ${formatAddress(large)}`],
      [large + 16, `it is 16 bytes inside the live block of 20480 bytes at ${formatAddress(large)}`],
      [huge + 64, `it is 64 bytes inside the live block of ${usable} bytes at ${formatAddress(huge)}`],
      [4096, "this heap has no block there and had none"],
      [-1, "this heap has no block there and had none"],
      [NaN, "this heap has no block there and had none"],
      [2 ** 53, "this heap has no block there and had none"],
    ];
    for (const [address, detail] of cases) {
      const shown = address >= 0 ? formatAddress(address) : `${address}`;
      assertEquals(assertThrows(() => heap.free(address), InvalidFreeError).message, `Cannot free ${shown}: ${detail}`);
      assertEquals(assertThrows(() => heap.view(address), InvalidFreeError).message, `Cannot view ${shown}: ${detail}`);
      assertEquals(
        assertThrows(() => heap.usableSize(address), InvalidFreeError).message,
        `Cannot measure ${shown}: ${detail}`,
      );
      assertEquals(
        assertThrows(() => heap.resize(address, 1), InvalidFreeError).message,
        `Cannot resize ${shown}: ${detail}`,
      );
      assertEquals(
        assertThrows(() => heap.reallocate(address, 1), InvalidFreeError).message,
        `Cannot reallocate ${shown}: ${detail}`,
      );
    }
    for (const address of [small, large, huge]) {
      heap.free(address);
      const error = assertThrows(() => heap.free(address), InvalidFreeError);
      assertEquals([error.message, error.kind], [
        `Cannot free ${formatAddress(address)}: the block is already freed`,
        "double",
      ]);
    }
  });

  it("a view longer than its block", () => {
    using heap = new Heap();
    const address = heap.allocate(60);
    const message = assertThrows(() => heap.view(address, 65), RangeError).message;
    assertEquals(message, `Cannot view 65 bytes at ${formatAddress(address)}: the block has 64`);
  });

  it("an address that is no number, whatever it looks like", () => {
    using heap = new Heap();
    for (const size of [100, 20_000, 5_000_000]) {
      const address = heap.allocate(size);
      for (const wrong of [`${address}`, [address], new Number(address), { valueOf: () => address }]) {
        const error = assertThrows(() => heap.free(wrong as never), TypeError, "it must be a number");
        assert(error.message.startsWith("Cannot use "), error.message);
        assert(heap.owns(address), `free of ${typeof wrong} freed a block of ${size} bytes`);
      }
    }
  });

  it("blocks of a NativeBuffer", () => {
    using heap = new Heap();
    const { address } = heap.buffer(10);
    for (
      const [action, call] of [["resize", () => heap.resize(address, 9)], [
        "reallocate",
        () => heap.reallocate(address, 9),
      ]] as const
    ) {
      const error = assertThrows(call, InvalidFreeError);
      assertEquals(
        error.message,
        `Cannot ${action} ${formatAddress(address)}: a NativeBuffer owns the block; use its resize method`,
      );
      assertEquals(error.kind, "foreign");
    }
  });

  it("views that are none, or not of this heap", () => {
    using heap = new Heap();
    assertEquals(
      assertThrows(() => heap.addressOf(5 as never), TypeError).message,
      "Cannot take the address of 5: it must be a typed array or DataView",
    );
    assertEquals(
      assertThrows(() => heap.freeArray([1] as never), TypeError).message,
      "Cannot free an array: it must be a typed array or DataView",
    );
    const error = assertThrows(
      () => heap.freeArray(new Uint8Array(4)),
      InvalidFreeError,
      "it is not of this heap's memory",
    );
    assertEquals(error.kind, "foreign");
  });

  it("memory that runs out says what the source says, with the source's error as its cause", () => {
    using heap = new Heap({ source: fixedPageSource(new ArrayBuffer(64 * KIB)) });
    const error = assertThrows(() => heap.allocate(100_000, 64), OutOfMemoryError);
    assertEquals(error.requested, 100_000);
    assertEquals(error.limit, 65_536);
    assert(error.cause instanceof OutOfMemoryError);
    assertEquals(
      error.message,
      "Cannot allocate 100000 bytes at alignment 64: the buffer of 65536 bytes has 0 free, the longest piece 0",
    );
    const impossible = assertThrows(() => new Heap().allocate(2 ** 53 - 1), OutOfMemoryError);
    assert(
      impossible.message.endsWith("at alignment 16: no machine addresses so many"),
      impossible.message,
    );
  });

  it("after dispose", () => {
    const heap = new Heap();
    const address = heap.allocate(10);
    const view = heap.view(address);
    const shown = formatAddress(address);
    heap[Symbol.dispose]();
    heap[Symbol.dispose]();
    const cases: [string, () => unknown][] = [
      ["allocate", () => heap.allocate(1)],
      ["allocate", () => heap.allocate(20_000)],
      ["allocate", () => heap.tryAllocate(1)],
      ["allocate", () => heap.allocateZeroed(1)],
      ["allocate", () => heap.array(Int8Array, 1)],
      ["allocate", () => heap.reallocate(0, 1)],
      ["allocate a buffer", () => heap.buffer(1)],
      [`free ${shown}`, () => heap.free(address)],
      [`view ${shown}`, () => heap.view(address)],
      [`resize ${shown}`, () => heap.resize(address, 1)],
      [`reallocate ${shown}`, () => heap.reallocate(address, 1)],
      [`measure ${shown}`, () => heap.usableSize(address)],
      [`look up ${shown}`, () => heap.owns(address)],
      ["take the address of a view", () => heap.addressOf(view)],
      ["free a view", () => heap.freeArray(view)],
      ["walk the blocks", () => [...heap.blocks()]],
      ["report", () => heap.stats()],
      ["report", () => heap.layout()],
      ["check", () => heap.check()],
      ["trim", () => heap.trim()],
    ];
    for (const [action, call] of cases) {
      assertEquals(assertThrows(call, DisposedError).message, `Cannot ${action}: the heap is disposed`);
    }
  });

  it("after dispose, blocks() throws when it is called and not when it is walked", () => {
    const heap = new Heap();
    heap[Symbol.dispose]();
    assertThrows(() => heap.blocks(), DisposedError, "Cannot walk the blocks: the heap is disposed");
  });
});
