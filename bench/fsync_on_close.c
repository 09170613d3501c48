/* Makes a server durable that is not: preloaded (LD_PRELOAD), it syncs what the server has changed before the server
 * answers. For the bench's writing cases: Kelp syncs each change, its peers sync none.
 *
 * A written file is synced when it is closed or renamed, the folder of a new, renamed or removed name before the next
 * byte goes to a socket. So a server pays each sync once however many names of a folder it changed in one request:
 * as few as a careful author would need. Only what lies below the folders in BENCH_SYNC_BELOW (':' between) counts.
 *
 * Each server here handles a request, and answers it, in one thread: what is pending is kept per thread.
 * Not seen: programs that make system calls by themselves (Go).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 65536
#define FOLDERS 64
enum { WRITTEN = 1, CREATED = 2 };

static unsigned char changed[FILES];
static int highest; /* of the descriptors that were ever changed */
static char folders[PATH_MAX]; /* read at once: nginx throws the environment away */
static __thread char pending[FOLDERS][PATH_MAX];
static __thread int pending_count;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int real_close(int fd) {
    REAL(close);
    return real(fd);
}

static int real_fsync(int fd) {
    REAL(fsync);
    return real(fd);
}

__attribute__((constructor)) static void start(void) {
    const char *given = getenv("BENCH_SYNC_BELOW");
    if (given) snprintf(folders, sizeof folders, "%s", given);
}

/* Which of the folders `path` is below, from 1 on; 0: none. */
static int counts(const char *path) {
    const char *below = folders;
    for (int number = 1; *below; number++) {
        size_t length = strcspn(below, ":");
        if (!strncmp(path, below, length) && (path[length] == '/' || !path[length])) return number;
        below += length + (below[length] == ':');
    }
    return 0;
}

/* Where `name` is, seen from the open folder `at`; 0 when that is not to be told. */
static int absolute(int at, const char *name, char *path) {
    char link[64], base[PATH_MAX];
    if (*name == '/') return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return 0;
    base[length] = 0;
    return snprintf(path, PATH_MAX, "%s/%s", base, name) < PATH_MAX;
}

static void trim(char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') path[--length] = 0;
}

static void sync_folders(void) {
    while (pending_count) {
        int fd = open(pending[--pending_count], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) continue; /* it was removed, and its own folder is pending */
        real_fsync(fd);
        real_close(fd);
    }
}

static void remember_folder_of(int at, const char *name) {
    char path[PATH_MAX];
    if (!absolute(at, name, path)) return;
    trim(path);
    if (!counts(path)) return;
    char *folder = dirname(path);
    for (int i = 0; i < pending_count; i++)
        if (!strcmp(pending[i], folder)) return;
    if (pending_count == FOLDERS) sync_folders();
    strcpy(pending[pending_count++], folder);
}

static void note(int fd, int what) {
    if (fd < 0 || fd >= FILES) return;
    changed[fd] |= what;
    if (fd > highest) highest = fd;
}

static void sync_file(int fd) {
    if (fd < 0 || fd >= FILES || !changed[fd]) return;
    struct stat info;
    char link[64], path[PATH_MAX];
    unsigned char what = changed[fd];
    changed[fd] = 0;
    if (fstat(fd, &info) || !S_ISREG(info.st_mode) || !info.st_nlink) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    if (!counts(path)) return;
    if (what & WRITTEN) real_fsync(fd);
    if (what & CREATED) remember_folder_of(AT_FDCWD, path);
}

/* nginx and lighttpd rename a file that they have still open: its bytes come first, and its old name is none. */
static void sync_if_open(int at, const char *name) {
    struct stat wanted, info;
    if (fstatat(at, name, &wanted, 0) || !S_ISREG(wanted.st_mode)) return;
    for (int fd = 0; fd <= highest; fd++) {
        if (!changed[fd] || fstat(fd, &info) || info.st_ino != wanted.st_ino || info.st_dev != wanted.st_dev) continue;
        changed[fd] &= ~CREATED;
        sync_file(fd);
    }
}

static int is_socket(int fd) {
    struct stat info;
    return pending_count && !fstat(fd, &info) && S_ISSOCK(info.st_mode);
}

/* ------------------------------------------------------------------------------------------------- open and close */

static int is_new(int at, const char *name, int flags) {
    struct stat info;
    return (flags & O_CREAT) && fstatat(at, name, &info, AT_SYMLINK_NOFOLLOW) != 0;
}

