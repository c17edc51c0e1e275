/**
 * Opens what is measured, by the names of catalogue.ts.
 *
 * Each kind of subject has a null one: the same loop and the same stores with no allocator in it, which is what "net of
 * the loop" takes off.
 *
 * @module
 */
import { SUBJECTS } from "./catalogue.ts";
import { openOwnSubject } from "./own_subjects.ts";
import { openFfiMalloc, openThing, peerSubject } from "./peer_subjects.ts";
import type { AddressAllocator, HandleAllocator, Subject, SubjectOptions } from "./subject.ts";

/** Opens a subject by name; throws when it is not there. */
export async function openSubject(name: string, options: SubjectOptions = {}): Promise<Subject> {
  switch (name) {
    case "null":
      return { kind: "address", allocator: new NullAllocator(), close() {} };
    case "null-handles":
      return { kind: "handle", allocator: new NullHandleAllocator(), close() {} };
    case "ffi-malloc":
      return await openFfiMalloc();
    case "uint8array":
    case "buffer":
      return peerSubject(name);
    case "thi.ng":
      return await openThing(options.capacity ?? 2 ** 26);
  }
  if (SUBJECTS.some((subject) => subject.name === name)) return await openOwnSubject(name, options);
  throw new Error(`Unknown allocator ${name}; known are ${SUBJECTS.map(({ name }) => name).join(", ")}`);
}

/**
 * Numbers of the magnitude of real addresses, so that the drivers store doubles as they do with an allocator. Made from the
 * size, not from a counter: a counter in a field costs V8 a boxed double per call, which would be taken off our time.
 */
class NullAllocator implements AddressAllocator {
  allocate(size: number, _alignment?: number): number {
    return NULL_BASE + size;
  }

  allocateZeroed(size: number): number {
    return NULL_BASE + size;
  }

  reallocate(_address: number, size: number): number {
    return NULL_BASE + size;
  }

  free(_address: number): void {}
}

/** Where no address of anybody is. */
const NULL_BASE = 0x7f00_0000_0000;

class NullHandleAllocator implements HandleAllocator<unknown> {
  readonly #handle = new Uint8Array(16);

  allocate(_size: number, _alignment?: number): unknown {
    return this.#handle;
  }

  allocateZeroed(_size: number): unknown {
    return this.#handle;
  }

  reallocate(_handle: unknown, _size: number): unknown {
    return this.#handle;
  }

  free(_handle: unknown): void {}
}
