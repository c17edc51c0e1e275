/**
 * A pool: particles that come and go, each in a slot of its own. Needs no permission.
 *
 *     deno run examples/pool.ts
 *     bun examples/pool.ts
 *
 * @module
 */
import { fixedPageSource, InvalidFreeError, OutOfMemoryError, PoolAllocator } from "../mod.ts";

const PARTICLES = 32;

// A slot is x, y, and speed in both directions: four doubles. The budget is exactly 32 of them.
using pool = new PoolAllocator({
  slotSize: 4 * Float64Array.BYTES_PER_ELEMENT,
  capacity: PARTICLES,
  growable: false,
  source: fixedPageSource(new ArrayBuffer(1024), { pageSize: 1024 }),
});
console.log(`${pool.capacity} slots of ${pool.slotSize} bytes; # is a particle\n`);

const particles: Float64Array[] = [];
for (let i = 0; i < 20; i++) spawn(i);
draw("20 spawned");

// Every third one dies. The others neither move nor notice.
for (let i = particles.length - 1; i >= 0; i -= 3) die(i);
draw("every third died");

const freed = particles.at(-1)!;
const place = pool.addressOf(freed);
die(particles.length - 1);
spawn(99);
const again = particles.at(-1)!;
draw("one died, one spawned");
console.log(`  the slot freed last is used first: ${pool.addressOf(again) === place ? "same slot" : "another slot"}`);

let spawned = 0;
try {
  for (;; spawned++) spawn(100 + spawned);
} catch (error) {
  if (!(error instanceof OutOfMemoryError)) throw error;
  draw(`${spawned} more, and full`);
}

let sum = 0;
for (let step = 0; step < 1000; step++) {
  for (const particle of particles) {
    particle[0]! += particle[2]!;
    particle[1]! += particle[3]!;
  }
}
for (const particle of particles) sum += particle[0]!;
console.log(`  after 1000 steps the sum of x is ${sum}\n`);

// A stale view is not a broken pool: no free list runs through the slots.
const stale = particles[5]!;
const address = pool.addressOf(stale);
die(5);
stale.fill(NaN);
pool.check();
console.log("Written to a freed slot: check() finds every record in order");
for (const [what, wrong] of [["again", address], ["inside another", address + 32 + 8], ["elsewhere", 4096]] as const) {
  try {
    pool.free(wrong);
  } catch (error) {
    if (error instanceof InvalidFreeError) console.log(`  free ${what}: ${error.kind}`);
  }
}

function spawn(seed: number): void {
  const particle = pool.array(Float64Array); // the whole slot
  particle.set([seed, 0, 1, 0.5]);
  particles.push(particle);
}

function die(index: number): void {
  const [particle] = particles.splice(index, 1);
  pool.freeArray(particle!);
}

function draw(what: string): void {
  const live = new Set([...pool.blocks()].map((block) => block.address));
  const first = Math.min(...live);
  const slots = Array.from({ length: PARTICLES }, (_, slot) => live.has(first + slot * pool.slotSize) ? "#" : ".");
  console.log(`  ${what.padEnd(24)}|${slots.join("")}|  ${live.size} live, ${pool.available} free`);
}
