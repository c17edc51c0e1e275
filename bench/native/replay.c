/*
 * Replays a recorded allocation trace against the C library's malloc, free, realloc, calloc and posix_memalign, or
 * against whatever is preloaded in their place. The native side of bench/replay.ts: same records, same order, same
 * stores, same touching, same clocks.
 *
 *     replay null|malloc FILE.trace [--touch none|ends|pages] [--replays N] [--min-ms T] [--sample RECORDS]
 *
 * FILE is a plain (not gzipped) trace; see examples/support/trace.ts for the format and its verification, which is not
 * repeated here. `null` runs the loop alone: it stores a number where malloc would store a pointer.
 *
 * One line of JSON goes to standard output. Times are nanoseconds of one whole replay; blocks that the trace leaves
 * live are freed between replays, outside the times. With --sample, the resident set is read every RECORDS records of
 * every replay (which disturbs the times), and VmHWM is reset before the first.
 *
 *     cc -std=c11 -O2 -fno-builtin -o replay replay.c
 */
#define _GNU_SOURCE
#include "measure.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OP_ALLOCATE, OP_FREE, OP_REALLOCATE, OP_ALLOCATE_ZEROED, OP_ALLOCATE_ALIGNED };
enum touch { TOUCH_NONE, TOUCH_ENDS, TOUCH_PAGES };
enum { MAX_REPLAYS = 10000, OS_PAGE = 4096 };

struct record {
  uint32_t op, id, size, align;
};

static struct record *records;
static size_t record_count;
static void **slots;
static size_t slot_count;

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "replay: %s: %s\n", what, detail);
  exit(1);
}

static void load(const char *file) {
  int descriptor = open(file, O_RDONLY);
  struct stat info;
  if (descriptor < 0 || fstat(descriptor, &info) < 0) fail("cannot open", file);
  if (info.st_size % sizeof(struct record) != 0) fail("not a plain trace", file);
  record_count = (size_t)info.st_size / sizeof(struct record);
  records = malloc((size_t)info.st_size + 1);
  for (off_t at = 0; at < info.st_size;) {
    ssize_t count = read(descriptor, (char *)records + at, (size_t)(info.st_size - at));
    if (count <= 0) fail("cannot read", file);
    at += count;
  }
  close(descriptor);
  for (size_t i = 0; i < record_count; i++) {
    if (records[i].id >= slot_count) slot_count = (size_t)records[i].id + 1;
  }
  slots = malloc((slot_count + 1) * sizeof(void *));
  /* Written, not only zeroed, so that its OS pages are resident before anything is measured. */
  for (size_t i = 0; i <= slot_count; i++) slots[i] = (void *)1;
  for (size_t i = 0; i <= slot_count; i++) slots[i] = NULL;
}

static inline void touch_block(void *block, size_t size, enum touch touch) {
  volatile char *bytes = block;
  if (touch == TOUCH_NONE || size == 0) return;
  if (touch == TOUCH_PAGES) {
    for (size_t at = 0; at < size; at += OS_PAGE) bytes[at] = 1;
  } else {
    bytes[0] = 1;
  }
  bytes[size - 1] = 1;
}

/* A number like an address, made as cheaply as the null allocator of support/subjects.ts makes it. */
static inline void *null_block(size_t size) { return (void *)((uintptr_t)0x7f0000000000 + size); }

/* Inlined with constant `null` and `touch`, so that each mode gets a loop of its own. */
INLINE void replay_range(size_t from, size_t to, int null, enum touch touch) {
  for (size_t i = from; i < to; i++) {
    const struct record *record = &records[i];
    void **slot = &slots[record->id];
    size_t size = record->size;
    switch (record->op) {
      case OP_ALLOCATE:
        *slot = null ? null_block(size) : malloc(size);
        break;
      case OP_FREE:
        if (null) {
          __asm__ volatile("" : : "r"(*slot));
        } else {
          free(*slot);
        }
        *slot = NULL;
        continue;
      case OP_REALLOCATE:
        if (null) {
          __asm__ volatile("" : : "r"(*slot));
          *slot = null_block(size);
        } else if (size == 0) {
          /* realloc(p, 0) differs from one C library to the next. */
          free(*slot);
          *slot = NULL;
        } else {
          *slot = realloc(*slot, size);
        }
        break;
      case OP_ALLOCATE_ZEROED:
        *slot = null ? null_block(size) : calloc(1, size);
        break;
      case OP_ALLOCATE_ALIGNED:
        /* Not aligned_alloc, which need not take a size that is no multiple of the alignment. */
        if (null) {
          *slot = null_block(size);
        } else if (posix_memalign(slot, record->align < sizeof(void *) ? sizeof(void *) : record->align, size) != 0) {
          *slot = NULL;
        }
        break;
      default:
        fail("bad record", "unknown op code");
    }
    if (!null) {
      if (__builtin_expect(*slot == NULL && size != 0, 0)) fail("out of memory", "an allocation failed");
      touch_block(*slot, size, touch);
    }
  }
}

