/**
 * Fault injection on allocators that are made otherwise here than elsewhere: guarded blocks, few at a time, as each is
 * a reservation with two commits and wraps of its own; and shared heaps, which take the page source of a test only from
 * below `SharedHeap.create`. See faults.test.ts.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import { type Allocator, GuardAllocator, type PageSource, SharedHeap } from "../mod.ts";
import { createAttachment, joinAttachment } from "../src/shared_attachment.ts";
import { faultTests, runWithFault, SCENARIOS } from "./fault_scenarios.ts";
import type { Subject } from "./subjects.ts";

/** Address space for the blocks of a shared heap, as much as by default. */
const RESERVE = 2 ** 35;

const GUARDED: readonly Subject[] = [
  { name: "guard", make: (source) => new GuardAllocator({ source }), mapsBlocks: true },
  {
    // Each free must first unmap what was freed three frees ago. Size makes no difference to that, only to the time.
    name: "guard-few-freed",
    make: (source) => new GuardAllocator({ source, placement: "start", maxFreedBlocks: 3 }),
    largestBlock: 2 ** 20,
    mapsBlocks: true,
  },
  {
    name: "guard-sampled",
    make: (source) => new GuardAllocator({ source, sampleRate: 3, seed: 1, maxFreedBlocks: 0 }),
    mapsBlocks: true,
  },
];

const SHARED: readonly Subject[] = [
  {
    name: "shared-heap",
    make: (source) => new SharedHeap(createAttachment(source, systemSharedPlatform(), RESERVE)),
    discardsInDispose: true,
  },
  { name: "shared-heap-joined", make: joinedHeap, discardsInDispose: true },
];

/** A heap that another attachment made and used before: its tables must be wrapped, its pages can be adopted. */
function joinedHeap(source: PageSource): SharedHeap {
  const platform = systemSharedPlatform();
  const first = new SharedHeap(createAttachment(source, platform, RESERVE));
  const { handle } = first;
  // The control block is no memory of `source`.
  const wrap: PageSource["wrap"] = (address, byteLength) =>
    (address === handle.address ? platform.source : source).wrap(address, byteLength);
  try {
    for (const size of [40, 700, 9000]) first.free(first.allocate(size));
    return new SharedHeap(joinAttachment(handle, { ...platform, source: { ...source, wrap } }));
  } finally {
    first.detach();
  }
}

faultTests([...GUARDED, ...SHARED]);

describe("the fault tests of guarded blocks", () => {
  for (const subject of GUARDED) {
    it(`meet ${subject.name === "guard-sampled" ? "blocks of both kinds" : "guarded blocks only"} in ${subject.name}`, () => {
      for (const scenario of SCENARIOS.filter(({ applies }) => applies === undefined)) {
        let guarded = 0;
        let allocated = 0;
        const make = (source: PageSource): Allocator => {
          const guard = subject.make(source) as GuardAllocator;
          const { free } = guard;
          // What is counted is what is freed or left: all that there was.
          guard.free = (address) => {
            allocated++;
            if (guard.isGuarded(address)) guarded++;
            free.call(guard, address);
          };
          return guard;
        };
        const { injected } = runWithFault(
          { ...subject, make },
          scenario,
          { name: "none", operations: [], times: 0 },
          0,
        );
        assertEquals(injected, 0);
        assert(allocated > 0, `nothing was freed in ${scenario.name}`);
        if (subject.name !== "guard-sampled") assertEquals(guarded, allocated, scenario.name);
        else assert(guarded > 0 && guarded < allocated, `${guarded} of ${allocated} in ${scenario.name}`);
      }
    });
  }
});
