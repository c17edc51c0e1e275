/**
 * Functions of the C library on heap memory: what they compute must be what JavaScript computes, and what they write must
 * be what JavaScript sees.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type Libc, openLibc } from "../examples/support/libc.ts";
import { fromPointer, Heap, toPointer } from "../mod.ts";
import { Prng } from "./support/prng.ts";

let opened: Libc | undefined;
function libc(): Libc {
  return opened ??= openLibc();
}

const encoder = new TextEncoder();

describe("memchr()", () => {
  it("memchr() finds the first byte where indexOf() finds it, or nothing", () => {
    using heap = new Heap();
    const random = new Prng(1);
    for (const size of [1, 16, 100, 4096, 20_000, 300_000, 4_500_000]) {
      const address = heap.allocate(size);
      const bytes = heap.view(address, size).fill(1);
      for (let i = 0; i < size; i += 1 + random.below(size < 10_000 ? 64 : 5000)) bytes[i] = random.below(250);
      for (const wanted of [0, 7, 249, 255]) {
        const found = libc().memchr(toPointer(address), wanted, size);
        const expected = bytes.indexOf(wanted);
        assertEquals(found === 0 ? -1 : found - address, expected, `byte ${wanted} in ${size}`);
      }
      heap.free(address);
    }
  });

  it("memchr() of an address that C gives back is that of the same byte in a view", () => {
    using heap = new Heap();
    const bytes = heap.array(Uint8Array, 1000).fill(1);
    bytes[777] = 200;
    const base = heap.addressOf(bytes);
    const found = libc().memchr(toPointer(base), 200, 1000);
    assertEquals(found, heap.addressOf(bytes.subarray(777)));
  });
});

describe("strlen()", () => {
  it("strlen() counts the bytes up to the first zero", () => {
    using heap = new Heap();
    for (const text of ["", "a", "native memory", "größer als ASCII", "x".repeat(100_000)]) {
      const encoded = encoder.encode(text);
      const address = heap.allocateZeroed(encoded.length + 1);
      heap.view(address).set(encoded);
      assertEquals(libc().strlen(toPointer(address)), encoded.length);
      heap.free(address);
    }
  });

  it("strlen() takes the pointer of a NativeBuffer, and sees what its views write", () => {
    using heap = new Heap();
    using buffer = heap.buffer(64);
    assertEquals(libc().strlen(buffer.pointer), 0);
    encoder.encodeInto("owned", buffer.bytes);
    assertEquals(libc().strlen(buffer.pointer), 5);
    buffer.resize(100_000);
    buffer.bytes.fill(0x61, 5, 99_999);
    assertEquals(libc().strlen(buffer.pointer), 99_999);
    assertEquals(fromPointer(toPointer(buffer.address)), buffer.address);
  });
});

describe("qsort()", () => {
  it("qsort() with a callback sorts doubles as sort() does", () => {
    using heap = new Heap();
    const random = new Prng(2);
    for (const count of [0, 1, 2, 100, 1000]) {
      const numbers = heap.array(Float64Array, count);
      for (let i = 0; i < count; i++) numbers[i] = random.below(2 ** 30) / 1024 - 2 ** 19;
      const expected = numbers.slice().sort();
      const base = heap.addressOf(numbers);
      libc().qsort(toPointer(base), count, 8, (a, b) => Math.sign(numbers[(a - base) / 8]! - numbers[(b - base) / 8]!));
      assertEquals([...numbers], [...expected]);
      heap.freeArray(numbers);
    }
    heap.check();
  });

  it("qsort() gives the callback addresses inside the block, and no others", () => {
    using heap = new Heap();
    const numbers = heap.array(Int32Array, 64);
    for (let i = 0; i < 64; i++) numbers[i] = (i * 37) % 64;
    const base = heap.addressOf(numbers);
    let outside = 0;
    let calls = 0;
    libc().qsort(toPointer(base), 64, 4, (a, b) => {
      calls++;
      for (const address of [a, b]) {
        if (address < base || address >= base + 256 || (address - base) % 4 !== 0) outside++;
      }
      return numbers[(a - base) / 4]! - numbers[(b - base) / 4]!;
    });
    assert(calls >= 63);
    // The C standard promises it (7.22.5): both arguments point to elements of the array.
    assertEquals(outside, 0);
    assertEquals([...numbers], Array.from({ length: 64 }, (_, i) => i));
  });

  it("qsort() of a NativeBuffer's memory, while the callback allocates and frees on the same heap", () => {
    using heap = new Heap();
    using buffer = heap.buffer(8 * 500);
    const numbers = buffer.view(Float64Array);
    for (let i = 0; i < 500; i++) numbers[i] = (i * 7919) % 500;
    const { address } = buffer;
    libc().qsort(buffer.pointer, 500, 8, (a, b) => {
      const scratch = heap.allocate(48);
      const order = Math.sign(numbers[(a - address) / 8]! - numbers[(b - address) / 8]!);
      heap.free(scratch);
      return order;
    });
    assertEquals([...numbers], Array.from({ length: 500 }, (_, i) => i));
    heap.check();
    assertEquals(heap.stats().liveBlocks, 1);
  });
});
