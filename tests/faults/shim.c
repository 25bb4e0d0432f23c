/* Stands between the server and its disk. LD_PRELOAD loads it into the unmodified binary. It
 * intercepts every call on the database, its write-ahead log, its journal, the secret, its
 * checkpoint, their drafts and the folder.
 *
 *   SHIM_DATABASE  the path of the database; files whose paths start with it are intercepted too,
 *                  and those of the secret beside it
 *   SHIM_CONTROL   a memory-mapped file in which tests set the fault and the clock offset
 *   SHIM_RECORD    if set, a file to which all operations are appended in order
 *
 * The index of the log (-shm, never durable, rebuilt when needed) and the lock file are ignored.
 * Syncs do not reach the disk. The record determines what a power cut would leave. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Keep in step with tests/faults/shim.rs. */
enum { NONE, READ, WRITE, SYNC, OPEN, SYNC_FOLDER, STAT, RENAME };
/* Instead of an errno: the call succeeds after SLOW_TIME, or when the fault ends. */
enum { SLOW = 1000000, HANG };
static const struct timespec SLOW_TIME = {0, 300000000};
static const struct timespec HANG_TIME = {0, 10000000};
struct control {
  _Atomic uint32_t kind;       /* kind of call that fails; NONE ends the fault */
  uint32_t error;              /* errno; 0 reads or writes only half; or SLOW, or HANG */
  uint32_t first;              /* first call that fails, counted from 1 */
  uint32_t step;               /* every how many calls after it; 0: only that one */
  _Atomic uint32_t n_calls;    /* calls of that kind */
  _Atomic uint32_t n_injected; /* calls that failed */
  uint32_t drop;               /* a failed sync discards all unsynced writes */
  uint32_t lie;                /* a failed sync reports success */
  _Atomic int64_t clock_offset; /* nanoseconds added to the wall clock */
};

#define N_FDS 65536
static struct control *control;
static int record = -1;
static char database[PATH_MAX], folder[PATH_MAX], secret[NAME_MAX];
/* The inode of each intercepted descriptor; 0 for all others. */
static _Atomic uint64_t inode_of[N_FDS];
static uint64_t folder_inode;
/* Serializes operations, so that the record has the real order. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* The previous content of each unsynced write, newest first. */
struct before {
  struct before *older;
  uint64_t inode;
  off_t offset, size;
  ssize_t n_bytes;
  char bytes[];
};
static struct before *unsynced;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("SHIM_DATABASE");
  if (!path) return;
  strncpy(database, path, sizeof database - 1);
  strncpy(folder, path, sizeof folder - 1);
  char *slash = strrchr(folder, '/');
  if (slash) *slash = 0;
  /* The name of the database with another extension. */
  strncpy(secret, slash ? slash + 1 : path, sizeof secret - 8);
  char *dot = strrchr(secret, '.');
  strcpy(dot ? dot : secret + strlen(secret), ".secret");
  struct stat status;
  if (stat(folder, &status) == 0) folder_inode = status.st_ino;
  path = getenv("SHIM_CONTROL");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) abort();
  control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (control == MAP_FAILED) abort();
  close(fd);
  path = getenv("SHIM_RECORD");
  if (path && (record = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)) < 0) abort();
}

/* The secret, its checkpoint, or the draft of one, whose name begins with a dot. */
static int is_of_secret(const char *path) {
  size_t n = strlen(folder);
  if (strncmp(path, folder, n) != 0 || path[n] != '/') return 0;
  const char *name = path + n + 1;
  return strncmp(name + (*name == '.'), secret, strlen(secret)) == 0;
}

static int is_ours(const char *path) {
  if (!control) return 0;
  if (is_of_secret(path)) return 1;
  size_t n = strlen(database), length = strlen(path);
  if (strcmp(path, folder) == 0) return 1;
  if (strncmp(path, database, n) != 0) return 0;
  const char *suffix = path + length - (length < 5 ? length : 5);
  return strcmp(suffix, "-lock") != 0 && strcmp(length < 4 ? path : path + length - 4, "-shm") != 0;
}

