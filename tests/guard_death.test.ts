/**
 * What guarding is for: native code that leaves its block, or comes back after it was freed, ends its process at that
 * instruction. Each case is a child process, and beside each that must die is one that does a byte less and must not.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { GuardAllocator, type GuardAllocatorOptions } from "../mod.ts";
import { isLinux, rootUrl, runFile, runSource, runtimeName } from "./support/runtime.ts";

/** One call of `memset` in a child. */
interface Write {
  readonly options?: Omit<GuardAllocatorOptions, "source">;
  readonly size: number;
  readonly offset?: number;
  readonly length: number;
  readonly freed?: boolean;
  readonly others?: number;
}

/** How it ended, and what the runtime wrote about it. */
async function run(write: Write): Promise<{ outcome: "survived" | "died"; target: number; stderr: string }> {
  const { options = {}, size, offset = 0, length, freed = false, others = 0 } = write;
  const args = [JSON.stringify(options), ...[size, offset, length, freed, others].map(String)];
  const { code, signal, stdout, stderr } = await runFile("tests/fixtures/guard_overrun.ts", { args });
  const lines = stdout.trim().split(/\r?\n/);
  const [, target] = /^alive (\d+)$/.exec(lines[0]!) ?? [];
  assert(target !== undefined, `${stdout}${stderr}`);
  if (lines.length === 1) {
    // 139, a signal, or whatever code the runtime's crash handler has; Windows has no signals.
    assert(code !== 0 || signal !== null, "the child ended without a word and without an error");
    return { outcome: "died", target: Number(target), stderr };
  }
  assertEquals([lines[1], code], ["survived", 0], stderr);
  if (!freed && offset === 0 && length >= size) assertEquals(lines[2], "all of the block was written");
  return { outcome: "survived", target: Number(target), stderr };
}

async function outcome(write: Write): Promise<"survived" | "died"> {
  return (await run(write)).outcome;
}

describe("an overrun from C", () => {
  it("of a precise block faults at the first byte behind it, and not before", async () => {
    for (const size of [13, 4096, 5001]) {
      const options = { precise: true };
      assertEquals(await outcome({ options, size, length: size }), "survived", `${size} bytes`);
      assertEquals(await outcome({ options, size, length: size + 1 }), "died", `${size} bytes, and one more`);
    }
  });

  it("of a block whose size is a multiple of 16 faults at the first byte behind it without further ado", async () => {
    assertEquals(await outcome({ size: 48, length: 48 }), "survived");
    assertEquals(await outcome({ size: 48, offset: 48, length: 1 }), "died");
  });

  it("of any other block faults behind its 16-byte alignment", async () => {
    assertEquals(await outcome({ size: 13, length: 16 }), "survived");
    assertEquals(await outcome({ size: 13, length: 17 }), "died");
  });

  it("of a block that starts on a guard page faults at the byte before it, and not at its first", async () => {
    const options = { placement: "start" } as const;
    assertEquals(await outcome({ options, size: 13, length: 13 }), "survived");
    assertEquals(await outcome({ options, size: 13, offset: -1, length: 1 }), "died");
  });

  // Of the runtimes only this one writes where the fault was.
  it("faults at the very address", { ignore: runtimeName !== "bun" || !isLinux }, async () => {
    const writes: Write[] = [
      { options: { precise: true }, size: 13, offset: 13, length: 1 },
      { options: { placement: "start" }, size: 13, offset: -1, length: 1 },
      { size: 5000, offset: 4321, length: 1, freed: true },
    ];
    for (const write of writes) {
      const { target, stderr } = await run(write);
      const [, fault] = /Segmentation fault at address 0x([0-9A-F]+)/.exec(stderr) ?? [];
      assertEquals(parseInt(fault ?? "", 16), target, stderr);
    }
  });

  it("of a block of no bytes faults at once", async () => {
    assertEquals(await outcome({ size: 0, length: 0 }), "survived");
    assertEquals(await outcome({ size: 0, length: 1 }), "died");
  });
});

describe("use after free from C", () => {
  it("faults at once", async () => {
    assertEquals(await outcome({ size: 100, length: 1, freed: true }), "died");
  });

  it("faults after a thousand other blocks have come and gone", async () => {
    assertEquals(await outcome({ size: 100, offset: 99, length: 1, freed: true, others: 1000 }), "died");
  });
});

describe("views of a guarded block", () => {
  it("never fault: a loop that was compiled over a view reads nothing once the block is freed", async () => {
    const { code, signal, stdout, stderr } = await runSource(`
      import { GuardAllocator } from "${rootUrl}mod.ts";
      function sum(view: Uint8Array): number {
        let total = 0;
        for (let i = 0; i < 4096; i++) total += view[i] ?? 0;
        return total;
      }
      function write(view: Uint8Array): void {
        for (let i = 0; i < 4096; i++) view[i] = i;
      }
      const guard = new GuardAllocator();
      let dead = 0;
      for (let round = 0; round < 300; round++) {
        const address = guard.allocate(4096);
        const view = guard.view(address).fill(1);
        const array = new Float64Array(view.buffer);
        for (let i = 0; i < 20; i++) sum(view);
        guard.free(address);
        write(view);
        array[0] = 1;
        if (sum(view) === 0 && view.length === 0 && array.length === 0) dead++;
      }
      console.log(dead);
    `);
    assertEquals({ code, signal, stdout: stdout.trim(), stderr }, { code: 0, signal: null, stdout: "300", stderr: "" });
  });

  it("are empty after free, reallocate and dispose, and not before", () => {
    const guard = new GuardAllocator();
    const first = guard.allocate(100);
    const [a, b] = [guard.view(first), guard.view(first, 10)];
    assertEquals([a.buffer === b.buffer, a.buffer.byteLength, a.length, b.length], [true, 100, 100, 10]);
    const second = guard.reallocate(first, 200);
    assertEquals([a.length, b.length, a[0]], [0, 0, undefined]);
    const c = guard.view(second);
    guard.free(second);
    assertEquals([c.length, c.buffer.byteLength], [0, 0]);
    const d = guard.view(guard.allocate(50));
    assertEquals(d.length, 50);
    guard[Symbol.dispose]();
    assertEquals(d.length, 0);
  });
});
