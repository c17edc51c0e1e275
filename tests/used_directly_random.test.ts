/**
 * Random operations on a wrapper, and on the allocator that it wraps behind its back.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import {
  type Address,
  AllocatorError,
  fixedPageSource,
  FreeListAllocator,
  GuardAllocator,
  Heap,
  type NativeBuffer,
  PoolAllocator,
  setViolationHook,
} from "../mod.ts";
import { Prng } from "./support/prng.ts";
import { modestSource } from "./support/scarce_source.ts";
import { type Inner, WRAPPERS } from "./support/wrappers.ts";

const MIB = 2 ** 20;

afterEach(() => void setViolationHook());

describe("random operations on a wrapper, and on the inner allocator behind its back", () => {
  /** A buffer of the wrapper, whose every byte is `value`. */
  interface Held {
    readonly buffer: NativeBuffer;
    bytes: Uint8Array;
    readonly value: number;
  }

  /** 1,200 operations; whatever is thrown is a violation or says that memory is exhausted. */
  function run(outer: Inner, inner: Inner, hookReturns: boolean, seed: number): void {
    const random = new Prng(seed);
    const buffers: Held[] = [];
    const addresses: Address[] = [];
    let [step, detached] = [0, 0];
    setViolationHook((violation) => {
      // The hook may use the allocator too: now and then it frees what it is about.
      if (addresses.length > 0 && random.below(4) === 0) outer.free(addresses.pop()!);
      if (!hookReturns) throw violation;
    });
    const pick = <T>(list: readonly T[]): T | undefined => list[random.below(Math.max(1, list.length))];
    const size = (): number => random.below(random.below(8) === 0 ? 6000 : 200);
    const operations: readonly (() => void)[] = [
      () => {
        const buffer = outer.buffer(size());
        const value = random.below(256);
        buffers.push({ buffer, bytes: buffer.bytes.fill(value), value });
      },
      () => void addresses.push(outer.allocate(size())),
      () => {
        const address = addresses.pop();
        if (address !== undefined) outer.free(address);
      },
      () => pick(buffers)?.buffer.free(),
      () => {
        const held = pick(buffers);
        if (held === undefined) return;
        held.buffer.resize(size());
        held.bytes = held.buffer.bytes.fill(held.value);
      },
      () => {
        const address = pick(addresses);
        if (address !== undefined) addresses[addresses.indexOf(address)] = outer.reallocate(address, 1 + size());
      },
      () => {
        const block = pick([...inner.blocks()]);
        if (block !== undefined && random.below(3) === 0) inner.free(block.address);
      },
      () => {
        if (random.below(4) === 0) inner.allocate(size());
      },
      () => {
        if (random.below(20) === 0) [outer, inner][random.below(2)]!.trim();
      },
      () => {
        if (random.below(20) === 0) outer.check();
      },
    ];
    for (step = 0; step < 1200; step++) {
      const before = addresses.length;
      try {
        pick(operations)!();
      } catch (error) {
        const isExpected = error instanceof AllocatorError && error.code !== "ERR_DISPOSED";
        assert(isExpected || error instanceof RangeError, `seed ${seed}, step ${step}: ${(error as Error).stack}`);
        if (addresses.length > before) addresses.length = before;
      }
      if (step % 20 > 0) continue;
      for (const { buffer, bytes, value } of buffers.splice(0)) {
        if (buffer.freed) {
          if (buffer.isolated) assertEquals(bytes.length, 0, `seed ${seed}, step ${step}`);
          detached++;
        } else {
          assert(bytes.every((byte) => byte === value), `seed ${seed}, step ${step}: a buffer has changed`);
          buffers.push({ buffer, bytes, value });
        }
      }
      inner.check();
      while (inner.stats().liveBlocks > 300) inner.free([...inner.blocks()][0]!.address);
    }
    assert(detached > 40, `seed ${seed}: only ${detached} buffers were freed`);
    setViolationHook(() => {});
    outer[Symbol.dispose]();
    for (const { bytes, buffer } of buffers) assertEquals(bytes.length, buffer.isolated ? 0 : bytes.length);
  }

  for (const wrapper of WRAPPERS) {
    for (const hookReturns of [false, true]) {
      it(`${wrapper.name}, with a hook that ${hookReturns ? "returns" : "throws"}`, () => {
        const makers: readonly (() => Inner)[] = [
          () => new Heap({ source: modestSource() }),
          () => new FreeListAllocator(),
          () => new Heap({ source: fixedPageSource(new ArrayBuffer(8 * MIB)) }),
          () =>
            new FreeListAllocator({ source: fixedPageSource(new ArrayBuffer(8 * MIB)), coalesce: "lazy", header: 0 }),
          () => new PoolAllocator({ slotSize: 8192 }),
          () => new GuardAllocator({ maxBlocks: 1000 }),
        ];
        makers.forEach((make, i) => {
          const inner = make();
          run(wrapper.wrap(inner), inner, hookReturns, 100 + i);
        });
      });
    }
  }
});
