/**
 * What we rely on in the runtimes and nobody promises: an upgrade that changes one of these must be noticed here, and not
 * as a crash somewhere else. Each test is one fact, measured before the code was written.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { detectPlatform } from "../ffi/detect.ts";
import { getBuiltinModule, openLibrary } from "../ffi/library.ts";
import { LINUX_SYMBOLS, type SymbolTable } from "../ffi/symbols.ts";
import { nativeInterface, systemPageSource } from "../ffi/system_page_source.ts";
import { isLinux, isWindows, rootUrl, runSource, runtimeName } from "./support/runtime.ts";

const platform = detectPlatform();
const native = nativeInterface(platform);
const source = systemPageSource();
const { pageSize } = source;

/** Values at which a number of the wrong width goes wrong, up to the largest exact one. */
const EDGES = [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 47 - 1, 2 ** 52 + 1, 2 ** 53 - 1];

/** A committed page for `use`, whatever happens to its wraps. */
function withPage(use: (address: number) => void): void {
  const address = source.reserve(pageSize, 1);
  source.commit(address, pageSize);
  use(address);
  source.unmap(address, pageSize);
}

/** Makes a collection likely: certain in Bun, by a lot of garbage elsewhere. */
function collectGarbage(): void {
  const { Bun } = globalThis as unknown as { Bun?: { gc(force: boolean): void } };
  if (Bun !== undefined) Bun.gc(true);
  let kept: unknown[] = [];
  for (let index = 0; index < 200_000; index++) {
    kept.push({ index });
    if (kept.length > 1000) kept = [];
  }
}

describe("detaching by transfer(0)", () => {
  it("empties the buffer and every view of it, and leaves the native bytes", () => {
    withPage((address) => {
      const buffer = native.wrap(address, pageSize);
      const views = [
        new Uint8Array(buffer),
        new Float64Array(buffer, 8, 4),
        new BigInt64Array(buffer),
        new Uint16Array(buffer, pageSize - 2),
      ];
      const bytes = views[0] as Uint8Array;
      bytes.fill(0x5a);
      assertEquals(buffer.transfer(0).byteLength, 0);
      assertEquals(buffer.byteLength, 0);
      assertEquals(buffer.detached, true);
      for (const view of views) assertEquals([view.length, view.byteLength, view.byteOffset], [0, 0, 0]);

      const again = new Uint8Array(native.wrap(address, pageSize));
      assert(again.every((byte) => byte === 0x5a));
      again.fill(1);
      assertEquals(bytes[0], undefined);
      (again.buffer as ArrayBuffer).transfer(0);
    });
  });

  it("typed arrays then read undefined and ignore writes; their methods and a DataView throw", () => {
    withPage((address) => {
      const buffer = native.wrap(address, pageSize);
      const bytes = new Uint8Array(buffer);
      const view = new DataView(buffer);
      view.setInt32(0, -1);
      buffer.transfer(0);
      bytes[0] = 9;
      assertEquals(bytes[0], undefined);
      assertThrows(() => bytes.fill(9), TypeError);
      assertThrows(() => bytes.subarray(0), TypeError);
      assertThrows(() => view.getInt32(0), TypeError);
      assertThrows(() => view.byteLength, TypeError);
      assertThrows(() => new Uint8Array(buffer), TypeError);
      const again = new Uint8Array(native.wrap(address, 8));
      assertEquals([...again], [255, 255, 255, 255, 0, 0, 0, 0]);
      (again.buffer as ArrayBuffer).transfer(0);
    });
  });

  it("works while optimised code is using the view", () => {
    withPage((address) => {
      const bytes = new Uint8Array(native.wrap(address, pageSize));
      const sum = (view: Uint8Array): number => {
        let total = 0;
        for (let index = 0; index < 64; index++) total += view[index] ?? 1000;
        return total;
      };
      for (let round = 0; round < 20_000; round++) sum(bytes);
      (bytes.buffer as ArrayBuffer).transfer(0);
      source.protect(address, pageSize, "none"); // a read of the old memory would now end the process
      assertEquals(sum(bytes), 64_000);
    });
  });

  it("memory can be wrapped and detached over and over, twice at a time too", () => {
    withPage((address) => {
      for (let round = 0; round < 1000; round++) {
        const first = new Uint8Array(native.wrap(address, pageSize));
        const second = new Uint8Array(native.wrap(address, pageSize));
        first[round] = 7;
        assertEquals(second[round], 7);
        (first.buffer as ArrayBuffer).transfer(0);
        assertEquals(second.length, pageSize);
        (second.buffer as ArrayBuffer).transfer(0);
      }
    });
  });

  it("transfer() to any other length takes the native memory along, to a buffer that still shows it", () => {
    // Why wraps.ts exists. A runtime that copies here would be safer, and wraps.ts not needed.
    for (const take of [(b: ArrayBuffer) => b.transfer(), (b: ArrayBuffer) => structuredClone(b, { transfer: [b] })]) {
      const address = source.reserve(pageSize, 1);
      source.commit(address, pageSize);
      const bytes = source.wrap(address, pageSize);
      const stolen = new Uint8Array(take(bytes.buffer as ArrayBuffer));
      source.unwrap(bytes);
      const again = source.wrap(address, pageSize);
      again[0] = 77;
      assertEquals([bytes.length, stolen.length, stolen[0]], [0, pageSize, 77]);
      source.unwrap(again);
      source.unmap(address, pageSize); // keeps the page: on Windows as it is, elsewhere as fresh memory
      assertEquals(stolen[0], isWindows ? 77 : 0);
    }
  });
});

