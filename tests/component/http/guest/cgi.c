// A module that answers by CGI: one behaviour per PATH_INFO.
//
//   /hello   "hello from cgi"
//   /echo    the request's body, as it comes
//   /env     its environment, a line each
//   /status  404, with a header
//   /go      Location: /there
//   /none    ends without a head
//   /fail    head and "begun", then exit code 3
//   /trap    traps
//   /loop    never ends
//   /print   "one line" on standard error

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int main(void) {
  const char *path = getenv("PATH_INFO");
  char piece[65536];
  if (!strcmp(path, "/hello")) {
    puts("Content-Type: text/plain\n\nhello from cgi");
  } else if (!strcmp(path, "/echo")) {
    if (write(1, "Content-Type: text/plain\n\n", 26) != 26) return 1;
    for (ssize_t got; (got = read(0, piece, sizeof piece)) > 0;)
      if (write(1, piece, got) != got) return 1;
  } else if (!strcmp(path, "/env")) {
    puts("Content-Type: text/plain\n");
    for (char **each = environ; *each; each++) puts(*each);
  } else if (!strcmp(path, "/status")) {
    puts("Status: 404 Not Found\r\nX-Why: because\r\n\r");
  } else if (!strcmp(path, "/go")) {
    puts("Location: /there\n");
  } else if (!strcmp(path, "/fail")) {
    puts("Content-Type: text/plain\n\nbegun");
    return 3;
  } else if (!strcmp(path, "/trap")) {
    __builtin_trap();
  } else if (!strcmp(path, "/loop")) {
    for (volatile int i = 0;; i++) continue;
  } else if (!strcmp(path, "/print")) {
    fputs("one line\n", stderr);
    puts("Status: 204\n");
  }
  return 0;
}
