// A component of WASI 0.3 that answers HTTP, with one behaviour per path; no
// library, no libc. Its handler is an asynchronous task by the callback ABI
// which waits where it is: it answers (task-return) and goes on.
//
//   /hello            "hello from wasm"
//   /long             the same with a content-length
//   /echo             the request's body and trailers, as they come
//   /count            how many requests this instance has had
//   /env              its environment, a line each
//   /print            prints "one", waits, prints " line\n", answers
//   /stream           "tick\n" every 50 ms, ten times
//   /ever             "tick\n" every 50 ms, for ever
//   /trailers         a body, and the trailer x-sum
//   /teapot           status 418
//   /host             the authority that was asked for
//   /sleep            answers after two seconds
//   /beside           answers, and prints "done\n" 100 ms after that
//   /nothing          the same with status 204
//   /trap /loop /grow ends badly, never, and with no memory
//   /late             answers, and traps after that
//   /cut              traps in the middle of the body
//   /refuse           gives an error in the place of an answer
//   /silent           ends without an answer
//   /ask?AUTHORITY    status that http://AUTHORITY/ has, or "error N"
//   /asks?AUTHORITY   the same by https
//   /resolve?NAME     "resolved", or "error N"

typedef unsigned char u8;
typedef int i32;
typedef long long i64;

#define FROM(module, name) __attribute__((import_module(module), import_name(name))) extern
#define TYPES(name) FROM("wasi:http/types@0.3.0", name)
#define EXPORT(name) __attribute__((export_name(name)))

FROM("$root", "[waitable-set-new]") i32 set_new(void);
FROM("$root", "[waitable-set-wait]") i32 set_wait(i32, i32 *);
FROM("$root", "[waitable-set-drop]") void set_drop(i32);
FROM("$root", "[waitable-join]") void join(i32, i32);
FROM("$root", "[subtask-drop]") void subtask_drop(i32);
FROM("[export]wasi:http/handler@0.3.0", "[task-return]handle")
void task_return(i32, i32, i32, i64, i32, i32, i32, i32);
FROM("wasi:cli/environment@0.3.0", "get-environment") void get_environment(void *);
FROM("wasi:cli/stdout@0.3.0", "write-via-stream") i32 print_stream(i32);
FROM("wasi:cli/stdout@0.3.0", "[stream-new-0]write-via-stream") i64 print_new(void);
FROM("wasi:cli/stdout@0.3.0", "[async-lower][stream-write-0]write-via-stream")
i32 print_write(i32, const void *, i32);
FROM("wasi:cli/stdout@0.3.0", "[stream-drop-writable-0]write-via-stream") void print_end(i32);
FROM("wasi:cli/stdout@0.3.0", "[async-lower][future-read-1]write-via-stream")
i32 printed_read(i32, void *);
FROM("wasi:cli/stdout@0.3.0", "[future-drop-readable-1]write-via-stream") void printed_drop(i32);
FROM("wasi:clocks/monotonic-clock@0.3.0", "[async-lower]wait-for") i32 wait_for(i64);
FROM("wasi:sockets/ip-name-lookup@0.3.0", "[async-lower]resolve-addresses")
i32 resolve_addresses(const void *, i32, void *);
FROM("wasi:http/client@0.3.0", "[async-lower]send") i32 client_send(i32, void *);
TYPES("[constructor]fields") i32 new_fields(void);
TYPES("[method]fields.append") void append(i32, const void *, i32, const void *, i32, void *);
TYPES("[resource-drop]request") void drop_request(i32);
TYPES("[resource-drop]response") void drop_response(i32);
TYPES("[method]request.get-path-with-query") void path_with_query(i32, void *);
TYPES("[method]request.get-authority") void get_authority(i32, void *);
TYPES("[static]request.consume-body") void consume(i32, i32, void *);
TYPES("[future-new-0][static]request.consume-body") i64 received_new(void);
TYPES("[async-lower][future-write-0][static]request.consume-body")
i32 received_write(i32, const void *);
TYPES("[future-drop-writable-0][static]request.consume-body") void received_drop(i32);
TYPES("[async-lower][stream-read-1][static]request.consume-body") i32 body_read(i32, void *, i32);
TYPES("[stream-drop-readable-1][static]request.consume-body") void body_drop(i32);
TYPES("[async-lower][future-read-2][static]request.consume-body") i32 trailers_read(i32, void *);
TYPES("[future-drop-readable-2][static]request.consume-body") void trailers_drop(i32);
TYPES("[static]response.new") void new_response(i32, i32, i32, i32, void *);
TYPES("[method]response.set-status-code") i32 set_status(i32, i32);
TYPES("[method]response.get-status-code") i32 get_status(i32);
TYPES("[stream-new-0][static]response.new") i64 content_new(void);
TYPES("[async-lower][stream-write-0][static]response.new")
i32 content_write(i32, const void *, i32);
TYPES("[stream-drop-writable-0][static]response.new") void content_end(i32);
TYPES("[future-new-1][static]response.new") i64 trailers_new(void);
TYPES("[async-lower][future-write-1][static]response.new") i32 trailers_write(i32, const void *);
TYPES("[future-drop-writable-1][static]response.new") void trailers_end(i32);
TYPES("[future-drop-readable-2][static]response.new") void sent_drop(i32);
TYPES("[static]request.new") void new_request(i32, i32, i32, i32, i32, i32, void *);
TYPES("[method]request.set-path-with-query") i32 set_path(i32, i32, const void *, i32);
TYPES("[method]request.set-scheme") i32 set_scheme(i32, i32, i32, const void *, i32);
TYPES("[method]request.set-authority") i32 set_authority(i32, i32, const void *, i32);
TYPES("[future-new-1][static]request.new") i64 asking_new(void);
TYPES("[async-lower][future-write-1][static]request.new") i32 asking_write(i32, const void *);
TYPES("[future-drop-writable-1][static]request.new") void asking_end(i32);
TYPES("[future-drop-readable-2][static]request.new") void asked_drop(i32);