describe("wrapping native memory", () => {
  it("an ArrayBuffer over native memory shows it without a copy", () => {
    withPage((address) => {
      const first = new Uint8Array(native.wrap(address, pageSize));
      const second = new Uint8Array(native.wrap(address + 8, 8));
      first[8] = 3;
      assertEquals(second[0], 3);
      second[7] = 4;
      assertEquals(first[15], 4);
      source.unwrap(first);
      source.unwrap(second);
    });
  });

  it("the collector never frees it", () => {
    withPage((address) => {
      for (let round = 0; round < 200; round++) new Uint8Array(native.wrap(address, pageSize)).fill(round);
      collectGarbage();
      const bytes = new Uint8Array(native.wrap(address, pageSize));
      assert(bytes.every((byte) => byte === 199));
      (bytes.buffer as ArrayBuffer).transfer(0);
    });
    collectGarbage();
  });

  it("the collector never frees it after a detach either, nor when it is unmapped by then", () => {
    for (let round = 0; round < 50; round++) {
      withPage((address) => {
        (native.wrap(address, pageSize)).transfer(0);
      });
    }
    collectGarbage();
  });

  it("a buffer as large as the runtime says can be made, and in Bun not a byte more", () => {
    const largest = runtimeName === "bun" ? 2 ** 32 : 2 ** 40;
    assertEquals(native.maxWrapBytes, largest);
    withPage((address) => { // nothing is touched, so nothing needs to be behind the page
      const buffer = native.wrap(address, largest);
      assertEquals(buffer.byteLength, largest);
      assertEquals(new Uint8Array(buffer).length, largest);
      buffer.transfer(0);
      if (runtimeName === "bun") assertThrows(() => native.wrap(address, largest + 1), RangeError);
    });
  });

  it("Bun refuses a length of 0, Node copies unless told not to", () => {
    withPage((address) => {
      if (runtimeName === "bun") assertThrows(() => native.wrap(address, 0));
      if (runtimeName === "node") {
        const ffi = getBuiltinModule("node:ffi") as { toArrayBuffer(pointer: bigint, length: number): ArrayBuffer };
        const copy = new Uint8Array(ffi.toArrayBuffer(BigInt(address), 8));
        const bytes = source.wrap(address, 8);
        bytes[0] = 1;
        assertEquals(copy[0], 0);
        source.unwrap(bytes);
      }
    });
  });
});

