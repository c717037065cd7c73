// Counts seconds for ever: the smallest thing that a Deployment keeps running.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    const char *pod = getenv("POD_NAME");
    for (unsigned long n = 0;; n++) {
        printf("%s %lu\n", pod ? pod : "counter", n);
        fflush(stdout);  // not a terminal: lines would wait in a buffer
        sleep(1);
    }
}
