/**
 * The errors: classes, codes, names and what they carry.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  AlignmentMismatchError,
  AllocatorError,
  CorruptionError,
  DisposedError,
  InvalidFreeError,
  OutOfMemoryError,
  UnsupportedPlatformError,
  UseAfterFreeError,
} from "../mod.ts";
import { describeValue, formatAddress, SizeMismatchError } from "../src/errors.ts";
import { rootUrl, runSource } from "./support/runtime.ts";

describe("AllocatorError", () => {
  const errors: [AllocatorError, string, string, string][] = [
    [new OutOfMemoryError("Cannot x", 5), "OutOfMemoryError", "ERR_OUT_OF_MEMORY", "Cannot x"],
    [
      new InvalidFreeError("free", 0x1000, "double", "it is gone"),
      "InvalidFreeError",
      "ERR_INVALID_FREE",
      "Cannot free 0x1000: it is gone",
    ],
    [
      new SizeMismatchError("free", 0x1000, 5, 7),
      "SizeMismatchError",
      "ERR_SIZE_MISMATCH",
      "Cannot free 0x1000 as a block of 5 bytes: 7 were asked for",
    ],
    [
      new AlignmentMismatchError("free", 0x1000, 16, 64),
      "AlignmentMismatchError",
      "ERR_ALIGNMENT_MISMATCH",
      "Cannot free 0x1000 as a block aligned to 16 bytes: it was asked for at alignment 64",
    ],
    [new UseAfterFreeError("Cannot view"), "UseAfterFreeError", "ERR_USE_AFTER_FREE", "Cannot view"],
    [new CorruptionError("Cannot trust"), "CorruptionError", "ERR_CORRUPTION", "Cannot trust"],
    [new DisposedError("free 0x10", "heap"), "DisposedError", "ERR_DISPOSED", "Cannot free 0x10: the heap is disposed"],
    [
      new UnsupportedPlatformError("Cannot load"),
      "UnsupportedPlatformError",
      "ERR_UNSUPPORTED_PLATFORM",
      "Cannot load",
    ],
  ];

  for (const [error, name, code, message] of errors) {
    it(`${name} has its name, code and message, and is an Error`, () => {
      assertEquals([error.name, error.code, error.message], [name, code, message]);
      assert(error instanceof AllocatorError && error instanceof Error);
      assertEquals(`${error}`, `${name}: ${message}`);
      assert(error.stack!.includes(message));
    });
  }

  it("OutOfMemoryError carries the size, the limit and the cause", () => {
    const cause = new Error("inner");
    const error = new OutOfMemoryError("Cannot x", 5, 9, { cause });
    assertEquals([error.requested, error.limit], [5, 9]);
    assert(error.cause === cause);
    const plain = new OutOfMemoryError("Cannot x", 5);
    assertEquals([plain.limit, "cause" in plain], [Infinity, false]);
  });

  it("InvalidFreeError carries the kind and the address as it was passed", () => {
    const error = new InvalidFreeError("view", -1.5, "foreign", "no");
    assertEquals([error.kind, error.address, error.message], ["foreign", -1.5, "Cannot view -1.5: no"]);
  });

  it("InvalidFreeError carries where the block was allocated and freed, where that is known", () => {
    const [allocatedAt, freedAt] = [new Error("a"), new Error("f")];
    const error = new InvalidFreeError("free", 16, "double", "no", undefined, { allocatedAt, freedAt });
    assert(error.allocatedAt === allocatedAt && error.freedAt === freedAt);
    assertEquals(error.message, "Cannot free 0x10: no");
    const plain = new InvalidFreeError("free", 16, "double", "no");
    assertEquals([plain.allocatedAt, plain.freedAt], [undefined, undefined]);
  });

  it("CorruptionError carries the byte that was changed, where there is one, and its cause", () => {
    const byte = { address: 64, offset: -1, expected: 0xdc, found: 3 };
    const cause = new Error("inner");
    const error = new CorruptionError("Cannot trust", byte, { cause });
    assertEquals(error.byte, byte);
    assert(error.cause === cause);
    assertEquals(new CorruptionError("Cannot trust").byte, undefined);
  });

  it("AlignmentMismatchError carries the address and both alignments", () => {
    const error = new AlignmentMismatchError("free", 64, 16, 64);
    assertEquals([error.address, error.alignment, error.requestedAlignment], [64, 16, 64]);
  });

  it("SizeMismatchError carries the address and both sizes", () => {
    const error = new SizeMismatchError("free", 64, 5, 7);
    assertEquals([error.address, error.size, error.requestedSize], [64, 5, 7]);
  });

  it("UnsupportedPlatformError carries its cause", () => {
    const cause = new Error("inner");
    assert(new UnsupportedPlatformError("Cannot x", { cause }).cause === cause);
  });

  it("can be made when the program has frozen the errors of the language", async () => {
    const { code, stdout, stderr } = await runSource(`
      import { Heap } from "${rootUrl}mod.ts";
      const heap = new Heap({ limit: 100 }); // first, as Node warns of its FFI with an error that it changes
      Object.freeze(Error);
      Object.freeze(Error.prototype);
      const address = heap.allocate(1);
      heap.free(address);
      try {
        heap.free(address);
      } catch (error) {
        console.log(error.name, error.code, heap.tryAllocate(101));
      }
    `);
    assertEquals([code, stdout.trim()], [0, "InvalidFreeError ERR_INVALID_FREE 0"], stderr);
  });
});

describe("formatAddress()", () => {
  it("is hexadecimal for an address, and anything else as it is", () => {
    const cases: [unknown, string][] = [
      [0, "0x0"],
      [2 ** 47, "0x800000000000"],
      [2 ** 53 - 1, "0x1fffffffffffff"],
      [-1, "-1"],
      [1.5, "1.5"],
      [NaN, "NaN"],
      [Infinity, "Infinity"],
      ["16", '"16"'],
      [undefined, "undefined"],
    ];
    for (const [value, text] of cases) assertEquals(formatAddress(value), text);
  });
});

describe("describeValue()", () => {
  it("says what any value is, and never throws", () => {
    const hostile = {
      toString(): string {
        throw new Error("toString was called");
      },
    };
    const cases: [unknown, string][] = [
      ["a", '"a"'],
      ["x".repeat(50), `"${"x".repeat(40)}..."`],
      ["x".repeat(40), `"${"x".repeat(40)}"`],
      [10n, "10n"],
      [Symbol("s"), "a symbol"],
      [() => 1, "a function"],
      [null, "null"],
      [[1], "an array"],
      [{}, "an object"],
      [hostile, "an object"],
      [1.5, "1.5"],
      [-0, "-0"],
      [NaN, "NaN"],
      [undefined, "undefined"],
      [true, "true"],
    ];
    for (const [value, text] of cases) assertEquals(describeValue(value), text);
  });
});
