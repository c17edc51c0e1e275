/*
 * The native side of bench/workers.ts: the same loads in threads, step by step, by the C library's malloc and free or by
 * whatever is preloaded in their place. What each load does is in bench/support/worker_loads.ts.
 *
 *     workers null|malloc LOAD THREADS [ROUNDS ROUND_MS]
 *
 * One line of JSON goes to standard output. `null` stores a place in a buffer that nobody touches where malloc would store a
 * pointer. Where a worker detaches from its heap and attaches anew, a thread ends and starts the next one.
 *
 *     cc -std=c11 -O2 -fno-builtin -pthread -o workers workers.c
 */
#define _GNU_SOURCE
#include "measure.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
  STEPS = 256,
  PLAN = 1 << 16,
  PLACES = 1024,
  LARGER = 64,
  LARGEST_BYTES = 65536,
  MAX_THREADS = 64,
  WARM_UP_OPERATIONS = 8000000,
  WARM_UP_MOST = 30,
  LINE = 64
};

struct load {
  const char *name;
  uint32_t slots, least, most, chunks;
  int ends;
};

/* The same as in worker_loads.ts. */
static const struct load LOADS[] = {
    {"pair", 1, 64, 64, 0, 0},
    {"churn", 10000, 16, 512, 0, 0},
    {"compute", 1, 16, 16, 0, 0},
    {"larson", 5000, 8, 1000, 1954, 1},
    {"handoff", 1000, 16, 512, 1, 0},
    {"mstress", 1024, 16, 512, 128, 1},
    {"local", 8192, 16, 512, 0, 0},
    {"remote", 8192, 16, 512, 0, 0},
};

/* One thread after the other has it; the numbers are read by the main thread at any moment. */
struct worker {
  _Alignas(2 * LINE) _Atomic long operations;
  _Atomic int64_t allocating, freeing;
  uint32_t number, cursor, computed;
  long section;
  uint32_t *slots, *sizes;
  char **own;
};

struct owner {
  _Alignas(LINE) _Atomic uint32_t worker;
};

static const struct load *load;
static int null;
static uint32_t threads, sections;
static _Alignas(LINE) _Atomic int stop;
static _Alignas(LINE) _Atomic uint32_t turn;
static _Alignas(LINE) _Atomic uint32_t ended;
static struct worker workers[MAX_THREADS];
static struct owner owners[2 * MAX_THREADS];
static char **slots;
static _Atomic(char *) places[PLACES];
static char nowhere[16 * LARGEST_BYTES];
static pthread_mutex_t turns = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;

static void plan(struct worker *w) {
  uint32_t state = 0x9e3779b9u ^ ((w->number + 1) * 0x85ebca6bu);
  int stress = strcmp(load->name, "mstress") == 0;
  w->slots = calloc(PLAN, sizeof *w->slots);
  w->sizes = calloc(PLAN, sizeof *w->sizes);
  for (int i = 0; i < PLAN; i++) {
    w->slots[i] = stress ? next(&state) & 0xffffff : next(&state) % load->slots;
    uint32_t size = load->least + next(&state) % (load->most - load->least + 1);
    if (stress && next(&state) % LARGER == 0) size = next(&state) % LARGER == 0 ? next(&state) % LARGEST_BYTES : size * 16;
    w->sizes[i] = size;
  }
}

INLINE char *allocate(int none, uint32_t size) {
  if (none) return nowhere + 16 * size;
  char *block = malloc(size);
  if (block == NULL) {
    fprintf(stderr, "workers: error: out of memory\n");
    exit(1);
  }
  return block;
}

INLINE void release(int none, char *block) {
  if (none) {
    __asm__ volatile("" : : "r"(block));
  } else {
    free(block);
  }
}

INLINE void pair(int none) {
  for (int i = 0; i < STEPS; i++) release(none, allocate(none, 64));
}

static void compute(struct worker *w) {
  uint32_t state = w->computed;
  for (int i = 0; i < 32 * STEPS; i++) next(&state);
  w->computed = state;
}

INLINE void replace(int none, struct worker *w, char **mine) {
  for (uint32_t i = w->cursor; i < w->cursor + STEPS; i++) {
    char **victim = &mine[w->slots[i]];
    if (*victim != NULL) release(none, *victim);
    *victim = allocate(none, w->sizes[i]);
  }
}

