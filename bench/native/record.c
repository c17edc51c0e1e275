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
 * to a shared mapping of the file: they are all there however the program ends. Nothing here allocates.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
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

/* The file is mapped a window at a time. */
enum { WINDOW_EVENTS = 1 << 16, WINDOW_BYTES = WINDOW_EVENTS * sizeof(struct event) };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct event *window;
static uint64_t written, limit;
static int file = -1;
/* Once a file could not be written: the program goes on unrecorded. */
static int given_up;

/* The caller holds the lock. */
static int open_file(void) {
  const char *directory = getenv("OFFHEAP_RECORD"), *most = getenv("OFFHEAP_RECORD_LIMIT");
  if (directory == NULL) return 0;
  limit = most == NULL ? UINT64_MAX : strtoull(most, NULL, 10);
  for (int n = 0; file < 0; n++) {
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%d-%d.events", directory, getpid(), n);
    if (length < 0 || length >= (int)sizeof path) return 0;
    file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 && errno != EEXIST) return 0;
  }
  return 1;
}

/* The caller holds the lock. */
static int next_window(void) {
  if (file < 0 && !open_file()) return 0;
  if (window != NULL) munmap(window, WINDOW_BYTES);
  window = NULL;
  off_t start = (off_t)(written / WINDOW_EVENTS) * WINDOW_BYTES;
  /* Allocated and not only made longer: a full disk is an error here, and would be a SIGBUS at a store. */
  if (posix_fallocate(file, start, WINDOW_BYTES) != 0) return 0;
  void *mapped = mmap(NULL, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, start);
  if (mapped == MAP_FAILED) return 0;
  window = mapped;
  return 1;
}

/* The caller holds the lock. */
static void append(uint32_t op, size_t align, size_t size, void *old, void *block) {
  if (given_up || (file >= 0 && written >= limit)) return;
  int saved = errno;
  if (written % WINDOW_EVENTS == 0 && !next_window()) given_up = 1;
  errno = saved;
  if (given_up || written >= limit) return;
  window[written++ % WINDOW_EVENTS] = (struct event){op, (uint32_t)align, size, (uintptr_t)old, (uintptr_t)block};
}

static void *allocated(uint32_t op, size_t align, size_t size, void *block) {
  if (block == NULL) return NULL;
  pthread_mutex_lock(&lock);
  append(op, align, size, NULL, block);
  pthread_mutex_unlock(&lock);
  return block;
}

void *malloc(size_t size) { return allocated(OP_ALLOCATE, 0, size, __libc_malloc(size)); }

void *calloc(size_t count, size_t size) {
  return allocated(OP_ALLOCATE_ZEROED, 0, count * size, __libc_calloc(count, size));
}

void free(void *block) {
  if (block == NULL) return;
  pthread_mutex_lock(&lock);
  append(OP_FREE, 0, 0, block, NULL);
  pthread_mutex_unlock(&lock);
  __libc_free(block);
}

void *realloc(void *old, size_t size) {
  if (old == NULL) return malloc(size);
  pthread_mutex_lock(&lock);
  void *block = __libc_realloc(old, size);
  if (block != NULL) append(OP_REALLOCATE, 0, size, old, block);
  /* To 0 bytes glibc frees. */
  if (block == NULL && size == 0) append(OP_FREE, 0, 0, old, NULL);
  pthread_mutex_unlock(&lock);
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

/* A child has its parent's blocks but not its file: its own starts with the frees of blocks that nobody saw made. */
static void before_fork(void) { pthread_mutex_lock(&lock); }
static void in_parent(void) { pthread_mutex_unlock(&lock); }

static void in_child(void) {
  if (window != NULL) munmap(window, WINDOW_BYTES);
  if (file >= 0) close(file);
  window = NULL;
  file = -1;
  written = 0;
  pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void start(void) { pthread_atfork(before_fork, in_parent, in_child); }
