/**
 * Arenas to be tested.
 *
 * @module
 */
import { Arena, systemPageSource } from "../../mod.ts";
import { Prng } from "./prng.ts";
import { Recorder } from "./recording_source.ts";

/** An arena over the system's memory, recorded. */
export function recordedArena(): { arena: Arena; recorder: Recorder } {
  const recorder = new Recorder(systemPageSource());
  return { arena: new Arena({ source: recorder.source }), recorder };
}

/** Allocates small, large and aligned blocks and frees some of them: the same ones for the same seed. */
export function allocateRound(arena: Arena, seed = 1): void {
  const random = new Prng(seed);
  for (let i = 0; i < 2000; i++) {
    const size = random.chance(95) ? random.below(1000) : random.below(400_000);
    const address = arena.allocate(size, random.chance(80) ? 16 : 2 ** random.below(13));
    if (size > 0) arena.view(address)[size - 1] = 1;
    if (random.chance(10)) arena.free(address);
  }
}
