/**
 * The model of a fault test: what is live, what must be the case when an operation fails, and how to verify it.
 *
 * ```text
 *   system source ── Recorder ── failing source ── allocator ── scenario
 *                    what is held   fails the i-th    under test     model: blocks, buffers, vectors
 *                    in truth       request
 * ```
 *
 * A scenario (fault_scenarios.ts) does everything through a {@link FaultRun}, which keeps the model and verifies after each operation that
 * failed: it threw `OutOfMemoryError` (nothing else may come of a source that fails), the live blocks are those of the
 * model with their contents, `check()` passes, and every byte that the page source holds is one that the allocator knows of.
 *
 * @module
 */
import { assert, assertEquals, assertThrows, fail } from "@std/assert";
import {
  type Address,
  type Allocator,
  DisposedError,
  type FailingPageSource,
  type NativeBuffer,
  OutOfMemoryError,
  type Vec,
} from "../mod.ts";
import { describeError } from "./conformance/support.ts";
import type { Subject } from "./subjects.ts";
import type { Recorder } from "./support/recording_source.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** A block of the model. */
interface Held {
  address: Address;
  size: number;
  readonly seed: number;
}

/** From one stamped byte of a block to the next: an odd number, so that every part of an OS page is met. */
const STAMP_STEP = 32_749;

function stamp(view: Uint8Array, seed: number): void {
  for (let i = 0; i < view.length; i += STAMP_STEP) view[i] = seed + i;
  const edge = Math.min(view.length, 24);
  for (let i = 0; i < edge; i++) view[i] = view[view.length - 1 - i] = seed * 3 + 1;
}

/** Throws unless the first `length` bytes of what was stamped with a size of `size` are as they were. */
function verifyStamp(view: Uint8Array, seed: number, size: number, length: number, what: string): void {
  const edge = Math.min(size, 24);
  for (let i = 0; i < length; i += i < edge || i >= size - edge - 1 ? 1 : STAMP_STEP - (i % STAMP_STEP)) {
    const isEdge = i < edge || i >= size - edge;
    const expected = (isEdge ? seed * 3 + 1 : seed + i) & 255;
    const isStamped = isEdge || i % STAMP_STEP === 0;
    if (isStamped && view[i] !== expected) {
      fail(`${what} holds ${view[i]} instead of ${expected} at offset ${i} of ${size}`);
    }
  }
}

/** One run of a scenario over a source that fails. */
export class FaultRun {
  /** The allocator under test. */
  readonly allocator: Allocator;
  /** What can be expected of it. */
  readonly subject: Subject;
  /** The live blocks, oldest first. */
  readonly blocks: Held[] = [];
  /** The live buffers. */
  readonly buffers: { readonly buffer: NativeBuffer; readonly seed: number }[] = [];
  /** The live vectors. */
  readonly vecs: Vec<Float64Array>[] = [];
  /** What the source held in truth. */
  readonly recorder: Recorder;
  /** How many operations failed. */
  failures = 0;
  /** Whether the scenario has disposed the allocator. */
  disposed = false;
  readonly #source: FailingPageSource;
  #seed = 1;

  /** For an allocator that is made already. */
  constructor(allocator: Allocator, subject: Subject, recorder: Recorder, source: FailingPageSource) {
    this.allocator = allocator;
    this.subject = subject;
    this.recorder = recorder;
    this.#source = source;
  }

  /** Whether a block of `size` bytes may be asked for. */
  fits(size: number, alignment = 16): boolean {
    const { largestBlock = 16 * MIB, largestAlignment = 64 * KIB } = this.subject;
    return size <= largestBlock && alignment <= largestAlignment;
  }

