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
#include "measure.h"

#include <stdlib.h>
#include <string.h>

enum { PLAN = 1 << 20, LEAST = 16, MOST = 512, SLOT_BITS = 16, AGE = 10, BATCH = 1024 };

static uint32_t plan[PLAN];
static char nowhere[2 * MOST];

/* Where the loop is. */
struct state {
  char **kept;
  size_t cursor;
};

INLINE void churn(int null, struct state *state, size_t count) {
  char **kept = state->kept;
  size_t cursor = state->cursor;
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
  state->cursor = cursor;
}

/* Apart, so that each gets a loop of its own. */
static void churn_null(void *state, size_t count) { churn(1, state, count); }
static void churn_malloc(void *state, size_t count) { churn(0, state, count); }

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
  uint32_t random = 0x9e3779b9;
  for (size_t i = 0; i < PLAN; i++) {
    uint32_t slot = next(&random) % live;
    plan[i] = slot | (LEAST + next(&random) % (MOST - LEAST + 1)) << SLOT_BITS;
  }
  char **kept = calloc(live, sizeof(char *));
  for (size_t i = 0; i < live; i++) kept[i] = null ? nowhere : malloc(plan[i] >> SLOT_BITS);
  void (*run)(void *, size_t) = null ? churn_null : churn_malloc;
  struct state state = {kept, live};
  run(&state, (size_t)AGE * live);

  static struct rounds measured;
  measure_rounds(&measured, rounds, round_ms, run, &state, BATCH);
  print_rounds(&measured, AGE);
  return 0;
}
