/*
 * The native side of bench/churn.ts: the same blocks replaced in the same order by the C library's malloc and free, or by
 * whatever is preloaded in their place.
 *
 *     churn null|malloc LIVE [ROUNDS ROUND_MS]
 *
 * One line of JSON goes to standard output. An operation is an allocation or a free: a replacement is two. `null` stores a
 * place at the start of a buffer where malloc would store a pointer, and the loop writes there too.
 *
 *     cc -std=c11 -O2 -fno-builtin -o churn churn.c
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PLAN = 1 << 20, LEAST = 16, MOST = 512, SLOT_BITS = 16, AGE = 10, BATCH = 1024, MAX_ROUNDS = 1000 };

struct times {
  int64_t process, thread, wall;
};

static uint32_t plan[PLAN];
static char nowhere[2 * MOST];

static int64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t next(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

static inline __attribute__((always_inline)) size_t churn(int null, char **kept, size_t cursor, size_t count) {
  for (size_t i = 0; i < count; i++) {
    cursor = (cursor + 1) & (PLAN - 1);
    uint32_t step = plan[cursor];
    char **slot = &kept[step & ((1 << SLOT_BITS) - 1)];
    size_t size = step >> SLOT_BITS;
    if (null) {
      __asm__ volatile("" : : "r"(*slot));
    } else {
      free(*slot);
    }
    volatile char *block = null ? nowhere + size : malloc(size);
    if (block == NULL) {
      fprintf(stderr, "churn: error: out of memory\n");
      exit(1);
    }
    *slot = (char *)block;
    block[0] = 1;
    block[size - 1] = 1;
  }
  return cursor;
}

/* Apart, so that each gets a loop of its own. */
static size_t churn_null(char **kept, size_t cursor, size_t count) { return churn(1, kept, cursor, count); }
static size_t churn_malloc(char **kept, size_t cursor, size_t count) { return churn(0, kept, cursor, count); }

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: churn null|malloc LIVE [ROUNDS ROUND_MS]\n");
    return 1;
  }
  int null = strcmp(argv[1], "null") == 0;
  uint32_t live = (uint32_t)atol(argv[2]);
  long rounds = argc > 3 ? atol(argv[3]) : 10, round_ms = argc > 4 ? atol(argv[4]) : 30;
  if (live < 1 || live > 1 << SLOT_BITS || rounds < 1 || rounds > MAX_ROUNDS) {
    fprintf(stderr, "churn: error: LIVE must be 1 to 65536 and ROUNDS 1 to 1000\n");
    return 1;
  }
  uint32_t state = 0x9e3779b9;
  for (size_t i = 0; i < PLAN; i++) {
    uint32_t slot = next(&state) % live;
    plan[i] = slot | (LEAST + next(&state) % (MOST - LEAST + 1)) << SLOT_BITS;
  }
  char **kept = calloc(live, sizeof(char *));
  for (size_t i = 0; i < live; i++) kept[i] = null ? nowhere : malloc(plan[i] >> SLOT_BITS);
  size_t (*run)(char **, size_t, size_t) = null ? churn_null : churn_malloc;
  size_t cursor = run(kept, live, (size_t)AGE * live);

  static struct times times[MAX_ROUNDS];
  static long operations[MAX_ROUNDS];
  long warm_up = (rounds + 4) / 5;
  for (long round = -warm_up; round < rounds; round++) {
    struct times start = { now(CLOCK_PROCESS_CPUTIME_ID), now(CLOCK_THREAD_CPUTIME_ID), now(CLOCK_MONOTONIC) };
    long count = 0;
    do {
      cursor = run(kept, cursor, BATCH);
      count += 2 * BATCH;
    } while (now(CLOCK_MONOTONIC) - start.wall < round_ms * 1000000);
    if (round < 0) continue;
    operations[round] = count;
    times[round].process = now(CLOCK_PROCESS_CPUTIME_ID) - start.process;
    times[round].thread = now(CLOCK_THREAD_CPUTIME_ID) - start.thread;
    times[round].wall = now(CLOCK_MONOTONIC) - start.wall;
  }

  printf("{\"preloaded\":\"%s\",\"aged\":%d,\"operations\":[", dlsym(RTLD_DEFAULT, "mi_version") ? "mimalloc" : "", AGE);
  for (long i = 0; i < rounds; i++) printf("%s%ld", i == 0 ? "" : ",", operations[i]);
  printf("],\"rounds\":[");
  for (long i = 0; i < rounds; i++) {
    printf("%s{\"process\":%lld,\"thread\":%lld,\"wall\":%lld}", i == 0 ? "" : ",", (long long)times[i].process,
           (long long)times[i].thread, (long long)times[i].wall);
  }
  printf("]}\n");
  return 0;
}