enum { BLOCKED = -1, RETURNED = 2, DROPPED = 1, EXIT = 0 };

static u8 heap[1 << 20];
static i32 used;
static i32 requests;
static i32 set, sink, last;                // of the request in hand: content, and its trailers
static _Alignas(8) const u8 nothing[64];   // ok, of a result with nothing in it, or with none
static const char *const hello = "hello from wasm\n";

EXPORT("cabi_realloc") void *cabi_realloc(void *old, i32 had, i32 align, i32 size) {
  (void)old, (void)had, (void)align;  // nothing is ever given back before the request's end
  void *at = heap + used;
  used = (used + size + 7) & ~7;
  if (used > (i32)sizeof heap) __builtin_trap();
  return at;
}

static i32 length(const char *text) {
  i32 n = 0;
  while (text[n]) n++;
  return n;
}

static i32 is(const char *path, i32 size, const char *wanted) {
  if (size != length(wanted)) return 0;
  for (i32 i = 0; i < size; i++)
    if (path[i] != wanted[i]) return 0;
  return 1;
}

static i32 readable(i64 pair) { return (i32)pair; }
static i32 writable(i64 pair) { return (i32)(pair >> 32); }

// Wait for one thing, and return what came of it.
static i32 event(i32 waitable) {
  i32 told[2];
  join(waitable, set);
  set_wait(set, told);
  join(waitable, 0);
  return told[1];
}

static i32 done(i32 code, i32 waitable) { return code == BLOCKED ? event(waitable) : code; }

static void finish(i32 subtask) {
  if ((subtask & 15) == RETURNED) return;
  while (event(subtask >> 4) != RETURNED) continue;
  subtask_drop(subtask >> 4);
}