describe("Atomics on native memory", () => {
  it("work on integer views that are not shared, in optimised code too", () => {
    withPage((address) => {
      const buffer = native.wrap(address, pageSize);
      const words = new Int32Array(buffer);
      const shorts = new Uint16Array(buffer, 64);
      const longs = new BigInt64Array(buffer, 128);
      for (let round = 0; round < 20_000; round++) {
        Atomics.add(words, 0, 3);
        Atomics.compareExchange(words, 1, round, round + 1);
        Atomics.add(shorts, 0, 1);
      }
      assertEquals([words[0], words[1], shorts[0]], [60_000, 20_000, 20_000]);
      assertEquals(Atomics.exchange(words, 0, -5), 60_000);
      assertEquals(Atomics.load(words, 0), -5);
      Atomics.store(longs, 0, 2n ** 60n);
      assertEquals(Atomics.sub(longs, 0, 1n), 2n ** 60n);
      assertEquals(longs[0], 2n ** 60n - 1n);
      assertEquals(Atomics.isLockFree(4), true);
      buffer.transfer(0);
    });
  });

  it("Atomics.wait is not allowed on them, and Atomics.notify wakes nobody", () => {
    withPage((address) => {
      const words = new Int32Array(native.wrap(address, pageSize));
      assertThrows(() => Atomics.wait(words, 0, 0, 1), TypeError);
      assertEquals(Atomics.notify(words, 0), 0);
      (words.buffer as ArrayBuffer).transfer(0);
    });
  });
});

describe("64-bit values through FFI", { ignore: isWindows }, () => {
  it("arrive and return exactly at every edge, in each of our 64-bit types", () => {
    // long long llabs(long long) gives back what it gets, below 2^63.
    for (const type of ["i64", "usize", "pointer"] as const) {
      const symbols = { llabs: { parameters: [type], result: type } } as const satisfies SymbolTable;
      const { llabs } = openLibrary(native, platform, symbols);
      for (const value of EDGES) {
        const result = llabs(value);
        assertStrictEquals(result, value, `${type} ${value}`);
      }
    }
  });

  it("int is signed and unsigned int is not", () => {
    const signed = { abs: { parameters: ["i32"], result: "i32" } } as const satisfies SymbolTable;
    assertEquals(openLibrary(native, platform, signed).abs(-5), 5);
    // uint32_t htonl(uint32_t)
    const unsigned = { htonl: { parameters: ["u32"], result: "u32" } } as const satisfies SymbolTable;
    const { htonl } = openLibrary(native, platform, unsigned);
    assertEquals(htonl(htonl(0xfffffffe)), 0xfffffffe);
    assertEquals(htonl(0xff), 0xff000000);
  });

  it("MAP_FAILED is the number -1 in our types, and errno follows at once", { ignore: !isLinux }, () => {
    const libc = openLibrary(native, platform, LINUX_SYMBOLS);
    const errno = new Int32Array(native.wrap(libc.__errno_location(), 4));
    for (let round = 0; round < 2000; round++) {
      assertStrictEquals(libc.mmap(0, 2 ** 52, 0, 0x22, -1, 0), -1);
      const afterMmap = errno[0];
      assertStrictEquals(libc.munmap(1, pageSize), -1);
      const afterMunmap = errno[0];
      // An EBADF in between must not be mistaken for either.
      libc.mmap(0, pageSize, 0, 0x02, -1, 0);
      assertEquals([afterMmap, afterMunmap, errno[0]], [12, 22, 9]);
    }
  });

  it("MAP_FAILED is what each runtime was measured to give in its own types", { ignore: !isLinux }, () => {
    const types = { bun: "ptr", deno: "pointer", node: "pointer" };
    const raw = openRaw(types[runtimeName]);
    const failed = raw(2 ** 52);
    if (runtimeName === "deno") {
      const { Deno } = globalThis as unknown as { Deno: { UnsafePointer: { value(pointer: unknown): bigint } } };
      assertEquals(typeof failed, "object");
      assertNotEquals(failed, null);
      assertEquals(Deno.UnsafePointer.value(failed), 2n ** 64n - 1n);
    } else {
      assertEquals(failed, 2n ** 64n - 1n); // a BigInt in Bun, although good pointers are numbers
    }
    if (runtimeName === "bun") assertEquals(typeof raw(pageSize), "number");
  });

  /** `mmap` of `length` bytes bound in the runtime's own way, with the runtime's own pointer type as result. */
  function openRaw(pointer: string): (length: number) => unknown {
    if (runtimeName === "deno") {
      const { Deno } = globalThis as unknown as {
        Deno: { dlopen(name: string, symbols: unknown): { symbols: { mmap(...args: unknown[]): unknown } } };
      };
      const parameters = ["u64", "u64", "i32", "i32", "i32", "i64"];
      const { mmap } = Deno.dlopen("libc.so.6", { mmap: { parameters, result: pointer } }).symbols;
      return (length) => mmap(0n, BigInt(length), 0, 0x22, -1, 0n);
    }
    if (runtimeName === "bun") {
      const ffi = getBuiltinModule("bun:ffi") as {
        dlopen(name: string, symbols: unknown): { symbols: { mmap(...args: unknown[]): unknown } };
      };
      const args = ["u64_fast", "u64_fast", "i32", "i32", "i32", "i64_fast"];
      const { mmap } = ffi.dlopen("libc.so.6", { mmap: { args, returns: pointer } }).symbols;
      return (length) => mmap(0, length, 0, 0x22, -1, 0);
    }
    const ffi = getBuiltinModule("node:ffi") as {
      dlopen(name: string, symbols: unknown): { functions: { mmap(...args: unknown[]): unknown } };
    };
    const parameters = ["uint64", "uint64", "int32", "int32", "int32", "int64"];
    const { mmap } = ffi.dlopen("libc.so.6", { mmap: { arguments: parameters, return: pointer } }).functions;
    return (length) => mmap(0n, BigInt(length), 0, 0x22, -1, 0n);
  }
});