#define OPEN(name, head, at, ...) \
    int name head { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        int new = is_new(at, path, flags), fd = real(__VA_ARGS__, flags, mode); \
        note(fd, new ? CREATED : flags & O_TRUNC ? WRITTEN : 0); \
        return fd; \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD, path)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, path)
OPEN(openat, (int at, const char *path, int flags, ...), at, at, path)
OPEN(openat64, (int at, const char *path, int flags, ...), at, at, path)

int close(int fd) {
    sync_file(fd);
    return real_close(fd);
}

/* Berkeley DB and SQLite sync by themselves; not twice. */
#define SYNC(name) \
    int name(int fd) { \
        REAL(name); \
        if (fd >= 0 && fd < FILES) changed[fd] &= ~WRITTEN; \
        return real(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)

/* -------------------------------------------------------------------------------------------------------- writing */

#define WRITE(type, name, head, fd, ...) \
    type name head { \
        REAL(name); \
        if (is_socket(fd)) sync_folders(); \
        note(fd, WRITTEN); \
        return real(__VA_ARGS__); \
    }
WRITE(ssize_t, write, (int fd, const void *data, size_t size), fd, fd, data, size)
WRITE(ssize_t, writev, (int fd, const struct iovec *data, int count), fd, fd, data, count)
WRITE(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), fd, fd, data, size, at)
WRITE(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), fd, fd, data, size, at)
WRITE(ssize_t, pwritev, (int fd, const struct iovec *data, int count, off_t at), fd, fd, data, count, at)
WRITE(ssize_t, pwritev64, (int fd, const struct iovec *data, int count, off64_t at), fd, fd, data, count, at)
WRITE(ssize_t, sendfile, (int fd, int from, off_t *at, size_t size), fd, fd, from, at, size)
WRITE(ssize_t, sendfile64, (int fd, int from, off64_t *at, size_t size), fd, fd, from, at, size)
WRITE(ssize_t, splice, (int from, off64_t *at, int fd, off64_t *to, size_t size, unsigned flags), fd, from, at, fd, to, size, flags)
WRITE(ssize_t, copy_file_range, (int from, off64_t *at, int fd, off64_t *to, size_t size, unsigned flags), fd, from, at, fd, to, size, flags)
WRITE(int, ftruncate, (int fd, off_t size), fd, fd, size)
WRITE(int, ftruncate64, (int fd, off64_t size), fd, fd, size)

#define SEND(name, head, ...) \
    ssize_t name head { \
        REAL(name); \
        sync_folders(); \
        return real(__VA_ARGS__); \
    }
SEND(send, (int fd, const void *data, size_t size, int flags), fd, data, size, flags)
SEND(sendto, (int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length), fd, data, size, flags, to, length)
SEND(sendmsg, (int fd, const struct msghdr *message, int flags), fd, message, flags)

/* ---------------------------------------------------------------------------------------------------------- names */

#define NAME(name, head, at, path, ...) \
    int name head { \
        REAL(name); \
        int result = real(__VA_ARGS__); \
        if (!result) remember_folder_of(at, path); \
        return result; \
    }
NAME(unlink, (const char *path), AT_FDCWD, path, path)
NAME(unlinkat, (int at, const char *path, int flags), at, path, at, path, flags)
NAME(rmdir, (const char *path), AT_FDCWD, path, path)
NAME(remove, (const char *path), AT_FDCWD, path, path)
NAME(mkdir, (const char *path, mode_t mode), AT_FDCWD, path, path, mode)
NAME(mkdirat, (int at, const char *path, mode_t mode), at, path, at, path, mode)
NAME(link, (const char *old, const char *path), AT_FDCWD, path, old, path)
NAME(linkat, (int from, const char *old, int at, const char *path, int flags), at, path, from, old, at, path, flags)

/* That a file has left the folder for half uploads need not last. */
static int is_move_within(int from, const char *old, int at, const char *path) {
    char here[PATH_MAX], there[PATH_MAX];
    return absolute(from, old, here) && absolute(at, path, there) && counts(here) == counts(there);
}

#define RENAME(name, head, from, at, ...) \
    int name head { \
        REAL(name); \
        sync_if_open(from, old); \
        int result = real(__VA_ARGS__); \
        if (!result) { \
            remember_folder_of(at, path); \
            if (is_move_within(from, old, at, path)) remember_folder_of(from, old); \
        } \
        return result; \
    }
RENAME(rename, (const char *old, const char *path), AT_FDCWD, AT_FDCWD, old, path)
RENAME(renameat, (int from, const char *old, int at, const char *path), from, at, from, old, at, path)
RENAME(renameat2, (int from, const char *old, int at, const char *path, unsigned flags), from, at, from, old, at, path, flags)