static void write(const void *data, i32 size) {
  for (const u8 *at = data; size > 0;) {
    i32 code = done(content_write(sink, at, size), sink);
    if ((code & 15) == DROPPED) __builtin_trap();  // nobody reads it any more
    at += code >> 4;
    size -= code >> 4;
  }
}

static void text(const char *what) { write(what, length(what)); }

static void number(i32 n) {
  char digits[12];
  i32 at = 12;
  do digits[--at] = '0' + n % 10;
  while (n /= 10);
  write(digits + at, 12 - at);
}

static void pause(i64 ms) { finish(wait_for(ms * 1000000)); }

static void begin(i32 status, const char *name, const char *value) {
  i32 result[8];
  i32 headers = new_fields();
  if (name) append(headers, name, length(name), value, length(value), result);
  i64 content = content_new(), trailers = trailers_new();
  sink = writable(content);
  last = writable(trailers);
  new_response(headers, 1, readable(content), readable(trailers), result);
  set_status(result[0], status);
  sent_drop(result[1]);
  task_return(0, result[0], 0, 0, 0, 0, 0, 0);
}

static void end(const void *trailers) {
  content_end(sink);
  done(trailers_write(last, trailers), last);
  trailers_end(last);
}

static void answer(const char *what) {
  begin(200, "content-type", "text/plain");
  text(what);
  end(nothing);
}

static void echo(i32 request) {
  static u8 piece[65536];
  static _Alignas(8) u8 trailers[64];
  i32 result[2], code;
  i64 received = received_new();
  consume(request, readable(received), result);
  begin(200, 0, 0);
  do {
    code = done(body_read(result[0], piece, sizeof piece), result[0]);
    write(piece, code >> 4);
  } while ((code & 15) != DROPPED);
  body_drop(result[0]);
  done(trailers_read(result[1], trailers), result[1]);
  trailers_drop(result[1]);
  if (trailers[0]) __builtin_trap();  // what came was not whole
  end(trailers);
  done(received_write(writable(received), nothing), writable(received));
  received_drop(writable(received));
}

static void environment(void) {
  i32 list[2];
  get_environment(list);
  i32 *pairs = (void *)list[0];
  begin(200, 0, 0);
  for (i32 i = 0; i < list[1]; i++, pairs += 4) {
    write((void *)pairs[0], pairs[1]);
    text("=");
    write((void *)pairs[2], pairs[3]);
    text("\n");
  }
  end(nothing);
}

static void print(const char *first, const char *then) {
  u8 result[4];
  i64 pair = print_new();
  i32 printed = print_stream(readable(pair));
  done(print_write(writable(pair), first, length(first)), writable(pair));
  pause(100);
  done(print_write(writable(pair), then, length(then)), writable(pair));
  print_end(writable(pair));
  done(printed_read(printed, result), printed);
  printed_drop(printed);
}

static void ask(const char *authority, i32 size, i32 scheme) {
  static _Alignas(8) u8 got[128];
  i32 result[2];
  i64 trailers = asking_new();
  new_request(new_fields(), 0, 0, readable(trailers), 0, 0, result);
  set_scheme(result[0], 1, scheme, 0, 0);
  set_authority(result[0], 1, authority, size);
  set_path(result[0], 1, "/", 1);
  i32 sending = client_send(result[0], got);
  i32 ended = asking_write(writable(trailers), nothing);
  finish(sending);
  begin(200, 0, 0);
  if (got[0]) {
    text("error ");
    number(got[8]);
  } else {
    number(get_status(*(i32 *)(got + 8)));
    drop_response(*(i32 *)(got + 8));
  }
  done(ended, writable(trailers));
  asking_end(writable(trailers));
  asked_drop(result[1]);
  end(nothing);
}

static void resolve(const char *name, i32 size) {
  static u8 got[32];
  finish(resolve_addresses(name, size, got));
  begin(200, 0, 0);
  if (got[0]) {
    text("error ");
    number(got[4]);
  } else
    text("resolved");
  end(nothing);
}

