/**
 * The violation hook: it is given every misuse, on every allocator, and when it returns nothing has happened.
 *
 * @module
 */
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Address,
  type Allocator,
  type AllocatorError,
  Arena,
  basicalloc,
  BucketAllocator,
  BumpAllocator,
  CorruptionError,
  DebugAllocator,
  DisposedError,
  FreeListAllocator,
  GuardAllocator,
  Heap,
  InvalidFreeError,
  memAlloc,
  OutOfMemoryError,
  PoolAllocator,
  QuarantineAllocator,
  rulloc,
  rustyMalloc,
  setViolationHook,
  SharedHeap,
  UseAfterFreeError,
  type ViolationHook,
} from "../mod.ts";

/** The largest block that every allocator below can give. */
const SIZE = 64;

const HEAPS: readonly [string, () => Allocator][] = [
  ["Heap", () => new Heap()],
  ["Heap with a limit", () => new Heap({ limit: 2 ** 20 })],
  ["Heap with zeroOnFree", () => new Heap({ zeroOnFree: true })],
  ["secure Heap", () => new Heap({ secure: true })],
];

const OTHERS: readonly [string, () => Allocator][] = [
  ["FreeListAllocator", () => new FreeListAllocator()],
  ["BucketAllocator", () => new BucketAllocator()],
  ["basicalloc", () => basicalloc()],
  ["rustyMalloc", () => rustyMalloc()],
  ["memAlloc", () => memAlloc()],
  ["rulloc", () => rulloc()],
  ["Arena", () => new Arena()],
  ["BumpAllocator", () => new BumpAllocator()],
  ["PoolAllocator", () => new PoolAllocator({ slotSize: SIZE })],
  ["DebugAllocator", () => new DebugAllocator(new Heap())],
  ["QuarantineAllocator", () => new QuarantineAllocator(new Heap())],
  ["GuardAllocator", () => new GuardAllocator()],
  ["GuardAllocator, sampling", () => new GuardAllocator({ sampleRate: 2, seed: 1 })],
  ["DebugAllocator over QuarantineAllocator", () => new DebugAllocator(new QuarantineAllocator(new Heap()))],
  ["SharedHeap", () => SharedHeap.create()],
];

/** Runs `action` with `hook` in place, and takes it away again whatever happens. */
function withHook<T>(hook: ViolationHook, action: () => T): T {
  const previous = setViolationHook(hook);
  try {
    return action();
  } finally {
    setViolationHook(previous);
  }
}

/** What a hook that only listens was given during `action`. */
function violationsOf(action: () => unknown): AllocatorError[] {
  const violations: AllocatorError[] = [];
  withHook((violation) => void violations.push(violation), action);
  return violations;
}

/** A misuse on an allocator with a live block, what it is called with, and the error that it is. */
interface Misuse {
  readonly name: string;
  readonly type: typeof InvalidFreeError | typeof UseAfterFreeError;
  /** Sets it up, before the figures are taken, and returns the misuse. */
  readonly prepare: (allocator: Allocator, live: Address) => () => unknown;
}

/** `address` after it was freed. */
function freed(allocator: Allocator): Address {
  const address = allocator.allocate(SIZE);
  allocator.free(address);
  return address;
}

/** Misuses that owe no result: the call does nothing. */
const BAD_FREES: readonly Misuse[] = [
  {
    name: "a double free",
    type: InvalidFreeError,
    prepare(allocator) {
      const address = freed(allocator);
      return () => allocator.free(address);
    },
  },
  { name: "an interior free", type: InvalidFreeError, prepare: (allocator, live) => () => allocator.free(live + 16) },
  { name: "a foreign free", type: InvalidFreeError, prepare: (allocator) => () => allocator.free(4096) },
  { name: "a free of a fraction", type: InvalidFreeError, prepare: (allocator) => () => allocator.free(0.5) },
];