  /** Does one operation; verifies everything and returns false when it fails. */
  attempt(what: string, operation: () => void): boolean {
    try {
      operation();
      return true;
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) fail(`${what} threw ${describeError(error)}`);
    }
    this.failures++;
    this.verify(what);
    return false;
  }

  /** Verifies that the allocator and the model agree. */
  verify(what: string): void {
    const { allocator, blocks, buffers, vecs, recorder } = this;
    allocator.check();
    // Whatever is held in truth, the allocator knows of; free memory that it keeps for later is no leak.
    const { reservedBytes } = allocator.stats();
    if (this.subject.hidesReservations !== true) {
      assert(
        recorder.reservedBytes <= reservedBytes,
        `${recorder.reservedBytes} bytes are reserved after ${what} failed; ${reservedBytes} by stats()`,
      );
    }
    const expected = new Map<Address, number>();
    for (const { address, size } of blocks) expected.set(address, size);
    for (const { buffer } of buffers) {
      assert(!buffer.freed, `a buffer was freed by ${what}, which failed`);
      expected.set(buffer.address, buffer.byteLength);
    }
    for (const vec of vecs) if (vec.address !== 0) expected.set(vec.address, -1);
    let count = 0;
    for (const { address, requestedSize } of allocator.blocks()) {
      const size = expected.get(address);
      if (size === undefined) fail(`after ${what} failed, blocks() has ${address}, which is not live`);
      if (size !== -1) assertEquals(requestedSize, size, `the size of a block after ${what} failed`);
      count++;
    }
    assertEquals(count, expected.size, `live blocks by blocks(), after ${what} failed`);
    assertEquals(allocator.stats().liveBlocks, count, `live blocks by stats(), after ${what} failed`);
    this.verifyContents(what);
  }

  /** Verifies the contents of everything live. */
  verifyContents(what: string): void {
    for (const { address, size, seed } of this.blocks) {
      verifyStamp(this.allocator.view(address), seed, size, size, `a block of ${size} bytes after ${what}`);
    }
    for (const { buffer, seed } of this.buffers) {
      verifyStamp(buffer.bytes, seed, buffer.byteLength, buffer.byteLength, `a buffer after ${what}`);
    }
    for (const vec of this.vecs) vec.asArray().forEach((value, i) => assertEquals(value, i, `a vector after ${what}`));
  }

  /** Adds a live block to the model. */
  keep(address: Address, size: number): void {
    const seed = this.#seed++;
    // Before anything of it is verified, it is part of the model.
    const held = { address, size, seed };
    stamp(this.allocator.view(address), seed);
    this.blocks.push(held);
  }

  /** Allocates in one of the five ways, by turns. */
  allocate(size: number, alignment = 16): boolean {
    if (!this.fits(size, alignment)) return false;
    const { allocator } = this;
    const what = `allocation of ${size} bytes at ${alignment}`;
    switch (this.#seed % 4) {
      case 0:
        return this.#place(`zeroed ${what}`, size, () => {
          const address = allocator.allocateZeroed(size, alignment);
          this.#verifyZero(address, size);
          return address;
        });
      case 1:
        return this.#place(`tried ${what}`, size, () => {
          const address = allocator.tryAllocate(size, alignment);
          if (address === 0) throw new OutOfMemoryError("Cannot allocate: tryAllocate() returned 0", size);
          return address;
        });
      case 2:
        if (alignment > 16) break;
        return this.#place(
          `array of ${size} bytes`,
          size,
          () => allocator.addressOf(allocator.array(Uint8Array, size)),
        );
    }
    return this.#place(what, size, () => allocator.allocate(size, alignment));
  }

  /** Verifies that a new block reads as zero. One that cannot be seen, as its wrap fails, is given up. */
  #verifyZero(address: Address, size: number): void {
    let view: Uint8Array;
    try {
      view = this.allocator.view(address);
    } catch (error) {
      this.allocator.free(address);
      throw error;
    }
    for (let i = 0; i < size; i += i < 100 ? 1 : 997) assertEquals(view[i], 0, "allocateZeroed()");
  }

  #place(what: string, size: number, allocate: () => Address): boolean {
    let address = 0;
    // A view may be what fails; the block is live all the same, so stamping it is an operation of its own.
    if (!this.attempt(what, () => void (address = allocate()))) return false;
    return this.#stampNew(what, address, size);
  }

  #stampNew(what: string, address: Address, size: number): boolean {
    for (let tries = 0; tries < 3; tries++) {
      try {
        this.keep(address, size);
        return true;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) fail(`view() after ${what} threw ${describeError(error)}`);
        this.failures++;
      }
    }
    // The wraps fail for ever: a block that cannot be seen is given up.
    this.allocator.free(address);
    return false;
  }

  /** Gives a block another size. */
  reallocate(held: Held, size: number): boolean {
    if (!this.fits(size)) return false;
    const { allocator } = this;
    const { seed } = held;
    const before = held.size;
    const done = this.attempt(`reallocation from ${before} to ${size} bytes`, () => {
      held.address = allocator.reallocate(held.address, size);
      held.size = size;
    });
    if (!done) return false;
    let view: Uint8Array | undefined;
    for (let tries = 0; view === undefined && tries < 3; tries++) {
      try {
        view = allocator.view(held.address);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        this.failures++;
      }
    }
    if (view === undefined) {
      this.blocks.splice(this.blocks.indexOf(held), 1);
      allocator.free(held.address);
      return false;
    }
    verifyStamp(view, seed, before, Math.min(before, size), `a block of ${before} bytes, now of ${size},`);
    stamp(view, seed);
    return true;
  }

  /** Frees a block. */
  free(held: Held): boolean {
    return this.attempt(`free() of ${held.size} bytes`, () => {
      this.allocator.free(held.address);
      this.blocks.splice(this.blocks.indexOf(held), 1);
    });
  }

  /** Frees the blocks whose place in the model the predicate picks. */
  freeSome(pick: (place: number) => boolean): void {
    for (const held of this.blocks.filter((_, place) => pick(place))) this.free(held);
  }

  /** Makes an owned buffer. */
  buffer(size: number, alignment = 16): boolean {
    if (!this.fits(size, alignment)) return false;
    return this.attempt(`buffer(${size})`, () => {
      const buffer = this.allocator.buffer(size, { alignment });
      const seed = this.#seed++;
      stamp(buffer.bytes, seed);
      this.buffers.push({ buffer, seed });
    });
  }

  /** Gives a buffer another size. */
  resizeBuffer(place: number, size: number): boolean {
    const held = this.buffers[place];
    if (held === undefined || !this.fits(size)) return false;
    const { buffer, seed } = held;
    const before = buffer.byteLength;
    const done = this.attempt(`resize(${size}) of a buffer of ${before} bytes`, () => buffer.resize(size));
    if (!done) return false;
    const what = `a buffer of ${before} bytes, now of ${size},`;
    verifyStamp(buffer.bytes, seed, before, Math.min(before, size), what);
    stamp(buffer.bytes, seed);
    return true;
  }

  /** Frees a buffer. */
  freeBuffer(place: number): boolean {
    const held = this.buffers[place];
    if (held === undefined) return false;
    return this.attempt(`free() of a buffer of ${held.buffer.byteLength} bytes`, () => {
      held.buffer.free();
      this.buffers.splice(place, 1);
    });
  }

  /** Trims. */
  trim(): boolean {
    return this.attempt("trim()", () => {
      assert(this.allocator.trim() >= 0, "trim() returned less than 0");
    });
  }

  /**
   * Frees everything at once, in a way that may fail after the blocks are gone: then all of them must be, or none.
   */
  freeAllBy(what: string, operation: () => void): void {
    try {
      operation();
      this.#forget();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) fail(`${what} threw ${describeError(error)}`);
      this.failures++;
      if (this.allocator.stats().liveBlocks === 0) this.#forget();
      this.verify(what);
    }
  }

  #forget(): void {
    this.blocks.length = this.buffers.length = 0;
  }

  /**
   * Disposes the allocator. When giving back fails, the rest is given back all the same, what failed first is thrown,
   * and the allocator is disposed.
   */
  dispose(): void {
    const { allocator, recorder } = this;
    const { failures } = this.#source;
    const views = this.blocks.map(({ address }) => viewIfPossible(allocator, address));
    const bytes = this.buffers.map(({ buffer }) => buffer.bytes);
    this.disposed = true;
    let thrown: unknown;
    try {
      allocator[Symbol.dispose]();
    } catch (error) {
      thrown = error;
    }
    const injected = this.#source.failures - failures;
    if (thrown !== undefined) {
      if (!(thrown instanceof OutOfMemoryError)) fail(`dispose threw ${describeError(thrown)}`);
      assert(injected > 0, `dispose threw though no request failed: ${describeError(thrown)}`);
      this.failures++;
    }
    for (const view of [...views, ...bytes]) assertEquals(view.length, 0, "a view survived dispose");
    assertThrows(() => allocator.allocate(1), DisposedError);
    assertThrows(() => allocator.stats(), DisposedError);
    allocator[Symbol.dispose]();
    const left = recorder.mappings();
    if (injected === 0) assertEquals(recorder.complaint(), "", "after dispose");
    else if (thrown === undefined) {
      assert(this.subject.discardsInDispose === true && left.length === 0, "dispose swallowed a failure");
    }
    assert(left.length <= injected, `${left.length} mappings are left though ${injected} requests failed`);
    this.#source.rearm(Infinity);
    for (const { address, byteLength } of left) this.#source.unmap(address, byteLength);
    assertEquals(recorder.complaint(), "", "after what was left by dispose is unmapped");
  }

  /** The failures are over: everything works, and nothing is left behind. */
  finish(): void {
    if (this.disposed) return;
    this.#source.rearm(Infinity);
    const { allocator } = this;
    this.verify("the end of the failures");
    const size = Math.min(300_000, this.subject.largestBlock ?? Infinity);
    if (this.subject.runsOut !== true) allocator.free(allocator.allocateZeroed(size));
    for (const vec of this.vecs.splice(0)) vec[Symbol.dispose]();
    for (const { buffer } of this.buffers.splice(0)) buffer.free();
    for (const { address } of this.blocks.splice(0)) allocator.free(address);
    assertEquals(allocator.stats().liveBlocks, 0, "live blocks in the end");
    allocator.trim();
    allocator.check();
    const address = allocator.allocate(100);
    allocator.free(address);
    allocator[Symbol.dispose]();
    assertEquals(this.recorder.complaint(), "", "after dispose");
  }

  /** Gives everything back as far as it goes: after a failed test. */
  abandon(): void {
    this.#source.rearm(Infinity);
    try {
      this.allocator[Symbol.dispose]();
      for (const { address, byteLength } of this.recorder.mappings()) this.recorder.source.unmap(address, byteLength);
    } catch {
      // The failure that brought us here is the one to report.
    }
  }
}

function viewIfPossible(allocator: Allocator, address: Address): Uint8Array {
  try {
    return allocator.view(address);
  } catch {
    return new Uint8Array(0);
  }
}
