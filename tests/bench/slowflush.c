/* Preloaded into PostgreSQL: every flush of the log takes FLUSH_MICROSECONDS longer, as on a slow disk.
   PostgreSQL flushes its log by fdatasync, and whatever a checkpoint writes by fsync, which stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int fdatasync(int file)
{
    static int (*real)(int);
    static long microseconds;

    if (real == NULL) {
        const char *asked = getenv("FLUSH_MICROSECONDS");

        microseconds = asked == NULL ? 0 : atol(asked);
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    }
    struct timespec longer = {microseconds / 1000000, microseconds % 1000000 * 1000};
    while (nanosleep(&longer, &longer) != 0)
        ;
    return real(file);
}