const BAD_ARRAYS: readonly Misuse[] = [
  {
    name: "freeArray() of an array of JavaScript's",
    type: InvalidFreeError,
    prepare: (allocator) => () => allocator.freeArray(new Uint8Array(SIZE)),
  },
  {
    name: "freeArray() of a detached array",
    type: UseAfterFreeError,
    prepare(allocator) {
      const array = new Uint8Array(SIZE);
      array.buffer.transfer();
      return () => allocator.freeArray(array);
    },
  },
  {
    name: "NativeBuffer.free() for the second time",
    type: InvalidFreeError,
    prepare(allocator) {
      const buffer = allocator.buffer(SIZE);
      buffer.free();
      return () => buffer.free();
    },
  },
];

/** Misuses that owe a result: the call throws what it has reported. */
const BAD_CALLS: readonly Misuse[] = [
  {
    name: "addressOf() of an array of JavaScript's",
    type: InvalidFreeError,
    prepare: (allocator) => () => allocator.addressOf(new Uint8Array(SIZE)),
  },
  ...(["view", "usableSize"] as const).map((method): Misuse => ({
    name: `${method}() of a freed block`,
    type: InvalidFreeError,
    prepare(allocator) {
      const address = freed(allocator);
      return () => allocator[method](address);
    },
  })),
  ...(["resize", "reallocate"] as const).flatMap((method): Misuse[] => [
    {
      name: `${method}() of a freed block`,
      type: InvalidFreeError,
      prepare(allocator) {
        const address = freed(allocator);
        return () => allocator[method](address, SIZE / 2);
      },
    },
    {
      name: `${method}() of a block that a NativeBuffer owns`,
      type: InvalidFreeError,
      prepare(allocator) {
        const buffer = allocator.buffer(SIZE);
        return () => allocator[method](buffer.address, SIZE / 2);
      },
    },
  ]),
  {
    name: "an accessor of a freed NativeBuffer",
    type: UseAfterFreeError,
    prepare(allocator) {
      const buffer = allocator.buffer(SIZE);
      buffer.free();
      return () => buffer.bytes;
    },
  },
];

/** Commits a misuse, and verifies that it was reported once and that nothing else has happened. */
function commit(make: () => Allocator, { type, prepare }: Misuse, owesResult: boolean): void {
  using allocator = make();
  const live = allocator.allocate(SIZE);
  allocator.view(live).fill(7);
  const misuse = prepare(allocator, live);
  const before = allocator.stats();

  let thrown: unknown;
  const violations = violationsOf(() => {
    try {
      misuse();
    } catch (error) {
      thrown = error;
    }
  });
  assertEquals(violations.length, 1);
  assert(violations[0] instanceof type, `${violations[0]}`);
  assertStrictEquals(thrown, owesResult ? violations[0] : undefined);
  assertEquals(allocator.stats(), before);
  allocator.check();

  // Without a hook the same misuse is thrown.
  assertThrows(misuse, type);
  assertEquals(allocator.stats(), before);

  const next = allocator.allocate(SIZE);
  assert(next !== live && allocator.owns(next) && allocator.owns(live));
  allocator.view(next).fill(9);
  assertEquals([...new Set(allocator.view(live))], [7]);
  allocator.free(next);
  allocator.check();
}

describe("a violation on", () => {
  for (const [name, make] of [...HEAPS, ...OTHERS]) {
    for (const misuse of [...BAD_FREES, ...BAD_ARRAYS]) {
      it(`${name}: ${misuse.name} does nothing when the hook returns`, () => commit(make, misuse, false));
    }
    for (const misuse of BAD_CALLS) {
      it(`${name}: ${misuse.name} throws when the hook returns`, () => commit(make, misuse, true));
    }
  }
});

