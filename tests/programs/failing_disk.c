/* The n-th call that touches a file below a folder fails, once.

   cc -shared -fPIC -O1 -o failing_disk.so failing_disk.c -ldl
   LD_PRELOAD=failing_disk.so FAILING_DISK=<control file> FAILING_DISK_BELOW=<folder> program

   The control file holds a `struct control`, which whoever tests reads and writes while the program
   runs: `kinds` says which calls are counted, `fail_at` which of them fails, `number` with which
   errno. Only the first process that maps the file is concerned, none that it starts. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct control {
    uint64_t counted;
    uint64_t fail_at;
    uint64_t failed;
    uint32_t kinds;
    int32_t number;
    int32_t pid;
};

enum { OPEN = 1, CREATE = 2, READ = 4, WRITE = 8, SYNC = 16, NAME = 32 };

static struct control *control;
static char below[PATH_MAX];

#define REAL(type, name, ...)                              \
    static type (*real)(__VA_ARGS__);                      \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAILING_DISK"), *folder = getenv("FAILING_DISK_BELOW");
    if (!path || !folder) return;
    snprintf(below, sizeof below, "%s/", folder);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found == MAP_FAILED) return;
    struct control *shared = found;
    if (!shared->pid) shared->pid = getpid();
    control = shared;
}

static int is_below(const char *path) { return !strncmp(path, below, strlen(below)); }

static int fd_is_below(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return is_below(path);
}

static int concerns(uint32_t kind)
{
    return control && control->kinds & kind && getpid() == control->pid;
}

static int fails(void)
{
    if (__atomic_add_fetch(&control->counted, 1, __ATOMIC_SEQ_CST) != control->fail_at) return 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = control->number;
    return 1;
}

static int fd_fails(uint32_t kind, int fd)
{
    if (!concerns(kind)) return 0;
    int kept = errno, found = fd_is_below(fd);
    errno = kept;
    return found && fails();
}

static int path_fails(uint32_t kind, int folder, const char *path)
{
    if (!concerns(kind) || !path) return 0;
    int kept = errno;
    int found = *path == '/' || folder == AT_FDCWD ? is_below(path) : fd_is_below(folder);
    errno = kept;
    return found && fails();
}

static uint32_t kind_of(int flags) { return flags & O_CREAT ? CREATE : OPEN; }

#define OPENING(name)                                                    \
    int name(const char *path, int flags, ...)                           \
    {                                                                    \
        REAL(int, #name, const char *, int, ...);                        \
        va_list more;                                                    \
        va_start(more, flags);                                           \
        mode_t mode = va_arg(more, mode_t);                              \
        va_end(more);                                                    \
        if (path_fails(kind_of(flags), AT_FDCWD, path)) return -1;       \
        return real(path, flags, mode);                                  \
    }

#define OPENING_AT(name)                                                 \
    int name(int folder, const char *path, int flags, ...)               \
    {                                                                    \
        REAL(int, #name, int, const char *, int, ...);                   \
        va_list more;                                                    \
        va_start(more, flags);                                           \
        mode_t mode = va_arg(more, mode_t);                              \
        va_end(more);                                                    \
        if (path_fails(kind_of(flags), folder, path)) return -1;         \
        return real(folder, path, flags, mode);                          \
    }

OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)

#define ON_FD(type, name, kind, parameters, ...)                         \
    type name parameters                                                 \
    {                                                                    \
        static type(*real) parameters;                                   \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);   \
        return fd_fails(kind, fd) ? -1 : real(__VA_ARGS__);              \
    }

ON_FD(ssize_t, read, READ, (int fd, void *to, size_t size), fd, to, size)
ON_FD(ssize_t, pread, READ, (int fd, void *to, size_t size, off_t at), fd, to, size, at)
ON_FD(ssize_t, pread64, READ, (int fd, void *to, size_t size, off64_t at), fd, to, size, at)
ON_FD(ssize_t, write, WRITE, (int fd, const void *from, size_t size), fd, from, size)
ON_FD(ssize_t, pwrite, WRITE, (int fd, const void *from, size_t size, off_t at), fd, from, size, at)
ON_FD(ssize_t, pwrite64, WRITE, (int fd, const void *from, size_t size, off64_t at), fd, from, size, at)
ON_FD(int, ftruncate, WRITE, (int fd, off_t size), fd, size)
ON_FD(int, ftruncate64, WRITE, (int fd, off64_t size), fd, size)
ON_FD(int, fsync, SYNC, (int fd), fd)
ON_FD(int, fdatasync, SYNC, (int fd), fd)

#define ON_PATH(name, parameters, ...)                                   \
    int name parameters                                                  \
    {                                                                    \
        static int(*real) parameters;                                    \
        if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);    \
        return path_fails(NAME, AT_FDCWD, path) ? -1 : real(__VA_ARGS__);\
    }

ON_PATH(rename, (const char *from, const char *path), from, path)
ON_PATH(link, (const char *from, const char *path), from, path)
ON_PATH(mkdir, (const char *path, mode_t mode), path, mode)
ON_PATH(unlink, (const char *path), path)