INLINE long stress(int none, struct worker *w, char **mine) {
  long operations = 0;
  for (uint32_t i = w->cursor; i < w->cursor + STEPS; i++) {
    uint32_t step = w->slots[i];
    char **slot = &mine[step & 1023];
    if (*slot == NULL) {
      *slot = allocate(none, w->sizes[i]);
      operations++;
    } else if (((step >> 10) & 3) == 0) {
      *slot = atomic_exchange(&places[(step >> 12) & (PLACES - 1)], *slot);
    } else {
      release(none, *slot);
      *slot = NULL;
      operations++;
    }
  }
  return operations;
}

INLINE void fill(int none, struct worker *w, char **mine) {
  for (uint32_t i = 0; i < load->slots; i++) mine[i] = allocate(none, w->sizes[w->cursor + i]);
}

INLINE void empty(int none, char **mine) {
  for (uint32_t i = 0; i < load->slots; i++) release(none, mine[i]);
}

/* Each load with its allocator in a loop of its own, as the compiler would make it for a program that has no other. */
#define CHUNK(name, call) \
  static __attribute__((noinline)) void name##_null(struct worker *w, char **mine) { (void)w, (void)mine; enum { NONE = 1 }; call; } \
  static __attribute__((noinline)) void name##_malloc(struct worker *w, char **mine) { (void)w, (void)mine; enum { NONE = 0 }; call; }

CHUNK(pair, (pair(NONE), w->operations += 2 * STEPS))
CHUNK(compute, (compute(w), w->operations += 2 * STEPS))
CHUNK(replace, (replace(NONE, w, mine), w->operations += 2 * STEPS))
CHUNK(stress, w->operations += stress(NONE, w, mine))
CHUNK(fill, fill(NONE, w, mine))
CHUNK(empty, empty(NONE, mine))

typedef void chunk(struct worker *, char **);

static chunk *choose(void) {
  if (strcmp(load->name, "pair") == 0) return null ? pair_null : pair_malloc;
  if (strcmp(load->name, "compute") == 0) return null ? compute_null : compute_malloc;
  if (strcmp(load->name, "mstress") == 0) return null ? stress_null : stress_malloc;
  return null ? replace_null : replace_malloc;
}

/* Takes the first section from `from` on that nobody has. There are more sections than threads. */
static long take_section(long from, uint32_t number) {
  for (long section = from;; section = (section + 1) % sections) {
    uint32_t nobody = 0;
    if (atomic_compare_exchange_strong(&owners[section].worker, &nobody, number + 1)) return section;
  }
}

static void *loop(void *argument);

static void start(struct worker *w) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, loop, w) != 0) {
    fprintf(stderr, "workers: error: no thread\n");
    exit(1);
  }
  pthread_detach(thread);
}

static void *loop(void *argument) {
  struct worker *w = argument;
  chunk *run = choose();
  uint32_t left = 0;
  char **mine = w->own;
  for (; !atomic_load(&stop); w->cursor = (w->cursor + STEPS) & (PLAN - 1)) {
    if (load->chunks > 0 && left == 0) {
      if (w->section >= 0 && mine != NULL) {
        atomic_store(&owners[w->section].worker, 0);
        if (load->ends) {
          start(w);
          return NULL;
        }
      }
      w->section = take_section(w->section < 0 ? w->number % sections : (w->section + 1) % sections, w->number);
      mine = slots + w->section * load->slots;
      left = load->chunks;
    }
    left--;
    run(w, mine);
  }
  atomic_fetch_add(&ended, 1);
  return NULL;
}

