// A command that does as it is told by somebody outside the node; no library.
//
// run PORT WORD...: connects to that port of 127.0.0.1, says the words and a
// number of its own in one line, and waits for a line with a number, which it
// ends with. Its connection ends when its process does, whatever ends that. It
// ends with 98 if it cannot connect, with 97 if it cannot write, and with 99 if
// nobody is there any more.
//
// Of a word `%NAME` it says what that variable has, as nobody expands a hook's
// command; of `<DIR/FILE` what that file has in it, and `-` where there is none.
// `>DIR/FILE` says nothing: its number is written there before it speaks. DIR
// is where a volume is mounted.

typedef unsigned char u8;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#define FROM(module, name) __attribute__((import_module(module), import_name(name))) extern
#define STREAMS(name) FROM("wasi:io/streams@0.2.0", name)
#define FILES(name) FROM("wasi:filesystem/types@0.2.0", "[method]descriptor." name)
#define TCP(name) FROM("wasi:sockets/tcp@0.2.0", name)

FROM("wasi:cli/environment@0.2.0", "get-arguments") void get_arguments(void *);
FROM("wasi:cli/environment@0.2.0", "get-environment") void get_environment(void *);
FROM("wasi:cli/exit@0.2.0", "exit-with-code") void exit_with_code(i32);
FROM("wasi:random/random@0.2.0", "get-random-u64") u64 get_random(void);
FROM("wasi:io/poll@0.2.0", "[method]pollable.block") void block(i32);
STREAMS("[method]input-stream.blocking-read") void read_some(i32, i64, void *);
STREAMS("[method]output-stream.blocking-write-and-flush")
void write_some(i32, const void *, i32, void *);
FROM("wasi:filesystem/preopens@0.2.0", "get-directories") void get_directories(void *);
FILES("open-at") void open_at(i32, i32, const char *, i32, i32, i32, void *);
FILES("read") void read_file(i32, i64, i64, void *);
FILES("write") void write_file(i32, const void *, i32, i64, void *);
FROM("wasi:sockets/instance-network@0.2.0", "instance-network") i32 instance_network(void);
FROM("wasi:sockets/tcp-create-socket@0.2.0", "create-tcp-socket") void create_socket(i32, void *);
TCP("[method]tcp-socket.subscribe") i32 subscribe(i32);
TCP("[method]tcp-socket.finish-connect") void finish_connect(i32, void *);
TCP("[method]tcp-socket.start-connect")
void start_connect(i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, void *);

static u8 heap[1 << 16];
static i32 used;
static char line[2048], own[16];
static i32 size;

enum { FOLLOW = 1, CREATE = 1, TRUNCATE = 8, READ = 1, WRITE = 2 };

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, i32 had, i32 align, i32 wanted) {
  (void)old, (void)had, (void)align;  // nothing is ever given back
  void *at = heap + used;
  used = (used + wanted + 7) & ~7;
  if (used > (i32)sizeof heap) __builtin_trap();
  return at;
}

static i32 number(const char *text, i32 length) {
  i32 n = 0;
  for (i32 i = 0; i < length && text[i] >= '0' && text[i] <= '9'; i++) n = 10 * n + text[i] - '0';
  return n;
}

static void put(char c) {
  if (size < (i32)sizeof line) line[size++] = c;
}

static void say(const char *text, i32 length) {
  for (i32 at = 0; at < length; at++) put(text[at]);
}

static i32 same(const char *one, i32 length, const char *other, i32 its) {
  if (length != its) return 0;
  for (i32 at = 0; at < length; at++)
    if (one[at] != other[at]) return 0;
  return 1;
}

static void say_variable(const char *name, i32 length) {
  i32 list[2];
  get_environment(list);
  const i32 *pairs = (void *)list[0];
  for (i32 i = 0; i < list[1]; i++, pairs += 4)
    if (same(name, length, (void *)pairs[0], pairs[1])) say((void *)pairs[2], pairs[3]);
}

// Returns its descriptor, or -1.
static i32 file(const char *path, i32 length, i32 how, i32 flags) {
  i32 list[2], result[2], cut = length;
  while (cut && path[cut - 1] != '/') cut--;
  if (!cut) return -1;
  get_directories(list);
  const i32 *known = (void *)list[0];
  for (i32 i = 0; i < list[1]; i++, known += 3) {
    if (!same(path, cut - 1, (void *)known[1], known[2])) continue;
    open_at(known[0], FOLLOW, path + cut, length - cut, how, flags, result);
    return (u8)result[0] ? -1 : result[1];
  }
  return -1;
}

static void say_file(const char *path, i32 length) {
  i32 from = file(path, length, 0, READ), result[4];
  if (from >= 0) read_file(from, 64, 0, result);
  if (from < 0 || (u8)result[0] || !result[2]) put('-');
  else say((void *)result[1], result[2]);
}

static i32 write_own(const char *path, i32 length) {
  i32 to = file(path, length, CREATE | TRUNCATE, WRITE);
  u64 result[2];
  if (to < 0) return 0;
  write_file(to, own, sizeof own, 0, result);
  return !(u8)result[0];
}

static void end(i32 code) {
  exit_with_code(code);
  __builtin_trap();
}

static void connect(i32 port, i32 *streams) {
  i32 result[4];
  create_socket(0, result);
  if ((u8)result[0]) end(98);
  i32 socket = result[1];
  start_connect(socket, instance_network(), 0, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, result);
  if ((u8)result[0]) end(98);
  block(subscribe(socket));
  finish_connect(socket, result);
  if ((u8)result[0]) end(98);
  streams[0] = result[1], streams[1] = result[2];
}

__attribute__((export_name("wasi:cli/run@0.2.0#run"))) i32 run(void) {
  i32 list[2], streams[2], result[4];
  get_arguments(list);
  const i32 *words = (void *)list[0];
  if (list[1] < 2) end(98);
  connect(number((void *)words[2], words[3]), streams);
  u64 drawn = get_random();
  for (i32 i = 0; i < 16; i++, drawn >>= 4) own[i] = "0123456789abcdef"[drawn & 15];
  for (i32 i = 2; i < list[1]; i++) {
    const char *word = (void *)words[2 * i];
    i32 length = words[2 * i + 1];
    if (length && *word == '>') {
      if (!write_own(word + 1, length - 1)) end(97);
      continue;
    }
    if (length && *word == '%') say_variable(word + 1, length - 1);
    else if (length && *word == '<') say_file(word + 1, length - 1);
    else say(word, length);
    put(' ');
  }
  say(own, sizeof own);
  put('\n');
  write_some(streams[1], line, size, result);
  if ((u8)result[0]) end(99);
  for (size = 0; !size || line[size - 1] != '\n';) {
    read_some(streams[0], 16, result);
    if ((u8)result[0]) end(99);
    for (i32 at = 0; at < result[2]; at++) put(((const char *)result[1])[at]);
  }
  end(number(line, size));
  return 0;
}