describe("loading", () => {
  it("bun:ffi and node:ffi load synchronously", () => {
    if (runtimeName === "bun") assertNotEquals(getBuiltinModule("bun:ffi"), undefined);
    if (runtimeName === "node") assertNotEquals(getBuiltinModule("node:ffi"), undefined);
    assertEquals(getBuiltinModule("node:no-such-module"), undefined);
  });

  it("importing the package does nothing that shows: no library, no permission, no output", async () => {
    const { code, stdout, stderr } = await runSource(
      `import * as offheap from "${rootUrl}mod.ts"; console.log(typeof offheap.systemPageSource);`,
      { denoFlags: ["--no-prompt"] },
    );
    assertEquals([code, stdout.trim(), stderr], [0, "function", ""]);
  });

  it("every worker thread loads its own, with its own errno", async () => {
    const { code, stdout, stderr } = await runSource(`
      import { systemPageSource } from "${rootUrl}ffi/system_page_source.ts";
      import { isMainThread, parentPort, Worker } from "node:worker_threads";
      function attempt() {
        const source = systemPageSource();
        let message = "";
        try { source.reserve(2 ** 50, 1); } catch (error) { message = error.message; }
        return message;
      }
      if (isMainThread) {
        console.log(attempt());
        const worker = new Worker(new URL(import.meta.url));
        worker.on("message", (message) => { console.log(message); console.log(attempt()); worker.terminate(); });
      } else parentPort.postMessage(attempt());
    `);
    assertEquals(stderr, "");
    assertEquals(code, 0);
    const lines = stdout.trim().split("\n");
    assertEquals(lines.length, 3);
    for (const line of lines) assert(line.startsWith("Cannot reserve 1125899906842624 bytes: "), line);
    assertEquals(new Set(lines).size, 1);
  });
});
