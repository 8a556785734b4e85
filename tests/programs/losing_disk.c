/* A disk that has only what was synced: what a cut of the power leaves behind.

   cc -shared -fPIC -O1 -o losing_disk.so losing_disk.c -ldl -lpthread
   LD_PRELOAD=losing_disk.so LOSING_DISK_BELOW=<folder> LOSING_DISK_HAS=<other folder> program

   Of each file below the folder there is another below the other folder, with what the disk surely
   has: bytes get there when the program syncs the file, and not before. Names (rename, link, unlink)
   get there at once, which a journal of the file system may do. A file that was never synced is not
   there. Only the first process is concerned, none that it starts. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct range { off_t begin, end; };

struct file {
    struct file *next;
    char *path;
    struct range *written;
    size_t count, room;
};

static char below[PATH_MAX], has[PATH_MAX];
static pid_t owner;
static struct file *files;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, parameters)                                   \
    static type(*real) parameters;                                     \
    if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("LOSING_DISK_BELOW"), *other = getenv("LOSING_DISK_HAS");
    if (!folder || !other) return;
    snprintf(below, sizeof below, "%s/", folder);
    snprintf(has, sizeof has, "%s/", other);
    owner = getpid();
    unsetenv("LOSING_DISK_BELOW"); /* those it starts are not concerned */
}

static int is_below(const char *path)
{
    return owner && getpid() == owner && path && !strncmp(path, below, strlen(below));
}

static int path_of(int fd, char *path)
{
    char link[64];
    if (!owner || getpid() != owner) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return is_below(path);
}

static void shadow_of(const char *path, char *shadow)
{
    if ((size_t)snprintf(shadow, PATH_MAX, "%s%s", has, path + strlen(below)) >= PATH_MAX) abort();
}

static void make_folders(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
}

static struct file *find(const char *path, int add)
{
    struct file *file = files;
    while (file && strcmp(file->path, path)) file = file->next;
    if (!file && add) {
        file = calloc(1, sizeof *file);
        file->path = strdup(path);
        file->next = files;
        files = file;
    }
    return file;
}

static void forget(const char *path)
{
    struct file *file = find(path, 0);
    if (file) file->count = 0;
}

static void moved(const char *from, const char *to)
{
    struct file *old = find(to, 0), *new = find(from, 0);
    if (old) *old->path = '\0';
    if (!new) return;
    free(new->path);
    new->path = strdup(to);
}

static void note(const char *path, off_t begin, off_t end)
{
    struct file *file = find(path, 1);
    if (file->count && file->written[file->count - 1].end == begin) {
        file->written[file->count - 1].end = end;
        return;
    }
    if (file->count == file->room) {
        file->room = file->room ? 2 * file->room : 16;
        file->written = realloc(file->written, file->room * sizeof *file->written);
    }
    file->written[file->count++] = (struct range){begin, end};
}

static ssize_t plain_write(int fd, const void *from, size_t size, off_t at)
{
    REAL(ssize_t, pwrite64, (int, const void *, size_t, off64_t));
    return real(fd, from, size, at);
}

static void copy(int from, int to, off_t begin, off_t end)
{
    char piece[65536];
    while (begin < end) {
        size_t size = end - begin < (off_t)sizeof piece ? (size_t)(end - begin) : sizeof piece;
        ssize_t got = pread(from, piece, size, begin);
        if (got <= 0) return;
        if (plain_write(to, piece, got, begin) != got) abort();
        begin += got;
    }
}

static void keep(const char *path)
{
    char shadow[PATH_MAX];
    struct stat found, had;
    shadow_of(path, shadow);
    int from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0) return;
    int is_new = stat(shadow, &had) != 0;
    if (is_new) make_folders(shadow);
    int to = open(shadow, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fstat(from, &found) == 0 && S_ISREG(found.st_mode) && to >= 0) {
        struct file *file = find(path, 1);
        if (is_new) copy(from, to, 0, found.st_size);
        for (size_t i = 0; !is_new && i < file->count; i++)
            copy(from, to, file->written[i].begin, file->written[i].end);
        file->count = 0;
        REAL(int, ftruncate64, (int, off64_t));
        if (real(to, found.st_size)) abort();
        fchmod(to, found.st_mode & 07777);
    } else if (is_new && to >= 0) {
        unlink(shadow);
    }
    if (to >= 0) close(to);
    close(from);
}

#define LOCKED(...) do { int kept_ = errno; pthread_mutex_lock(&lock); __VA_ARGS__; \
                         pthread_mutex_unlock(&lock); errno = kept_; } while (0)

static void wrote(int fd, off_t begin, ssize_t size)
{
    char path[PATH_MAX];
    if (size > 0 && path_of(fd, path)) LOCKED(note(path, begin, begin + size));
}

ssize_t write(int fd, const void *from, size_t size)
{
    REAL(ssize_t, write, (int, const void *, size_t));
    ssize_t done = real(fd, from, size);
    if (owner && done > 0) {
        int kept = errno;
        off_t end = lseek(fd, 0, SEEK_CUR);
        errno = kept;
        if (end >= done) wrote(fd, end - done, done);
    }
    return done;
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at)
{
    REAL(ssize_t, pwrite, (int, const void *, size_t, off_t));
    ssize_t done = real(fd, from, size, at);
    wrote(fd, at, done);
    return done;
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at)
{
    ssize_t done = plain_write(fd, from, size, at);
    wrote(fd, at, done);
    return done;
}

#define SYNCING(name)                                                  \
    int name(int fd)                                                   \
    {                                                                  \
        REAL(int, name, (int));                                        \
        char path[PATH_MAX];                                           \
        int done = real(fd);                                           \
        if (!done && path_of(fd, path)) LOCKED(keep(path));            \
        return done;                                                   \
    }

SYNCING(fsync)
SYNCING(fdatasync)

int rename(const char *from, const char *to)
{
    REAL(int, rename, (const char *, const char *));
    int done = real(from, to);
    if (!done && is_below(to)) {
        char old[PATH_MAX], new[PATH_MAX];
        shadow_of(from, old);
        shadow_of(to, new);
        make_folders(new);
        LOCKED(if (!is_below(from) || real(old, new)) unlink(new); moved(from, to));
    }
    return done;
}

int link(const char *from, const char *to)
{
    REAL(int, link, (const char *, const char *));
    int done = real(from, to);
    if (!done && is_below(from) && is_below(to)) {
        char old[PATH_MAX], new[PATH_MAX];
        shadow_of(from, old);
        shadow_of(to, new);
        make_folders(new);
        LOCKED((void)real(old, new));
    }
    return done;
}

int unlink(const char *path)
{
    REAL(int, unlink, (const char *));
    int done = real(path);
    if (!done && is_below(path)) {
        char shadow[PATH_MAX];
        shadow_of(path, shadow);
        LOCKED(real(shadow); forget(path));
    }
    return done;
}