static void *take_turns(void *argument) {
  struct worker *w = argument;
  chunk *fills = null ? fill_null : fill_malloc, *empties = null ? empty_null : empty_malloc;
  for (;; w->cursor = (w->cursor + load->slots) & (PLAN - 1)) {
    pthread_mutex_lock(&turns);
    while (atomic_load(&turn) != w->number && !atomic_load(&stop)) pthread_cond_wait(&turned, &turns);
    pthread_mutex_unlock(&turns);
    if (atomic_load(&stop)) break;
    if (w->number == 0) {
      int64_t begun = now(CLOCK_THREAD_CPUTIME_ID);
      fills(w, slots);
      w->allocating += now(CLOCK_THREAD_CPUTIME_ID) - begun;
    }
    if (w->number == threads - 1) {
      int64_t begun = now(CLOCK_THREAD_CPUTIME_ID);
      empties(w, slots);
      w->freeing += now(CLOCK_THREAD_CPUTIME_ID) - begun;
    }
    w->operations += load->slots * (threads == 1 ? 2 : 1);
    if (threads == 1) continue;
    pthread_mutex_lock(&turns);
    atomic_store(&turn, 1 - w->number);
    pthread_cond_signal(&turned);
    pthread_mutex_unlock(&turns);
  }
  atomic_fetch_add(&ended, 1);
  return NULL;
}

struct reading {
  long operations;
  int64_t process, wall, allocating, freeing;
};

static struct reading read_all(void) {
  struct reading r = {0, now(CLOCK_PROCESS_CPUTIME_ID), now(CLOCK_MONOTONIC), 0, 0};
  for (uint32_t i = 0; i < threads; i++) {
    r.operations += workers[i].operations;
    r.allocating += workers[i].allocating;
    r.freeing += workers[i].freeing;
  }
  return r;
}

static void sleep_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: workers null|malloc LOAD THREADS [ROUNDS ROUND_MS]\n");
    return 1;
  }
  null = strcmp(argv[1], "null") == 0;
  for (size_t i = 0; i < sizeof LOADS / sizeof *LOADS; i++) {
    if (strcmp(LOADS[i].name, argv[2]) == 0) load = &LOADS[i];
  }
  threads = (uint32_t)atol(argv[3]);
  long rounds = argc > 4 ? atol(argv[4]) : 5, round_ms = argc > 5 ? atol(argv[5]) : 200;
  if (load == NULL || threads < 1 || threads > MAX_THREADS || rounds < 1 || rounds > MAX_ROUNDS) {
    fprintf(stderr, "workers: error: no such load, THREADS not 1 to 64, or ROUNDS not 1 to 1000\n");
    return 1;
  }
  int takes_turns = strcmp(load->name, "local") == 0 || strcmp(load->name, "remote") == 0;
  if (takes_turns) threads = strcmp(load->name, "local") == 0 ? 1 : 2;
  sections = 2 * threads;
  slots = calloc((size_t)sections * load->slots, sizeof *slots);
  for (uint32_t i = 0; i < threads; i++) {
    struct worker *w = &workers[i];
    w->number = i;
    w->computed = i + 1;
    w->section = -1;
    w->own = load->chunks > 0 ? NULL : calloc(load->slots, sizeof *w->own);
    plan(w);
  }
  for (uint32_t i = 0; i < threads; i++) {
    if (!takes_turns) {
      start(&workers[i]);
      continue;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, take_turns, &workers[i]) != 0) return 1;
    pthread_detach(thread);
  }

  for (long round = 0; round < 2 || (round < WARM_UP_MOST && read_all().operations < WARM_UP_OPERATIONS); round++) {
    sleep_ms(round_ms);
  }
  static struct reading readings[MAX_ROUNDS + 1];
  readings[0] = read_all();
  for (long i = 1; i <= rounds; i++) {
    long waited = 0;
    do {
      sleep_ms(round_ms);
      readings[i] = read_all();
    } while (readings[i].operations == readings[i - 1].operations && ++waited < WARM_UP_MOST);
  }
  pthread_mutex_lock(&turns);
  atomic_store(&stop, 1);
  pthread_cond_broadcast(&turned);
  pthread_mutex_unlock(&turns);
  while (atomic_load(&ended) < threads) sched_yield();

  printf("{");
  print_preloaded();
  printf(",\"rounds\":[");
  for (long i = 1; i <= rounds; i++) {
    struct reading a = readings[i - 1], b = readings[i];
    printf("%s{\"operations\":%ld,\"process\":%lld,\"wall\":%lld,\"allocating\":%lld,\"freeing\":%lld}", i == 1 ? "" : ",",
           b.operations - a.operations, (long long)(b.process - a.process), (long long)(b.wall - a.wall),
           (long long)(b.allocating - a.allocating), (long long)(b.freeing - a.freeing));
  }
  printf("]}\n");
  return 0;
}
