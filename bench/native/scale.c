/*
 * The native side of bench/support/scale_loop.ts: the same blocks replaced in the same order by the C library's malloc and
 * free, or by whatever is preloaded in their place.
 *
 *     scale null|malloc LIVE small|mixed AGE [ROUNDS ROUND_MS]
 *
 * Slots and sizes come from a generator in the loop, not from a table: one that names each of ten million slots in random
 * order would be as large as the blocks. No block is written to. AGE is how often each slot is replaced before the first
 * round, on average. One line of JSON goes to standard output. An operation is an allocation or a free.
 *
 *     cc -std=c11 -O2 -fno-builtin -o scale scale.c
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LEAST = 16, SMALL_SPAN = 113, DOUBLINGS = 6, BATCH = 2048, MAX_LIVE = 100000000, MAX_ROUNDS = 1000 };

struct times {
  int64_t process, thread, wall;
};

static uint32_t state = 0x9e3779b9;
static double live_per_number;

static int64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline uint32_t next(void) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

/* small: 16 to 128 bytes, all alike. mixed: 16 to 992 bytes, as many in each doubling. */
static inline size_t next_size(int mixed) {
  uint32_t number = next();
  if (!mixed) return LEAST + (size_t)((number >> 8) * (SMALL_SPAN * 0x1p-24));
  return (size_t)(LEAST + (number >> 28)) << (uint32_t)(((number >> 8) & 0xffff) * (DOUBLINGS * 0x1p-16));
}

static void *allocate(size_t size) {
  void *block = malloc(size);
  if (block == NULL) {
    fprintf(stderr, "scale: error: out of memory\n");
    exit(1);
  }
  return block;
}

static inline __attribute__((always_inline)) void replace(int null, int mixed, void **kept, size_t count) {
  for (size_t i = 0; i < count; i++) {
    void **slot = &kept[(size_t)(next() * live_per_number)];
    size_t size = next_size(mixed);
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
static void null_small(void **kept, size_t count) { replace(1, 0, kept, count); }
static void null_mixed(void **kept, size_t count) { replace(1, 1, kept, count); }
static void malloc_small(void **kept, size_t count) { replace(0, 0, kept, count); }
static void malloc_mixed(void **kept, size_t count) { replace(0, 1, kept, count); }

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: scale null|malloc LIVE small|mixed AGE [ROUNDS ROUND_MS]\n");
    return 1;
  }
  int null = strcmp(argv[1], "null") == 0, mixed = strcmp(argv[3], "mixed") == 0;
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
    size_t size = next_size(mixed);
    kept[i] = null ? (void *)size : allocate(size);
  }
  void (*run)(void **, size_t) = null ? (mixed ? null_mixed : null_small) : (mixed ? malloc_mixed : malloc_small);
  run(kept, (size_t)(age * (double)live));

  static struct times times[MAX_ROUNDS];
  static long operations[MAX_ROUNDS];
  long warm_up = (rounds + 4) / 5;
  for (long round = -warm_up; round < rounds; round++) {
    struct times start = { now(CLOCK_PROCESS_CPUTIME_ID), now(CLOCK_THREAD_CPUTIME_ID), now(CLOCK_MONOTONIC) };
    long count = 0;
    do {
      run(kept, BATCH);
      count += 2 * BATCH;
    } while (now(CLOCK_MONOTONIC) - start.wall < round_ms * 1000000);
    if (round < 0) continue;
    operations[round] = count;
    times[round].process = now(CLOCK_PROCESS_CPUTIME_ID) - start.process;
    times[round].thread = now(CLOCK_THREAD_CPUTIME_ID) - start.thread;
    times[round].wall = now(CLOCK_MONOTONIC) - start.wall;
  }

  int (*mi_version)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "mi_version");
  if (mi_version == NULL) {
    printf("{\"preloaded\":\"\",\"aged\":%g,\"operations\":[", age);
  } else {
    printf("{\"preloaded\":\"mimalloc\",\"version\":%d,\"aged\":%g,\"operations\":[", mi_version(), age);
  }
  for (long i = 0; i < rounds; i++) printf("%s%ld", i == 0 ? "" : ",", operations[i]);
  printf("],\"rounds\":[");
  for (long i = 0; i < rounds; i++) {
    printf("%s{\"process\":%lld,\"thread\":%lld,\"wall\":%lld}", i == 0 ? "" : ",", (long long)times[i].process,
           (long long)times[i].thread, (long long)times[i].wall);
  }
  printf("]}\n");
  return 0;
}
