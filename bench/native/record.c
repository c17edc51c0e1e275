/*
 * Records what a program asks of its allocator. Preloaded into a program, it stands before glibc's malloc and writes an
 * event for each call that gave or took a block. `bench/record.ts` compiles it, preloads it and makes a trace of the events.
 *
 *     cc -std=c11 -O2 -fno-builtin -pthread -shared -fPIC -o record.so record.c
 *     OFFHEAP_RECORD=DIRECTORY OFFHEAP_RECORD_LIMIT=EVENTS LD_PRELOAD=./record.so program
 *
 * Each process, and each program that a process turns into (exec), writes a file of its own, DIRECTORY/PID-N.events:
 *
 *     byte  0        4        8               16              24              32
 *           +--------+--------+---------------+---------------+---------------+
 *           | op     | align  | size          | old block     | new block     |   one event
 *           +--------+--------+---------------+---------------+---------------+
 *     op    one more than that of a trace (1 allocate, 2 free, ...); 0 is where the file ends
 *
 * Invariants: a block's event is written after it was made and before it is freed, and a reallocation is one step under
 * the lock, so that an address is never given out twice without a free in between, however many threads there are. Events go
 * to a shared mapping of the file, so they are there however the program ends. The program has its descriptors to itself: the file
 * is open only while a piece of it is being mapped. Nothing here allocates, and nothing is held while the program forks.
 *
 * Known to go wrong: a child of vfork that allocates cuts its parent's recording in two, as they share this memory; and a
 * signal handler that allocates, which C forbids, can wait for ever.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* glibc's own, under the names that it keeps for those who replace malloc: no search for symbols, which allocates. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

enum { OP_ALLOCATE = 1, OP_FREE, OP_REALLOCATE, OP_ALLOCATE_ZEROED, OP_ALLOCATE_ALIGNED };

struct event {
  uint32_t op, align;
  uint64_t size, old, block;
};

/* A file is mapped a window at a time. */
enum { WINDOW_EVENTS = 1 << 16, WINDOW_BYTES = WINDOW_EVENTS * sizeof(struct event) };

/* The process that holds the lock; 0 when none does. */
static int holder;

/* What follows is of the process `owner`. Another one, after a fork, begins anew. */
static int owner;
static struct event *window;
static uint64_t written, limit;
static char path[4096];
/* There is nowhere to write to: the program goes on unrecorded. */
static int given_up;

/* A lock that another process holds is its own copy of it, or was copied while somebody held it: nobody here does. */
static int acquire(void) {
  int self = getpid();
  for (;;) {
    int found = __atomic_load_n(&holder, __ATOMIC_RELAXED);
    if (found != self && __atomic_compare_exchange_n(&holder, &found, self, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
      return self;
    }
    sched_yield();
  }
}

static void release(void) { __atomic_store_n(&holder, 0, __ATOMIC_RELEASE); }

/* The caller holds the lock. */
static int begin(int self) {
  const char *directory = getenv("OFFHEAP_RECORD"), *most = getenv("OFFHEAP_RECORD_LIMIT");
  if (window != NULL) munmap(window, WINDOW_BYTES);
  window = NULL;
  written = 0;
  owner = self;
  if (directory == NULL) return 0;
  limit = most == NULL ? UINT64_MAX : strtoull(most, NULL, 10);
  for (int n = 0;; n++) {
    int length = snprintf(path, sizeof path, "%s/%d-%d.events", directory, self, n);
    if (length < 0 || length >= (int)sizeof path) return 0;
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file >= 0) return close(file) == 0;
    if (errno != EEXIST) return 0;
  }
}

/* The caller holds the lock. */
static int next_window(void) {
  if (window != NULL) munmap(window, WINDOW_BYTES);
  window = NULL;
  off_t start = (off_t)(written / WINDOW_EVENTS) * WINDOW_BYTES;
  /* A file longer than the program may write would end it with a signal. */
  struct rlimit longest;
  if (getrlimit(RLIMIT_FSIZE, &longest) == 0 && longest.rlim_cur < (rlim_t)start + WINDOW_BYTES) return 0;
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return 0;
  /* Allocated and not only made longer: a full disk is an error here, and would be a SIGBUS at a store. */
  if (posix_fallocate(file, start, WINDOW_BYTES) == 0) {
    void *mapped = mmap(NULL, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, start);
    if (mapped != MAP_FAILED) window = mapped;
  }
  close(file);
  return window != NULL;
}

/* The caller, the process `self`, holds the lock. */
static void append(int self, uint32_t op, size_t align, size_t size, void *old, void *block) {
  int saved = errno;
  if (owner != self) given_up = !begin(self);
  if (!given_up && written < limit) {
    if (written % WINDOW_EVENTS == 0) given_up = !next_window();
    if (!given_up) {
      window[written++ % WINDOW_EVENTS] = (struct event){op, (uint32_t)align, size, (uintptr_t)old, (uintptr_t)block};
    }
  }
  errno = saved;
}

static void *allocated(uint32_t op, size_t align, size_t size, void *block) {
  if (block == NULL) return NULL;
  append(acquire(), op, align, size, NULL, block);
  release();
  return block;
}

void *malloc(size_t size) { return allocated(OP_ALLOCATE, 0, size, __libc_malloc(size)); }

void *calloc(size_t count, size_t size) {
  return allocated(OP_ALLOCATE_ZEROED, 0, count * size, __libc_calloc(count, size));
}

void free(void *block) {
  if (block == NULL) return;
  append(acquire(), OP_FREE, 0, 0, block, NULL);
  release();
  __libc_free(block);
}

void *realloc(void *old, size_t size) {
  if (old == NULL) return malloc(size);
  int self = acquire();
  void *block = __libc_realloc(old, size);
  if (block != NULL) append(self, OP_REALLOCATE, 0, size, old, block);
  /* To 0 bytes glibc frees. */
  if (block == NULL && size == 0) append(self, OP_FREE, 0, 0, old, NULL);
  release();
  return block;
}

void *memalign(size_t align, size_t size) {
  return allocated(OP_ALLOCATE_ALIGNED, align, size, __libc_memalign(align, size));
}

void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }

int posix_memalign(void **result, size_t align, size_t size) {
  if (align < sizeof(void *) || (align & (align - 1)) != 0) return EINVAL;
  void *block = memalign(align, size);
  if (block == NULL) return ENOMEM;
  *result = block;
  return 0;
}

void *valloc(size_t size) { return memalign((size_t)getpagesize(), size); }

void *pvalloc(size_t size) {
  size_t page = (size_t)getpagesize();
  if (size > SIZE_MAX - page) {
    errno = ENOMEM;
    return NULL;
  }
  return memalign(page, (size + page - 1) & -page);
}
