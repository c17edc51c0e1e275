/**
 * Validation of arguments.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  Arena,
  basicalloc,
  BucketAllocator,
  BumpAllocator,
  DebugAllocator,
  describe as draw,
  failingPageSource,
  fixedPageSource,
  FreeListAllocator,
  GuardAllocator,
  Heap,
  heapMap,
  type HeapOptions,
  memAlloc,
  PoolAllocator,
  QuarantineAllocator,
  rulloc,
  rustyMalloc,
  SharedHeap,
  systemPageSource,
  Vec,
} from "../mod.ts";
import {
  alignDown,
  alignUp,
  assertAddress,
  assertAlignment,
  assertSize,
  assertTypedArrayConstructor,
  DEFAULT_ALIGNMENT,
  isPowerOfTwo,
  MAX_ALIGNMENT,
} from "../src/arguments.ts";

/** Values of every type but number. */
const NO_NUMBERS: unknown[] = [undefined, null, "16", "", 16n, true, Symbol("s"), {}, [16], () => 16, {
  valueOf: () => 16,
}];

/** Fails unless the action throws exactly this class, with this in its message. */
function assertRejected(action: () => unknown, type: typeof TypeError | typeof RangeError, message: string): void {
  const error = assertThrows(action, type, message);
  assertEquals(error.name, type.name);
}

describe("assertSize()", () => {
  it("takes whole numbers from 0 to 2^53 - 1", () => {
    for (const size of [0, -0, 1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1]) assertSize(size);
  });

  it("throws RangeError for other numbers, and names them", () => {
    for (const size of [-1, 0.5, 1e-300, NaN, Infinity, -Infinity, 2 ** 53, 1e300, -(2 ** 32)]) {
      assertRejected(
        () => assertSize(size),
        RangeError,
        `Cannot use ${size} as size: it must be a whole number from 0 to 2^53 - 1`,
      );
    }
  });

  it("throws TypeError for all else, and names what it was for", () => {
    for (const size of NO_NUMBERS) {
      assertRejected(() => assertSize(size, "length"), TypeError, " as length: it must be a number");
    }
    assertRejected(() => assertSize("16"), TypeError, 'Cannot use "16" as size: it must be a number');
  });
});

describe("assertAlignment()", () => {
  it("takes powers of two from 1 to 2^30", () => {
    for (let alignment = 1; alignment <= MAX_ALIGNMENT; alignment *= 2) assertAlignment(alignment);
    assertEquals([DEFAULT_ALIGNMENT, MAX_ALIGNMENT], [16, 2 ** 30]);
  });

  it("throws RangeError for other numbers, and names them", () => {
    for (const alignment of [0, -1, -16, 3, 24, 2 ** 31, 2 ** 32, 2 ** 32 + 16, 0.5, 16.5, NaN, Infinity, -(2 ** 31)]) {
      assertRejected(
        () => assertAlignment(alignment),
        RangeError,
        `Cannot use ${alignment} as alignment: it must be a power of two from 1 to 2^30`,
      );
    }
  });

  it("throws TypeError for all else", () => {
    for (const alignment of NO_NUMBERS) {
      assertRejected(() => assertAlignment(alignment), TypeError, " as alignment: it must be a number");
    }
  });
});

describe("assertAddress()", () => {
  it("takes any number: whose address it is, the allocator says", () => {
    for (const address of [0, -1, 1.5, NaN, Infinity, 2 ** 60]) assertAddress(address);
  });

  it("throws TypeError for all else", () => {
    for (const address of NO_NUMBERS) {
      assertRejected(() => assertAddress(address), TypeError, " as an address: it must be a number");
    }
  });
});

describe("assertTypedArrayConstructor()", () => {
  const types = [
    ...[Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array],
    ...[Float64Array, BigInt64Array, BigUint64Array],
  ];

  it("takes the eleven constructors, and classes that extend them", () => {
    for (const type of types) assertTypedArrayConstructor(type);
    assertTypedArrayConstructor(class extends Uint8Array {});
  });

  it("throws TypeError for all else", () => {
    for (const type of [...NO_NUMBERS, 1, DataView, Array, ArrayBuffer, Map, new Uint8Array(1)]) {
      assertRejected(() => assertTypedArrayConstructor(type), TypeError, "it must be the constructor of a typed array");
    }
  });
});

describe("isPowerOfTwo()", () => {
  it("is true of 2^0 to 2^30, and of nothing else", () => {
    for (let power = 1; power <= 2 ** 30; power *= 2) {
      assert(isPowerOfTwo(power));
      assert(power <= 2 || !isPowerOfTwo(power - 1));
      assert(power === 1 || !isPowerOfTwo(power + 1));
    }
    for (const value of [0, -1, -2, -(2 ** 31), 0.5, 1.5, 2 ** 32, 2 ** 40, NaN, Infinity]) {
      assert(!isPowerOfTwo(value), `${value}`);
    }
  });
});

