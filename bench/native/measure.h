/*
 * What the programs of this directory say the same way: time by three clocks, random numbers, rounds of a loop, and the
 * parts of the line of JSON that each prints. Small functions in a header, so that a program stays one call of the compiler.
 */
#ifndef OFFHEAP_MEASURE_H
#define OFFHEAP_MEASURE_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define INLINE static inline __attribute__((always_inline))

enum { MAX_ROUNDS = 1000 };

/* Nanoseconds: CPU time of all threads, CPU time of the calling thread, and time that passed. */
struct times {
  int64_t process, thread, wall;
};

/* What rounds of a loop took, and how many operations each had. */
struct rounds {
  long count;
  long operations[MAX_ROUNDS];
  struct times times[MAX_ROUNDS];
};

INLINE int64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

INLINE struct times read_clocks(void) {
  return (struct times){now(CLOCK_PROCESS_CPUTIME_ID), now(CLOCK_THREAD_CPUTIME_ID), now(CLOCK_MONOTONIC)};
}

INLINE struct times times_since(struct times start) {
  struct times end = read_clocks();
  return (struct times){end.process - start.process, end.thread - start.thread, end.wall - start.wall};
}

/* Marsaglia's xorshift, as in bench/support/xorshift.ts: the same numbers in the same order. */
INLINE uint32_t next(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

/*
 * Calls `replace(loop, batch)`, which replaces so many blocks, in rounds of at least `round_ms`. A fifth of the rounds comes
 * before them and is not kept. A replacement is two operations.
 */
INLINE void measure_rounds(struct rounds *rounds, long count, long round_ms, void (*replace)(void *, size_t), void *loop,
                           size_t batch) {
  long warm_up = (count + 4) / 5;
  rounds->count = count;
  for (long round = -warm_up; round < count; round++) {
    struct times start = read_clocks();
    long operations = 0;
    do {
      replace(loop, batch);
      operations += 2 * (long)batch;
    } while (now(CLOCK_MONOTONIC) - start.wall < round_ms * 1000000);
    if (round < 0) continue;
    rounds->operations[round] = operations;
    rounds->times[round] = times_since(start);
  }
}

/* The members that say what is in malloc's place, if it is what we know: of mimalloc also its version, such as 209. */
INLINE void print_preloaded(void) {
  int (*mi_version)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "mi_version");
  if (mi_version == NULL) printf("\"preloaded\":\"\"");
  else printf("\"preloaded\":\"mimalloc\",\"version\":%d", mi_version());
}

/* A member with a list of times. */
INLINE void print_times(const char *name, const struct times *times, long count) {
  printf("\"%s\":[", name);
  for (long i = 0; i < count; i++) {
    printf("%s{\"process\":%lld,\"thread\":%lld,\"wall\":%lld}", i == 0 ? "" : ",", (long long)times[i].process,
           (long long)times[i].thread, (long long)times[i].wall);
  }
  printf("]");
}

/* The whole line of a program that measured rounds. AGED is how often each block was replaced before the first. */
INLINE void print_rounds(const struct rounds *rounds, double aged) {
  printf("{");
  print_preloaded();
  printf(",\"aged\":%g,\"operations\":[", aged);
  for (long i = 0; i < rounds->count; i++) printf("%s%ld", i == 0 ? "" : ",", rounds->operations[i]);
  printf("],");
  print_times("rounds", rounds->times, rounds->count);
  printf("}\n");
}

#endif