static void replay_null(size_t from, size_t to) { replay_range(from, to, 1, TOUCH_NONE); }
static void replay_touch_none(size_t from, size_t to) { replay_range(from, to, 0, TOUCH_NONE); }
static void replay_touch_ends(size_t from, size_t to) { replay_range(from, to, 0, TOUCH_ENDS); }
static void replay_touch_pages(size_t from, size_t to) { replay_range(from, to, 0, TOUCH_PAGES); }

/* Bytes in the resident set of this process now. */
static int64_t resident(int statm) {
  char text[128];
  ssize_t count = pread(statm, text, sizeof text - 1, 0);
  if (count <= 0) fail("cannot read", "/proc/self/statm");
  text[count] = 0;
  char *second = strchr(text, ' ');
  return second == NULL ? -1 : strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE);
}

/* The largest resident set since the last reset. */
static int64_t high_water_mark(void) {
  char text[4096];
  int status = open("/proc/self/status", O_RDONLY);
  ssize_t count = read(status, text, sizeof text - 1);
  close(status);
  if (count <= 0) return -1;
  text[count] = 0;
  char *line = strstr(text, "VmHWM:");
  return line == NULL ? -1 : strtoll(line + 6, NULL, 10) * 1024;
}

static int reset_high_water_mark(void) {
  int descriptor = open("/proc/self/clear_refs", O_WRONLY);
  int done = descriptor >= 0 && write(descriptor, "5", 1) == 1;
  if (descriptor >= 0) close(descriptor);
  return done;
}

int main(int argc, char **argv) {
  if (argc < 3) fail("usage", "replay null|malloc FILE [--touch none|ends|pages] [--replays N] [--min-ms T] [--sample N]");
  int null = strcmp(argv[1], "null") == 0;
  enum touch touch = TOUCH_NONE;
  long replays = 1, min_ms = 0, sample = 0;
  for (int i = 3; i + 1 < argc; i += 2) {
    const char *value = argv[i + 1];
    if (strcmp(argv[i], "--touch") == 0) {
      touch = strcmp(value, "ends") == 0 ? TOUCH_ENDS : strcmp(value, "pages") == 0 ? TOUCH_PAGES : TOUCH_NONE;
    } else if (strcmp(argv[i], "--replays") == 0) {
      replays = atol(value);
    } else if (strcmp(argv[i], "--min-ms") == 0) {
      min_ms = atol(value);
    } else if (strcmp(argv[i], "--sample") == 0) {
      sample = atol(value);
    } else {
      fail("unknown option", argv[i]);
    }
  }
  load(argv[2]);
  void (*replay)(size_t, size_t) = null ? replay_null : touch == TOUCH_NONE ? replay_touch_none :
                                   touch == TOUCH_ENDS ? replay_touch_ends : replay_touch_pages;

  static struct times times[MAX_REPLAYS];
  int statm = open("/proc/self/statm", O_RDONLY);
  int64_t baseline = 0, sampled = 0, high_water_baseline = -1;
  if (sample > 0) {
    if (reset_high_water_mark()) high_water_baseline = high_water_mark();
    baseline = sampled = resident(statm);
  }
  long count = 0;
  int64_t total = 0;
  while (count < MAX_REPLAYS && (count < replays || total < min_ms * 1000000)) {
    struct times start = read_clocks();
    size_t step = sample > 0 ? (size_t)sample : record_count;
    for (size_t from = 0; from < record_count; from += step) {
      replay(from, from + step < record_count ? from + step : record_count);
      if (sample > 0) {
        int64_t bytes = resident(statm);
        if (bytes > sampled) sampled = bytes;
      }
    }
    times[count] = times_since(start);
    total += times[count++].wall;
    for (size_t i = 0; i < slot_count; i++) {
      if (!null) free(slots[i]);
      slots[i] = NULL;
    }
  }

  printf("{");
  print_preloaded();
  printf(",\"records\":%zu,", record_count);
  print_times("replays", times, count);
  if (sample > 0) {
    printf(",\"rss\":{\"baseline\":%lld,\"sampledPeak\":%lld,\"highWaterBaseline\":%lld,\"highWaterMark\":%lld}",
           (long long)baseline, (long long)sampled, (long long)high_water_baseline,
           high_water_baseline == -1 ? -1LL : (long long)high_water_mark());
  }
  printf("}\n");
  return 0;
}
