/* The floor for a warm call: connect to a running daemon, send the frozen hello, read one line.
 * usage: client SOCKET ROOT      exit 0: welcomed */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char *what) {
    perror(what);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: client SOCKET ROOT\n");
        return 2;
    }
    struct stat root;
    if (stat(argv[2], &root) != 0)
        return fail(argv[2]);
    /* sun_path is short; the path may not be. */
    if (chdir(dirname(argv[1])) != 0)
        return fail(argv[1]);
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "hob.sock"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        return fail("connect");

    char line[8192];
    int n = snprintf(line, sizeof line,
                     "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hob.hello\",\"params\":{\"protocol\":[1,1],"
                     "\"build\":\"\",\"root\":{\"path\":\"%s\",\"dev\":%llu,\"ino\":%llu},\"pid\":%d,"
                     "\"client\":\"floor\",\"lease\":false}}\n",
                     argv[2], (unsigned long long)root.st_dev, (unsigned long long)root.st_ino, (int)getpid());
    if (n < 0 || n >= (int)sizeof line || write(fd, line, n) != n)
        return fail("write");
    size_t have = 0;
    while (have < sizeof line - 1) {
        ssize_t got = read(fd, line + have, sizeof line - 1 - have);
        if (got <= 0)
            return fail("read");
        have += got;
        if (line[have - 1] == '\n')
            break;
    }
    line[have] = 0;
    if (strstr(line, "\"welcome\"") == NULL) {
        fprintf(stderr, "client: %s", line);
        return 1;
    }
    return 0;
}
