/**
 * The way back from a view to the address of its first byte.
 *
 * @module
 */
import { type AllocatorError, describeValue, InvalidFreeError, UseAfterFreeError } from "./errors.ts";
import type { Address } from "./page_source.ts";

/** Something that knows the buffers that views of its blocks are on. */
export interface ViewOrigins {
  /** The address of byte 0 of such a buffer; undefined for any other. */
  originOf(buffer: ArrayBufferLike): Address | undefined;
}

/**
 * The address of the first byte of `view`, or the violation that it is of no memory of the allocator, whose kind is `name`.
 *
 * @throws {TypeError} When it is no view at all.
 */
export function addressOfView(
  view: ArrayBufferView,
  action: string,
  name: string,
  origins: ViewOrigins,
): Address | AllocatorError {
  if (!ArrayBuffer.isView(view)) {
    throw new TypeError(`Cannot ${action} ${describeValue(view)}: it must be a typed array or DataView`);
  }
  const { buffer } = view;
  if (buffer.byteLength === 0 && (buffer as ArrayBuffer).detached === true) {
    return new UseAfterFreeError(`Cannot ${action} the view: its memory was freed and its buffer detached`);
  }
  const origin = origins.originOf(buffer);
  if (origin !== undefined) return origin + view.byteOffset;
  return new InvalidFreeError(action, 0, "foreign", `it is not of this ${name}'s memory`, "the view");
}