static uint64_t inode(int fd) { return fd >= 0 && fd < N_FDS ? inode_of[fd] : 0; }

/* Writes an entry of the record in one call, so that a kill leaves only whole entries. */
static void note_bytes(char kind, uint64_t inode, uint64_t at, const void *bytes, uint32_t n_bytes) {
  if (record < 0) return;
  static __typeof__(&writev) real;
  if (!real) real = (__typeof__(&writev))dlsym(RTLD_NEXT, "writev");
  char head[21] = {kind};
  memcpy(head + 1, &inode, 8);
  memcpy(head + 9, &at, 8);
  memcpy(head + 17, &n_bytes, 4);
  struct iovec all[2] = {{head, sizeof head}, {(void *)bytes, n_bytes}};
  if (real(record, all, 2) != (ssize_t)sizeof head + n_bytes) abort();
}

static void note(char kind, uint64_t inode, uint64_t at) { note_bytes(kind, inode, at, NULL, 0); }

/* Whether this call fails. errno is the error, or 0 for half of the work. */
static int fails(uint32_t kind) {
  if (!control || control->kind != kind) return 0;
  uint32_t n = ++control->n_calls;
  if (n < control->first) return 0;
  if (control->step ? (n - control->first) % control->step : n > control->first) return 0;
  control->n_injected++;
  if (control->error == SLOW) {
    nanosleep(&SLOW_TIME, NULL);
    return 0;
  }
  if (control->error == HANG) {
    while (control->kind == kind) nanosleep(&HANG_TIME, NULL);
    return 0;
  }
  errno = control->error;
  return 1;
}

static size_t half(size_t n_bytes) { return n_bytes < 2 ? n_bytes : n_bytes / 2; }

/* -- opening ------------------------------------------------------------------------------- */

static int open_ours(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
  pthread_mutex_lock(&lock);
  int fd = -1;
  if (!fails(OPEN)) {
    struct stat status;
    int is_new = lstat(path, &status) != 0;
    fd = real(path, flags, mode);
    if (fd >= 0 && fd < N_FDS && fstat(fd, &status) == 0) {
      inode_of[fd] = status.st_ino;
      if (is_new) note_bytes('C', status.st_ino, 0, path, strlen(path));
      else if (flags & O_TRUNC) note('T', status.st_ino, 0);
    }
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

#define OPENING(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
      va_list rest; \
      va_start(rest, flags); \
      mode = va_arg(rest, mode_t); \
      va_end(rest); \
    } \
    return is_ours(path) ? open_ours(real, path, flags, mode) : real(path, flags, mode); \
  }
OPENING(open)
OPENING(open64)

int close(int fd) {
  REAL(close);
  if (fd >= 0 && fd < N_FDS) inode_of[fd] = 0;
  return real(fd);
}

/* -- reading ------------------------------------------------------------------------------- */

ssize_t read(int fd, void *bytes, size_t n_bytes) {
  REAL(read);
  if (inode(fd) && fails(READ)) {
    if (errno) return -1;
    n_bytes = half(n_bytes);
  }
  return real(fd, bytes, n_bytes);
}

ssize_t pread64(int fd, void *bytes, size_t n_bytes, off_t offset) {
  REAL(pread64);
  if (inode(fd) && fails(READ)) {
    if (errno) return -1;
    n_bytes = half(n_bytes);
  }
  return real(fd, bytes, n_bytes, offset);
}

/* -- writing ------------------------------------------------------------------------------- */

static void remember(int fd, off_t offset, size_t n_bytes) {
  if (!control->drop) return;
  static __typeof__(&pread64) real;
  if (!real) real = (__typeof__(&pread64))dlsym(RTLD_NEXT, "pread64");
  struct stat status;
  struct before *before = malloc(sizeof *before + n_bytes);
  if (!before || fstat(fd, &status) != 0) abort();
  *before = (struct before){unsynced, inode(fd), offset, status.st_size,
                            real(fd, before->bytes, n_bytes, offset)};
  unsynced = before;
}