describe("violations of a Heap that are not of small blocks", () => {
  const sizes: readonly [string, number][] = [["large", 100_000], ["huge", 5_000_000]];
  for (const [name, size] of sizes) {
    it(`a double and an interior free of a ${name} block do nothing when the hook returns`, () => {
      using heap = new Heap();
      const kept = heap.allocate(size);
      const address = heap.allocate(size);
      heap.free(address);
      const before = heap.stats();
      const violations = violationsOf(() => {
        heap.free(address);
        heap.free(kept + 4096);
      });
      assertEquals(violations.map((violation) => (violation as InvalidFreeError).kind), ["double", "interior"]);
      assertEquals(heap.stats(), before);
      heap.check();
      heap.free(heap.allocate(size));
    });
  }

  it("a region that was detached from outside is reported, and thrown", () => {
    using heap = new Heap();
    const address = heap.allocate(SIZE);
    (heap.view(address).buffer as ArrayBuffer).transfer();
    for (const action of [() => heap.view(address), () => heap.check()]) {
      const violations = violationsOf(() => assertThrows(action, CorruptionError, "detached from outside"));
      assertEquals(violations.length, 1);
      assert(violations[0] instanceof CorruptionError);
    }
  });
});

describe("setViolationHook()", () => {
  it("returns the hook before, and without an argument goes back to the one that throws", () => {
    const first: ViolationHook = () => {};
    const original = setViolationHook(first);
    assertStrictEquals(setViolationHook(), first);
    assertStrictEquals(setViolationHook(original), original);
    using heap = new Heap();
    assertThrows(() => heap.free(16), InvalidFreeError);
  });

  it("refuses what is no function, and keeps the hook", () => {
    const hook: ViolationHook = () => {};
    const original = setViolationHook(hook);
    try {
      assertThrows(() => setViolationHook(null as unknown as ViolationHook), TypeError, "not a function");
      assertStrictEquals(setViolationHook(hook), hook);
    } finally {
      setViolationHook(original);
    }
  });

  it("a hook that throws decides what the call throws", () => {
    using heap = new Heap();
    const stopped = new Error("stopped");
    const refuse = (): never => {
      throw stopped;
    };
    for (const action of [() => heap.free(16), () => heap.view(16)]) {
      assertStrictEquals(assertThrows(() => withHook(refuse, action)), stopped);
    }
    heap.check();
  });

  it("is not given wrong arguments, exhausted memory and disposed allocators: they are thrown", () => {
    const violations = violationsOf(() => {
      const heap = new Heap({ limit: 100 });
      assertThrows(() => heap.free("16" as unknown as Address), TypeError);
      assertThrows(() => heap.allocate(-1), RangeError);
      assertThrows(() => heap.allocate(101), OutOfMemoryError);
      heap[Symbol.dispose]();
      assertThrows(() => heap.free(16), DisposedError);
    });
    assertEquals(violations, []);
  });

  for (const [name, make] of HEAPS) {
    it(`the hook may allocate from, free to and dispose of the ${name} that is reporting`, () => {
      const heap = make();
      const live = heap.allocate(SIZE);
      const address = freed(heap);
      let kept = 0;
      withHook(() => {
        heap.free(live);
        kept = heap.allocate(SIZE);
        heap.check();
      }, () => heap.free(address));
      assertEquals([...heap.blocks()].map((block) => block.address), [kept]);
      heap.check();
      withHook(() => heap[Symbol.dispose](), () => heap.free(address + 8));
      assertThrows(() => heap.free(kept), DisposedError);
    });
  }

  it("a violation that the hook itself commits is thrown to it, and the hook stays in use", () => {
    using heap = new Heap();
    const address = freed(heap);
    let calls = 0;
    const hook: ViolationHook = () => {
      calls++;
      assertThrows(() => heap.free(address), InvalidFreeError, "already freed");
      assertThrows(() => heap.view(address), InvalidFreeError, "already freed");
    };
    withHook(hook, () => {
      heap.free(address);
      heap.free(address);
    });
    assertEquals(calls, 2);
    heap.check();
  });
});
