/* The floor for a cold start: a client that connects or else starts its daemon, with the same
 * guarantees of "one at a time" that hob has from its lock, and nothing else.
 *
 * usage: floor start DIR         connect or start; prints the daemon's pid
 *        floor stop DIR          ask the daemon to end, wait until its lock is free
 *        floor daemon DIR LOCK READY   what start executes: descriptors that it inherits
 *
 * DIR holds lock and sock. The client takes the lock and the daemon inherits it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_un address(const char *name) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, name, sizeof a.sun_path - 1);
    return a;
}

/* dial gives a connection, or -1 with errno. */
static int dial(void) {
    struct sockaddr_un to = address("sock");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/* ask sends one line and reads one; 0 when the daemon went away before it answered. */
static int ask(int fd, const char *line, char *answer, size_t size) {
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
        return 0;
    ssize_t n = read(fd, answer, size - 1);
    if (n <= 0)
        return 0;
    answer[n] = 0;
    return 1;
}

static int open_lock(void) {
    int fd = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        die("open lock");
    return fd;
}

static void serve(int listener) {
    char line[256];
    for (;;) {
        int c = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (c < 0)
            continue;
        ssize_t n = read(c, line, sizeof line - 1);
        if (n > 0) {
            char answer[32];
            int len = snprintf(answer, sizeof answer, "%d\n", (int)getpid());
            line[n] = 0;
            int quit = strcmp(line, "quit\n") == 0;
            if (quit)
                unlink("sock");
            if (send(c, answer, len, MSG_NOSIGNAL) < 0)
                perror("send");
            if (quit)
                exit(0); /* which releases the lock */
        }
        close(c);
    }
}

static int run_daemon(int lock, int ready) {
    fcntl(lock, F_SETFD, FD_CLOEXEC);
    umask(077);
    struct sockaddr_un at = address("sock.new");
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink("sock.new");
    if (l < 0 || bind(l, (struct sockaddr *)&at, sizeof at) != 0 || listen(l, 4096) != 0)
        die("listen");
    if (rename("sock.new", "sock") != 0)
        die("rename");
    if (write(ready, "r", 1) != 1)
        die("ready");
    close(ready);
    serve(l);
    return 0;
}

/* spawn starts the daemon under the lock and waits for its word. */
static void spawn(const char *self, int lock) {
    int p[2];
    char lock_fd[16], ready_fd[16], r;
    if (pipe2(p, O_CLOEXEC) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        setsid();
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        fcntl(lock, F_SETFD, 0);
        fcntl(p[1], F_SETFD, 0);
        snprintf(lock_fd, sizeof lock_fd, "%d", lock);
        snprintf(ready_fd, sizeof ready_fd, "%d", p[1]);
        execl(self, self, "daemon", ".", lock_fd, ready_fd, (char *)NULL);
        _exit(1);
    }
    close(p[1]);
    if (read(p[0], &r, 1) != 1) {
        fprintf(stderr, "floor: the daemon did not start\n");
        exit(1);
    }
    close(p[0]);
}

static int start(const char *self) {
    char answer[64];
    struct timespec pause = {.tv_nsec = 5000000};
    for (;;) {
        int fd = dial();
        if (fd >= 0) {
            if (ask(fd, "hello\n", answer, sizeof answer)) {
                fputs(answer, stdout);
                return 0;
            }
            close(fd);
            continue;
        }
        if (errno == EAGAIN) {
            nanosleep(&pause, NULL);
            continue;
        }
        if (errno != ENOENT && errno != ECONNREFUSED)
            die("connect");
        int lock = open_lock();
        if (flock(lock, LOCK_EX | LOCK_NB) == 0)
            spawn(self, lock);
        else if (errno == EWOULDBLOCK)
            nanosleep(&pause, NULL);
        else
            die("flock");
        close(lock);
    }
}

static int stop(void) {
    char answer[64];
    int fd = dial();
    if (fd >= 0)
        ask(fd, "quit\n", answer, sizeof answer);
    int lock = open_lock();
    if (flock(lock, LOCK_EX) != 0)
        die("flock");
    return 0;
}

int main(int argc, char **argv) {
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        die("/proc/self/exe");
    self[n] = 0;
    if (argc < 3 || chdir(argv[2]) != 0) {
        fprintf(stderr, "usage: floor start|stop DIR\n");
        return 2;
    }
    if (strcmp(argv[1], "start") == 0)
        return start(self);
    if (strcmp(argv[1], "stop") == 0)
        return stop();
    if (strcmp(argv[1], "daemon") == 0 && argc == 5)
        return run_daemon(atoi(argv[3]), atoi(argv[4]));
    fprintf(stderr, "usage: floor start|stop DIR\n");
    return 2;
}
