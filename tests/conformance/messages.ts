/**
 * Conformance, section P: what the errors say. Users read these at night, so the facts must be in them.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import {
  AllocatorError,
  DisposedError,
  formatAddress,
  InvalidFreeError,
  OutOfMemoryError,
  UseAfterFreeError,
} from "../../src/errors.ts";
import type { ConformanceCase, Trial } from "./case.ts";
import { assertInvalidFreeError, thrownBy } from "./support.ts";

/** The message of what an action throws, which must be an error of this class with this code. */
function messageOf(action: () => unknown, errorClass: new (...args: never[]) => Error, code?: string): string {
  const error = thrownBy(action, "an action that must fail");
  if (!(error instanceof errorClass)) fail(`expected a ${errorClass.name}, got ${String(error)}`);
  if (code !== undefined) {
    assert(error instanceof AllocatorError, `${errorClass.name} is no AllocatorError`);
    assertEquals([error.code, error.name], [code, errorClass.name]);
  }
  assert(error.message.startsWith("Cannot "), error.message);
  assert(!error.message.endsWith("."), `the message ends in a full stop: ${error.message}`);
  assert(!/undefined|NaN|\[object/.test(error.message), `the message has a hole: ${error.message}`);
  return error.message;
}

function assertSays(message: string, ...facts: (string | number)[]): void {
  for (const fact of facts) {
    if (!message.includes(`${fact}`)) fail(`the message does not say ${fact}: ${message}`);
  }
}

function invalidFrees(trial: Trial): void {
  const allocator = trial.make();
  const size = 200;
  const address = allocator.allocate(size);
  const actions = [
    { action: "free", call: (p: number) => allocator.free(p) },
    { action: "resize", call: (p: number) => allocator.resize(p, 8) },
    { action: "reallocate", call: (p: number) => allocator.reallocate(p, 8) },
    { action: "view", call: (p: number) => allocator.view(p) },
    { action: "", call: (p: number) => allocator.usableSize(p) },
  ];
  for (const { action, call } of actions) {
    const interior = messageOf(() => call(address + 24), InvalidFreeError, "ERR_INVALID_FREE");
    assertSays(interior, `Cannot ${action}`, formatAddress(address + 24), formatAddress(address), 24);
    assertSays(messageOf(() => call(address + 1), InvalidFreeError, "ERR_INVALID_FREE"), "1 byte ");
    const foreign = messageOf(() => call(4096), InvalidFreeError, "ERR_INVALID_FREE");
    assertSays(foreign, `Cannot ${action}`, "0x1000");
    const fraction = messageOf(() => call(12.5), InvalidFreeError, "ERR_INVALID_FREE");
    assertSays(fraction, "12.5");
    const negative = messageOf(() => call(-4096), InvalidFreeError, "ERR_INVALID_FREE");
    assertSays(negative, "-4096");
  }
  allocator.free(address);
  for (const { action, call } of actions) {
    const double = messageOf(() => call(address), InvalidFreeError, "ERR_INVALID_FREE");
    assertSays(double, `Cannot ${action}`, formatAddress(address), "freed");
  }
  const error = thrownBy(() => allocator.free(address), "a double free");
  assert(error instanceof InvalidFreeError);
  assertInvalidFreeError(error, address, ["double"], "a double free");
}

/** The cases of section P. */
export const MESSAGE_CASES: readonly ConformanceCase[] = [
  { id: "P", name: "InvalidFreeError says the action, the address, and where in which block it is", run: invalidFrees },
  {
    id: "P",
    name: "OutOfMemoryError says the size, and the limit where there is one",
    run(trial) {
      const allocator = trial.make();
      assertSays(messageOf(() => allocator.allocate(2 ** 50), OutOfMemoryError, "ERR_OUT_OF_MEMORY"), 2 ** 50);
      if (!trial.expected.limitable) return;
      const limited = trial.make({ limit: 1000 });
      limited.allocate(600);
      const message = messageOf(() => limited.allocate(500), OutOfMemoryError, "ERR_OUT_OF_MEMORY");
      assertSays(message, 500, 600, 1000);
    },
  },
  {
    id: "P",
    name: "RangeError and TypeError name the value and what it was meant to be",
    run(trial) {
      const allocator = trial.make();
      const address = allocator.allocate(10);
      assertSays(messageOf(() => allocator.allocate(-5), RangeError), "-5", "size");
      assertSays(messageOf(() => allocator.allocate(1.5), RangeError), "1.5", "size");
      assertSays(messageOf(() => allocator.allocate(8, 48), RangeError), "48", "alignment", "power of two");
      assertSays(messageOf(() => allocator.allocate("64" as unknown as number), TypeError), '"64"', "size", "number");
      assertSays(messageOf(() => allocator.allocate(8, 16n as unknown as number), TypeError), "16n", "alignment");
      assertSays(messageOf(() => allocator.free(null as unknown as number), TypeError), "null", "address", "number");
      const tooLong = allocator.usableSize(address) + 1;
      assertSays(messageOf(() => allocator.view(address, tooLong), RangeError), tooLong, formatAddress(address));
      assertSays(messageOf(() => allocator.array(Uint8Array, -1), RangeError), "-1");
    },
  },
  {
    id: "P",
    name: "UseAfterFreeError says what was tried and which buffer",
    run(trial) {
      const allocator = trial.make();
      const buffer = allocator.buffer(64);
      const where = formatAddress(buffer.address);
      buffer.free();
      assertSays(messageOf(() => buffer.bytes, UseAfterFreeError, "ERR_USE_AFTER_FREE"), where, "freed");
      assertSays(messageOf(() => buffer.resize(3), UseAfterFreeError, "ERR_USE_AFTER_FREE"), where, "resize", "freed");
      assertSays(messageOf(() => buffer.free(), InvalidFreeError, "ERR_INVALID_FREE"), where, "freed");
    },
  },
  {
    id: "P",
    name: "DisposedError says what was tried",
    run(trial) {
      const allocator = trial.make();
      const address = allocator.allocate(10);
      allocator[Symbol.dispose]();
      assertSays(messageOf(() => allocator.allocate(1), DisposedError, "ERR_DISPOSED"), "allocate", "disposed");
      const message = messageOf(() => allocator.free(address), DisposedError, "ERR_DISPOSED");
      assertSays(message, "free", formatAddress(address), "disposed");
    },
  },
];