static void ticks(i32 count) {
  begin(200, 0, 0);
  while (count--) {
    text("tick\n");
    pause(50);
  }
  end(nothing);
}

static void authority(i32 request) {
  i32 result[3];
  get_authority(request, result);
  begin(200, 0, 0);
  write((void *)result[1], result[0] ? result[2] : 0);
  end(nothing);
}

static void summed(void) {
  i32 result[8];
  _Alignas(8) u8 trailers[64] = {[8] = 1};
  i32 fields = new_fields();
  append(fields, "x-sum", 5, "42", 2, result);
  *(i32 *)(trailers + 12) = fields;
  begin(200, "trailer", "x-sum");
  text("summed\n");
  end(trailers);
}

static void respond(i32 request, const char *path, i32 size, const char *rest, i32 left) {
  if (is(path, size, "/env")) environment();
  else if (is(path, size, "/stream")) ticks(10);
  else if (is(path, size, "/ever")) ticks(-1);
  else if (is(path, size, "/host")) authority(request);
  else if (is(path, size, "/trailers")) summed();
  else if (is(path, size, "/ask")) ask(rest, left, 0);
  else if (is(path, size, "/asks")) ask(rest, left, 1);
  else if (is(path, size, "/resolve")) resolve(rest, left);
  else if (is(path, size, "/trap")) __builtin_trap();
  else if (is(path, size, "/silent")) return;
  else if (is(path, size, "/refuse")) task_return(1, 36, 0, 0, 0, 0, 0, 0);  // loop-detected
  else if (is(path, size, "/loop")) for (volatile i32 i = 0;; i++);
  else if (is(path, size, "/print")) {
    print("one", " line\n");
    answer("printed\n");
  } else if (is(path, size, "/beside")) {
    answer("soon\n");
    print("", "done\n");
  } else if (is(path, size, "/nothing")) {
    begin(204, 0, 0);
    end(nothing);
    print("", "done\n");
  } else if (is(path, size, "/grow")) {
    while (__builtin_wasm_memory_grow(0, 16) != (__SIZE_TYPE__)-1) continue;
    __builtin_trap();
  } else if (is(path, size, "/late")) {
    answer("soon\n");
    pause(100);
    __builtin_trap();
  } else if (is(path, size, "/cut")) {
    begin(200, 0, 0);
    text("a part, ");
    pause(100);
    __builtin_trap();
  } else if (is(path, size, "/long")) {
    begin(200, "content-length", "16");
    text(hello);
    end(nothing);
  } else if (is(path, size, "/teapot")) {
    begin(418, 0, 0);
    end(nothing);
  } else if (is(path, size, "/sleep")) {
    pause(2000);
    answer("slept\n");
  } else if (is(path, size, "/count")) {
    begin(200, 0, 0);
    number(requests);
    end(nothing);
  } else if (is(path, size, "/hello")) answer(hello);
  else {
    begin(404, 0, 0);
    end(nothing);
  }
}

EXPORT("[async-lift]wasi:http/handler@0.3.0#handle") i32 handle(i32 request) {
  i32 result[3];
  used = 0;
  requests++;
  set = set_new();
  path_with_query(request, result);
  const char *path = (void *)result[1];
  i32 size = result[2], query = 0;
  while (query < size && path[query] != '?') query++;
  if (is(path, query, "/echo")) echo(request);
  else {
    respond(request, path, query, path + query + 1, size - query - 1);
    drop_request(request);
  }
  set_drop(set);
  return EXIT;
}

EXPORT("[callback][async-lift]wasi:http/handler@0.3.0#handle")
i32 resumed(i32 event, i32 waitable, i32 code) {
  (void)event, (void)waitable, (void)code;  // it never gives the stack back before its end
  __builtin_trap();
}
