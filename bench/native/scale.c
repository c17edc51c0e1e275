/*
 * The native side of bench/support/scale_loop.ts: the same blocks replaced in the same order by the C library's malloc and
 * free, or by whatever is preloaded in their place.
 *
 *     scale null|malloc LIVE small|mixed|large AGE [ROUNDS ROUND_MS]
 *
 * Slots and sizes come from a generator in the loop, not from a table: one that names each of ten million slots in random
 * order would be as large as the blocks. No block is written to. AGE is how often each slot is replaced before the first
 * round, on average. One line of JSON goes to standard output. An operation is an allocation or a free.
 *
 *     cc -std=c11 -O2 -fno-builtin -o scale scale.c
 */
#define _GNU_SOURCE
#include "measure.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL, MIXED, LARGE };
enum { LEAST = 16, SMALL_SPAN = 113, MIXED_DOUBLINGS = 6, LARGE_FROM = 6, LARGE_DOUBLINGS = 4, BATCH = 2048, MAX_LIVE = 100000000 };

static uint32_t state = 0x9e3779b9;
static double live_per_number;

/* small: 16 to 128 bytes, all alike. mixed: 16 to 992 bytes, as many in each doubling. large: the same of 1 to 15.5 KiB. */
INLINE size_t next_size(int sizes) {
  uint32_t number = next(&state);
  if (sizes == SMALL) return LEAST + (size_t)((number >> 8) * (SMALL_SPAN * 0x1p-24));
  double doublings = sizes == LARGE ? LARGE_DOUBLINGS : MIXED_DOUBLINGS;
  uint32_t from = sizes == LARGE ? LARGE_FROM : 0;
  return (size_t)(LEAST + (number >> 28)) << (from + (uint32_t)(((number >> 8) & 0xffff) * (doublings * 0x1p-16)));
}

static void *allocate(size_t size) {
  void *block = malloc(size);
  if (block == NULL) {
    fprintf(stderr, "scale: error: out of memory\n");
    exit(1);
  }
  return block;
}

INLINE void replace(int null, int sizes, void **kept, size_t count) {
  for (size_t i = 0; i < count; i++) {
    void **slot = &kept[(size_t)(next(&state) * live_per_number)];
    size_t size = next_size(sizes);
    if (null) {
      __asm__ volatile("" : : "r"(*slot));
      *slot = (void *)size;
    } else {
      free(*slot);
      *slot = allocate(size);
    }
  }
}

/* Apart, so that each gets a loop of its own. */
static void null_small(void *kept, size_t count) { replace(1, SMALL, kept, count); }
static void null_mixed(void *kept, size_t count) { replace(1, MIXED, kept, count); }
static void null_large(void *kept, size_t count) { replace(1, LARGE, kept, count); }
static void malloc_small(void *kept, size_t count) { replace(0, SMALL, kept, count); }
static void malloc_mixed(void *kept, size_t count) { replace(0, MIXED, kept, count); }
static void malloc_large(void *kept, size_t count) { replace(0, LARGE, kept, count); }

/* By null and by sizes. */
static void (*const loops[2][3])(void *, size_t) = {{malloc_small, malloc_mixed, malloc_large},
                                                    {null_small, null_mixed, null_large}};

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: scale null|malloc LIVE small|mixed|large AGE [ROUNDS ROUND_MS]\n");
    return 1;
  }
  int null = strcmp(argv[1], "null") == 0;
  int sizes = strcmp(argv[3], "large") == 0 ? LARGE : strcmp(argv[3], "mixed") == 0 ? MIXED : SMALL;
  long live = atol(argv[2]);
  double age = atof(argv[4]);
  long rounds = argc > 5 ? atol(argv[5]) : 10, round_ms = argc > 6 ? atol(argv[6]) : 50;
  if (live < 1 || live > MAX_LIVE || rounds < 1 || rounds > MAX_ROUNDS) {
    fprintf(stderr, "scale: error: LIVE must be 1 to 100000000 and ROUNDS 1 to 1000\n");
    return 1;
  }
  live_per_number = (double)live * 0x1p-32;
  void **kept = malloc((size_t)live * sizeof(void *));
  for (long i = 0; i < live; i++) {
    size_t size = next_size(sizes);
    kept[i] = null ? (void *)size : allocate(size);
  }
  void (*run)(void *, size_t) = loops[null][sizes];
  run(kept, (size_t)(age * (double)live));

  static struct rounds measured;
  measure_rounds(&measured, rounds, round_ms, run, kept, BATCH);
  print_rounds(&measured, age);
  return 0;
}