describe("alignUp() and alignDown()", () => {
  it("are exact up to 2^53", () => {
    for (const alignment of [1, 16, 4096, 2 ** 30]) {
      for (const base of [0, alignment, 2 ** 32, 2 ** 47, 2 ** 52]) {
        assertEquals([alignUp(base, alignment), alignDown(base, alignment)], [base, base]);
        if (alignment === 1) continue;
        assertEquals([alignUp(base + 1, alignment), alignDown(base + 1, alignment)], [base + alignment, base]);
        const last = base + alignment - 1;
        assertEquals([alignUp(last, alignment), alignDown(last, alignment)], [base + alignment, base]);
      }
    }
  });
});

describe("options", () => {
  it("that are no object are refused everywhere, by name, before anything is taken", () => {
    using heap = new Heap();
    using lists = new FreeListAllocator();
    const takers: readonly ((options: never) => unknown)[] = [
      (options) => new Heap(options),
      (options) => new Arena(options),
      (options) => new BumpAllocator(options),
      (options) => new PoolAllocator(options),
      (options) => new FreeListAllocator(options),
      (options) => new BucketAllocator(options),
      (options) => new GuardAllocator(options),
      (options) => new DebugAllocator(heap, options),
      (options) => new QuarantineAllocator(heap, options),
      (options) => SharedHeap.create(options),
      (options) => new Vec(Uint8Array, options),
      (options) => heap.buffer(8, options),
      (options) => lists.buffer(8, options),
      basicalloc,
      rustyMalloc,
      memAlloc,
      (options) => rulloc(undefined, options),
      (options) => fixedPageSource(new ArrayBuffer(65_536), options),
      (options) => failingPageSource(systemPageSource(), 1, options),
      (options) => draw(lists, options),
      (options) => heapMap(heap.layout(), options),
    ];
    for (const take of takers) {
      for (
        const [options, said] of [[null, "null"], [16, "16"], ["limit", '"limit"'], [() => 8, "a function"]] as const
      ) {
        const message = `Cannot use ${said} as options: they must be an object`;
        assertRejected(() => take(options as never), TypeError, message);
      }
    }
    assertEquals([heap.stats().liveBlocks, lists.stats().liveBlocks], [0, 0]);
  });

  it("of a heap that there are not, as they are misspelt, are refused by name: what they ask for would be off", () => {
    const takers = [
      [{ zeroOnfree: false }, '"zeroOnfree", only source, limit, zeroOnFree, secure'],
      [
        { secure: { seeds: 1 } },
        '"secure.seeds", only secure.zeroOnFree, secure.randomPlacement, secure.delayedReuse, secure.seed',
      ],
      [
        { secure: { delayedReuse: { block: 1 } } },
        '"secure.delayedReuse.block", only secure.delayedReuse.blocks, secure.delayedReuse.bytes',
      ],
      // A page source where the options should be would be passed over.
      [systemPageSource(), '"name", only source, limit, zeroOnFree, secure'],
    ] as const;
    for (const [options, names] of takers) {
      assertRejected(
        () => new Heap(options as HeapOptions),
        TypeError,
        `Cannot make a heap: there is no option ${names}`,
      );
    }
  });

  it("that are undefined are none, whatever their name; those of a prototype are taken, and its other properties", () => {
    const empty = { zeroOnfree: undefined, limit: undefined } as unknown as HeapOptions;
    using _heap = new Heap(empty);
    const defaults = { limit: 100, name: "ours", toString: () => "ours" };
    using inherited = new Heap(Object.create(defaults) as HeapOptions);
    assertEquals([inherited.tryAllocate(101), inherited.tryAllocate(100) > 0], [0, true]);
    using _bare = new Heap(Object.assign(Object.create(null), { zeroOnFree: true }));
    const hasOwn = { hasOwnProperty: true } as unknown as HeapOptions;
    assertThrows(() => new Heap(hasOwn), TypeError, 'there is no option "hasOwnProperty"');
  });
});

describe("an array type that lies about the size of its elements", () => {
  it("is refused by GuardAllocator too, whose ArrayBuffers end where the block does", () => {
    class Half extends Uint8Array {
      static override readonly BYTES_PER_ELEMENT = 0.5 as 1;
    }
    using guard = new GuardAllocator();
    using heap = new Heap();
    for (const allocator of [guard, heap]) {
      assertThrows(() => allocator.array(Half, 10), TypeError, "Cannot use the array type: ");
      assertEquals(allocator.stats().liveBlocks, 0);
    }
  });
});
