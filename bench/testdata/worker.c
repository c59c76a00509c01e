/* A service whose own time does not count.
 *
 * usage: worker stamp PIPE              say when it began, as its first act, and stay
 *        worker lines PIPE GO N LINES   wait for a byte from GO, write N times LINES lines of 100 bytes to
 *                                       stdout, say when that began and ended, and stay
 *
 * It says "PID NS" or "PID NS NS" on a line of PIPE, nanoseconds of CLOCK_MONOTONIC. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    exit(1);
}

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void say(const char *path, const char *line) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        die(path);
    close(fd);
}

static void lines(const char *go, long writes, long lines, long long *began, long long *ended) {
    size_t size = lines * 100;
    char *text = malloc(size), byte;
    if (text == NULL)
        die("malloc");
    memset(text, 'x', size);
    for (size_t i = 99; i < size; i += 100)
        text[i] = '\n';
    int fd = open(go, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &byte, 1) != 1)
        die(go);
    close(fd);
    *began = now();
    for (long i = 0; i < writes; i++)
        for (size_t done = 0; done < size;) {
            ssize_t n = write(1, text + done, size - done);
            if (n <= 0)
                die("write");
            done += n;
        }
    *ended = now();
}

int main(int argc, char **argv) {
    long long began = now(), ended;
    char line[128];
    if (argc == 3 && strcmp(argv[1], "stamp") == 0) {
        snprintf(line, sizeof line, "%d %lld\n", (int)getpid(), began);
    } else if (argc == 6 && strcmp(argv[1], "lines") == 0) {
        lines(argv[3], atol(argv[4]), atol(argv[5]), &began, &ended);
        snprintf(line, sizeof line, "%d %lld %lld\n", (int)getpid(), began, ended);
    } else {
        fprintf(stderr, "usage: worker stamp PIPE | worker lines PIPE GO N LINES\n");
        return 2;
    }
    say(argv[2], line);
    for (;;)
        pause();
}