/* Forgets the unsynced writes of one inode. `restore` undoes them first. */
static void forget(int fd, int restore) {
  static __typeof__(&pwrite64) real;
  static __typeof__(&ftruncate64) real_truncate;
  if (!real) real = (__typeof__(&pwrite64))dlsym(RTLD_NEXT, "pwrite64");
  if (!real_truncate) real_truncate = (__typeof__(&ftruncate64))dlsym(RTLD_NEXT, "ftruncate64");
  for (struct before **at = &unsynced; *at;) {
    struct before *before = *at;
    if (before->inode != inode(fd)) {
      at = &before->older;
      continue;
    }
    if (restore && before->n_bytes > 0
        && real(fd, before->bytes, before->n_bytes, before->offset) != before->n_bytes)
      abort();
    struct stat status;
    if (restore && fstat(fd, &status) == 0 && status.st_size > before->size) {
      if (real_truncate(fd, before->size) != 0) abort();
    }
    *at = before->older;
    free(before);
  }
}

ssize_t pwrite64(int fd, const void *bytes, size_t n_bytes, off_t offset) {
  REAL(pwrite64);
  if (!inode(fd)) return real(fd, bytes, n_bytes, offset);
  pthread_mutex_lock(&lock);
  ssize_t n_written = -1;
  int failed = fails(WRITE);
  if (failed && !errno) {
    n_bytes = half(n_bytes);
    failed = 0;
  }
  if (!failed) {
    remember(fd, offset, n_bytes);
    n_written = real(fd, bytes, n_bytes, offset);
    if (n_written > 0) note_bytes('W', inode(fd), offset, bytes, n_written);
  }
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return n_written;
}

ssize_t write(int fd, const void *bytes, size_t n_bytes) {
  REAL(write);
  if (!inode(fd)) return real(fd, bytes, n_bytes);
  off_t offset = lseek(fd, 0, SEEK_CUR);
  ssize_t n_written = pwrite64(fd, bytes, n_bytes, offset);
  int error = errno;
  if (n_written > 0) lseek(fd, offset + n_written, SEEK_SET);
  errno = error;
  return n_written;
}

