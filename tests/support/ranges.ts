/**
 * Address ranges to be tested.
 *
 * @module
 */
import type { PageSource } from "../../mod.ts";
import { AddressRange } from "../../src/address_range.ts";
import { reserveRange } from "../../src/region.ts";
import { UNIT } from "../../src/run_record.ts";
import { Recorder } from "./recording_source.ts";

/** Gives a range back the way a heap does. */
export function disposeRange(range: AddressRange): void {
  range.unwrapAll();
  range.dispose((giveBack) => giveBack());
}

/** A range of at least `least` bytes. */
export function rangeOver(source: PageSource, byteLength: number, least: number): AddressRange {
  return new AddressRange(source, reserveRange(source, byteLength, least));
}

/** A range over a recorded source; `complaint` disposes it and says what is left. */
export function recordedRange(
  inner: PageSource,
  byteLength: number,
  pageSize = inner.pageSize,
): { range: AddressRange; recorder: Recorder; complaint: () => string } {
  const recorder = new Recorder(inner, { pageSize });
  const range = rangeOver(recorder.source, byteLength, UNIT);
  return {
    range,
    recorder,
    complaint() {
      disposeRange(range);
      return recorder.complaint();
    },
  };
}
