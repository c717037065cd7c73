// Greets from C: its arguments, and the pod's name if the manifest gives it.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    const char *pod = getenv("POD_NAME");
    printf("Hello from C in pod %s\n", pod ? pod : "(none)");
    for (int i = 1; i < argc; i++)
        printf("argument %d: %s\n", i, argv[i]);
    return 0;
}