int ftruncate64(int fd, off_t size) {
  REAL(ftruncate64);
  if (!inode(fd)) return real(fd, size);
  pthread_mutex_lock(&lock);
  int result = -1;
  if (!fails(WRITE) || !errno) {
    forget(fd, 0);
    result = real(fd, size);
    if (result == 0) note('T', inode(fd), size);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

static int sync_ours(int fd) {
  pthread_mutex_lock(&lock);
  int result = 0;
  if (fails(inode(fd) == folder_inode ? SYNC_FOLDER : SYNC)) {
    int error = errno;
    forget(fd, control->drop);
    note('F', inode(fd), 0);
    errno = error;
    result = control->lie ? 0 : -1;
  } else {
    forget(fd, 0);
    note(inode(fd) == folder_inode ? 'D' : 'S', inode(fd), 0);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int fsync(int fd) {
  REAL(fsync);
  return inode(fd) ? sync_ours(fd) : real(fd);
}

int fdatasync(int fd) {
  REAL(fdatasync);
  return inode(fd) ? sync_ours(fd) : real(fd);
}

/* -- names --------------------------------------------------------------------------------- */

/* Two paths as one, with a zero byte between them. */
static uint32_t join(char both[2 * PATH_MAX], const char *from, const char *to) {
  size_t n_from = strlen(from) + 1, n_to = strlen(to);
  if (n_from + n_to > 2 * PATH_MAX) abort();
  memcpy(both, from, n_from);
  memcpy(both + n_from, to, n_to);
  return n_from + n_to;
}

/* Gives a file its name after SLOW_TIME, unless the process is killed before. */
static void *rename_late(void *both) {
  REAL(rename);
  nanosleep(&SLOW_TIME, NULL);
  real(both, (char *)both + strlen(both) + 1);
  free(both);
  return NULL;
}

int rename(const char *from, const char *to) {
  REAL(rename);
  if (!is_ours(from)) return real(from, to);
  pthread_mutex_lock(&lock);
  struct stat status = {0};
  stat(from, &status);
  char *both = calloc(1, 2 * PATH_MAX);
  int result = 0;
  pthread_t thread;
  if (control->kind == RENAME && control->lie && is_of_secret(from)) {
    control->n_injected++;
    /* Under another name, because the server removes a draft that it has published. */
    strcpy(both, to);
    strcat(both, ".late");
    if (real(from, both) != 0) abort();
    strcpy(both + strlen(both) + 1, to);
    if (pthread_create(&thread, NULL, rename_late, both) != 0) abort();
  } else {
    result = real(from, to);
    if (result == 0) note_bytes('R', status.st_ino, 0, both, join(both, from, to));
    free(both);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
  REAL(linkat);
  if (!is_ours(from)) return real(from_dir, from, to_dir, to, flags);
  pthread_mutex_lock(&lock);
  struct stat status = {0};
  stat(from, &status);
  int result = real(from_dir, from, to_dir, to, flags), error = errno;
  if (result == 0) note_bytes('L', status.st_ino, 0, to, strlen(to));
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int unlink(const char *path) {
  REAL(unlink);
  if (!is_ours(path)) return real(path);
  pthread_mutex_lock(&lock);
  int result = real(path);
  if (result == 0) note_bytes('U', 0, 0, path, strlen(path));
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

/* -- stat ---------------------------------------------------------------------------------- */

int statx(int dir, const char *restrict path, int flags, unsigned mask,
          struct statx *restrict status) {
  REAL(statx);
  /* Without AT_FDCWD there may be no path. */
  if (dir == AT_FDCWD && is_ours(path) && fails(STAT) && errno) return -1;
  return real(dir, path, flags, mask, status);
}

/* -- sent data ----------------------------------------------------------------------------- */

/* Called with the lock held, so that no file operation comes between the call and its entry. */
static ssize_t sent(int fd, const struct iovec *parts, int n_parts, ssize_t n_sent) {
  int error = errno;
  for (ssize_t left = n_sent; left > 0; parts++, n_parts--) {
    ssize_t n_bytes = (ssize_t)parts->iov_len < left ? (ssize_t)parts->iov_len : left;
    note_bytes('A', fd, 0, parts->iov_base, n_bytes);
    left -= n_bytes;
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return n_sent;
}

ssize_t send(int fd, const void *bytes, size_t n_bytes, int flags) {
  REAL(send);
  if (record < 0) return real(fd, bytes, n_bytes, flags);
  struct iovec part = {(void *)bytes, n_bytes};
  pthread_mutex_lock(&lock);
  return sent(fd, &part, 1, real(fd, bytes, n_bytes, flags));
}

ssize_t writev(int fd, const struct iovec *parts, int n_parts) {
  REAL(writev);
  if (record < 0 || fd <= 2 || fd == record) return real(fd, parts, n_parts);
  pthread_mutex_lock(&lock);
  return sent(fd, parts, n_parts, real(fd, parts, n_parts));
}

/* -- the wall clock ------------------------------------------------------------------------ */

int clock_gettime(clockid_t clock, struct timespec *now) {
  REAL(clock_gettime);
  int result = real(clock, now);
  if (result == 0 && clock == CLOCK_REALTIME && control && control->clock_offset) {
    int64_t nanoseconds = now->tv_nsec + control->clock_offset % 1000000000;
    now->tv_sec += control->clock_offset / 1000000000 + (nanoseconds >= 1000000000) - (nanoseconds < 0);
    now->tv_nsec = (nanoseconds + 1000000000) % 1000000000;
  }
  return result;
}
