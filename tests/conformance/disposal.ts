/**
 * Conformance, section F, after dispose: every method says so, views are empty, and nothing is touched.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import type { Allocator } from "../../src/allocator.ts";
import { DisposedError } from "../../src/errors.ts";
import type { Address } from "../../src/page_source.ts";
import type { ConformanceCase, Trial } from "./case.ts";
import { ADDRESS_METHODS, describeError, thrownBy, usedSizes } from "./support.ts";

/** Every method, as it is called on a disposed allocator. */
function everyMethod(allocator: Allocator, address: Address): { name: string; call: () => unknown }[] {
  return [
    { name: "allocate()", call: () => allocator.allocate(16) },
    { name: "allocate(0)", call: () => allocator.allocate(0) },
    { name: "allocate() of a huge block", call: () => allocator.allocate(2 ** 24) },
    { name: "allocate() at 1 MiB", call: () => allocator.allocate(16, 2 ** 20) },
    { name: "tryAllocate()", call: () => allocator.tryAllocate(16) },
    { name: "allocateZeroed()", call: () => allocator.allocateZeroed(16) },
    { name: "reallocate(0, n)", call: () => allocator.reallocate(0, 16) },
    { name: "free(0)", call: () => allocator.free(0) },
    { name: "owns()", call: () => allocator.owns(address) },
    { name: "owns(0)", call: () => allocator.owns(0) },
    { name: "array()", call: () => allocator.array(Float64Array, 2) },
    { name: "freeArray()", call: () => allocator.freeArray(new Uint8Array(8)) },
    { name: "addressOf()", call: () => allocator.addressOf(new Uint8Array(8)) },
    { name: "buffer()", call: () => allocator.buffer(16) },
    { name: "blocks()", call: () => [...allocator.blocks()] },
    { name: "stats()", call: () => allocator.stats() },
    { name: "check()", call: () => allocator.check() },
    { name: "trim()", call: () => allocator.trim() },
    ...ADDRESS_METHODS.flatMap((method) =>
      [address, address + 1, 4096].map((p) => ({ name: `${method.name}`, call: () => method.call(allocator, p) }))
    ),
  ];
}

function afterDispose(trial: Trial): void {
  for (const used of [false, true]) {
    const { allocator, recorder } = trial.open();
    let address: Address = 4096;
    const views: ArrayBufferView[] = [];
    if (used) {
      for (const size of [100, ...usedSizes(trial.expected, 4)]) {
        address = allocator.allocate(size);
        views.push(allocator.view(address));
      }
      views.push(allocator.array(Float64Array, 20), allocator.buffer(300).bytes, allocator.view(allocator.allocate(0)));
    }
    const walk = allocator.blocks()[Symbol.iterator]();
    allocator[Symbol.dispose]();
    const complaint = recorder.complaint();
    assertEquals(complaint, "");
    for (const { name, call } of everyMethod(allocator, address)) {
      const error = thrownBy(call, `${name} after dispose`);
      if (!(error instanceof DisposedError)) fail(`${name} after dispose threw ${describeError(error)}`);
      assertEquals([error.code, error.name], ["ERR_DISPOSED", "DisposedError"]);
      assert(/^Cannot .+: the .+ is disposed$/.test(error.message), `${name} after dispose says ${error.message}`);
    }
    try {
      walk.next(); // may end or throw, and must not touch memory
    } catch (error) {
      assert(error instanceof DisposedError, `a walk that outlived dispose threw ${describeError(error)}`);
    }
    if (trial.expected.isolating) {
      for (const view of views) assertEquals(view.byteLength, 0, "a view is not empty after dispose");
    }
    const calls = recorder.calls;
    for (let i = 0; i < 3; i++) allocator[Symbol.dispose]();
    assertEquals(recorder.calls, calls, "a second dispose did something");
  }
}

/** The case F4. */
export const DISPOSAL_CASES: readonly ConformanceCase[] = [
  { id: "F4", name: "after dispose every method throws DisposedError, and dispose does nothing", run: afterDispose },
];
