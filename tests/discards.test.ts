/**
 * What of a range's free memory goes back, and when: before more is touched, after much was freed, and when it is asked for.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, OutOfMemoryError, systemPageSource } from "../mod.ts";
import { LARGE_RUN, PAGE_RUN, PAGE_UNITS, UNIT } from "../src/run_record.ts";
import { disposeRange, rangeOver, recordedRange } from "./support/ranges.ts";

const MIB = 2 ** 20;

describe("Discards", () => {
  it("much free memory goes back by itself: above 32 MiB and half of what is in use", () => {
    const { range, recorder, complaint } = recordedRange(systemPageSource(), 2 ** 28);
    const units = Array.from({ length: 100 }, () => range.take(256, 16, LARGE_RUN));
    // A hundred MiB are in use; a third is not enough.
    for (const unit of units.slice(0, 32)) range.release(unit);
    assertEquals(recorder.releasedBytes, 0);
    for (const unit of units.slice(32, 40)) range.release(unit);
    assert(recorder.releasedBytes >= 33 * MIB && recorder.releasedBytes <= 40 * MIB, `${recorder.releasedBytes}`);
    range.check();
    // The same few MiB over and over are kept.
    const released = recorder.releasedBytes;
    for (let i = 0; i < 500; i++) range.release(range.take(1024, 16, LARGE_RUN));
    assertEquals(recorder.releasedBytes, released);
    assertEquals(complaint(), "");
  });

  it("free memory goes back before new memory is touched, when nothing free fits", () => {
    const { range, recorder, complaint } = recordedRange(systemPageSource(), 2 ** 28);
    const take = (count: number) => range.take(count, 16, LARGE_RUN);
    // Free runs of 60 units between used ones, where nothing longer fits.
    const units = Array.from({ length: 40 }, () => take(60));
    for (let i = 1; i < 40; i += 2) range.release(units[i]!);
    assertEquals(recorder.releasedBytes, 0, "as long as it does not grow");
    take(61);
    take(61);
    const share = recorder.releasedBytes / (61 * UNIT);
    assert(share >= 1 && share < 4, `${share} times what was taken went back`);
    range.check();
    // The same memory is taken and freed again and again: that ends.
    const rounds = (count: number) => {
      for (let round = 0; round < count; round++) {
        const taken = Array.from({ length: 15 }, () => take(60));
        for (const unit of taken) range.release(unit);
      }
    };
    rounds(25);
    const released = recorder.releasedBytes;
    rounds(25);
    assertEquals(recorder.releasedBytes, released);
    range.check();
    assertEquals(complaint(), "");
  });

  it("a program that needs two kinds of memory in turns has both resident after some turns", () => {
    const { range, recorder, complaint } = recordedRange(systemPageSource(), 2 ** 28);
    const turn = (length: number) => {
      // Of each two the second stays free, so that runs of the other length do not fit.
      const units = Array.from({ length: 2_000 / length }, () => range.take(length, 16, LARGE_RUN));
      for (const unit of units) range.release(unit);
    };
    const pins = Array.from(
      { length: 60 },
      (_, i) => [range.take(i < 30 ? 100 : 70, 16, LARGE_RUN), range.take(1, 16, LARGE_RUN)],
    );
    for (const [unit] of pins) range.release(unit!);
    for (let i = 0; i < 20; i++) [100, 70].forEach(turn);
    const released = recorder.releasedBytes;
    for (let i = 0; i < 20; i++) [100, 70].forEach(turn);
    assertEquals(recorder.releasedBytes, released, "it was learned");
    range.check();
    assertEquals(complaint(), "");
  });

  it("what is kept for the next block goes back too, when free runs are not enough", () => {
    const { range, recorder, complaint } = recordedRange(systemPageSource(), 2 ** 28);
    let idle = [0, 0].map(() => range.take(PAGE_UNITS, PAGE_UNITS * UNIT, PAGE_RUN));
    const parked = Array.from({ length: 3 }, () => range.take(32, 16, LARGE_RUN));
    range.pageMemory = {
      untouchedUnits: 0,
      get idleUnits() {
        return idle.length * PAGE_UNITS;
      },
      releaseIdle() {
        for (const unit of idle) range.release(unit);
        idle = [];
      },
      discardUnused() {},
    };
    for (const unit of parked) range.releaseLarge(unit);
    assertEquals([range.runs.parked.total, range.runs.writtenUnits, recorder.releasedBytes], [96, 0, 0]);
    // Nothing that was written has such a length, and the pages alone are not enough.
    range.take(40, 16, LARGE_RUN);
    assertEquals([range.runs.parked.total, idle.length], [0, 0]);
    assert(recorder.releasedBytes > 2 * PAGE_UNITS * UNIT, `${recorder.releasedBytes}`);
    range.check();
    assertEquals(complaint(), "");
  });

  it("growing in place counts as taking, and does not make what is kept seem idle", () => {
    const { range, recorder, complaint } = recordedRange(systemPageSource(), 2 ** 28);
    range.release(range.take(10_240, 16, LARGE_RUN));
    // A burst of 40 MiB is given back once, and kept from then on, however often blocks grow in place in it.
    const burst = () => {
      const units = Array.from({ length: 20 }, () => {
        const unit = range.take(8, 16, LARGE_RUN, 512);
        assert(range.resize(unit, 512));
        return unit;
      });
      for (const unit of units) range.release(unit);
    };
    for (let i = 0; i < 2; i++) burst();
    const released = recorder.releasedBytes;
    assert(released >= 32 * MIB);
    for (let i = 0; i < 100; i++) burst();
    assertEquals(recorder.releasedBytes, released);
    range.check();
    assertEquals(complaint(), "");
  });

  it("take() swallows that memory cannot be given back", () => {
    const source = failingPageSource(systemPageSource(), Infinity, { operations: ["discard"] });
    const range = rangeOver(source, 2 ** 28, UNIT);
    const units = Array.from({ length: 40 }, () => range.take(60, 16, LARGE_RUN));
    for (let i = 1; i < 40; i += 2) range.release(units[i]!);
    source.rearm(0);
    range.take(61, 16, LARGE_RUN);
    const unit = range.take(61, 16, LARGE_RUN);
    assert(source.failures > 0 && unit !== -1);
    range.check();
    source.rearm(Infinity);
    disposeRange(range);
  });

  it("shrinking blocks counts as freeing memory", () => {
    const { range, recorder, complaint } = recordedRange(systemPageSource(), 2 ** 28);
    const units = Array.from({ length: 100 }, () => range.take(256, 16, LARGE_RUN));
    for (const unit of units) assert(range.resize(unit, 1));
    assert(recorder.releasedBytes >= 32 * MIB, `${recorder.releasedBytes} bytes of 99 MiB were given back`);
    assertEquals(complaint(), "");
  });

  it("release() swallows that memory cannot be given back; trim() reports it", () => {
    const source = failingPageSource(systemPageSource(), Infinity, { operations: ["discard", "decommit"] });
    const range = rangeOver(source, 2 ** 28, UNIT);
    const units = Array.from({ length: 60 }, () => range.take(256, 16, LARGE_RUN));
    source.rearm(0);
    for (const unit of units.slice(1)) range.release(unit);
    assert(source.failures > 0);
    assertThrows(() => range.trim(), OutOfMemoryError, "fails on purpose");
    source.rearm(Infinity);
    assert(range.trim() > 0);
    disposeRange(range);
  });

  it("an error of whatever kind is kept from who takes and frees; trim() passes it on", () => {
    const inner = systemPageSource();
    let thrown = 0;
    let wrong = false;
    const source = {
      ...inner,
      discard(address: number, byteLength: number): void {
        if (!wrong) return inner.discard(address, byteLength);
        thrown++;
        throw new EvalError("odd");
      },
    };
    const range = rangeOver(source, 2 ** 28, UNIT);
    const units = Array.from({ length: 60 }, () => range.take(256, 16, LARGE_RUN));
    wrong = true;
    for (const unit of units.slice(1)) range.release(unit);
    const freed = thrown;
    range.take(5000, 16, LARGE_RUN);
    assert(freed > 0 && thrown > freed, `${freed} of ${thrown}`);
    range.check();
    assertThrows(() => range.trim(), EvalError, "odd");
    wrong = false;
    assert(range.trim() > 0);
    range.check();
    disposeRange(range);
  });
});
