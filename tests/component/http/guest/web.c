// A wasi:http component with one behaviour per path; no library, no libc.
//
//   /hello            "hello from wasm"
//   /long             the same with a content-length
//   /echo             the request's body, as it comes
//   /count            how many requests this instance has had
//   /env              its environment, a line each
//   /print            prints "one", waits, prints " line\n", answers
//   /stream           "tick\n" every 50 ms, ten times
//   /ever             "tick\n" every 50 ms, for ever
//   /trailers         a body, and the trailer x-sum
//   /teapot           status 418
//   /sleep            answers after two seconds
//   /trap /loop /grow ends badly, never, and with no memory
//   /late             answers, and traps after that
//   /silent           ends without an answer
//   /ask?AUTHORITY    status that http://AUTHORITY/ has, or "error N"
//   /asks?AUTHORITY   the same by https
//   /grpc.health.v1.Health/Check  SERVING, in gRPC
//   /tell?AUTHORITY   as /ask, of the path that its variable TELL has

typedef unsigned char u8;
typedef int i32;
typedef long long i64;

#define FROM(module, name) __attribute__((import_module(module), import_name(name))) extern
#define TYPES(name) FROM("wasi:http/types@0.2.0", name)
#define STREAMS(name) FROM("wasi:io/streams@0.2.0", name)

STREAMS("[method]input-stream.blocking-read") void read_some(i32, i64, void *);
STREAMS("[method]output-stream.blocking-write-and-flush")
void write_some(i32, const void *, i32, void *);
STREAMS("[resource-drop]input-stream") void drop_input(i32);
STREAMS("[resource-drop]output-stream") void drop_output(i32);
FROM("wasi:io/poll@0.2.0", "[method]pollable.block") void block(i32);
FROM("wasi:io/poll@0.2.0", "[resource-drop]pollable") void drop_pollable(i32);
FROM("wasi:cli/environment@0.2.0", "get-environment") void get_environment(void *);
FROM("wasi:cli/stdout@0.2.0", "get-stdout") i32 get_stdout(void);
FROM("wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration") i32 subscribe_duration(i64);
TYPES("[constructor]fields") i32 new_fields(void);
TYPES("[method]fields.append") void append(i32, const void *, i32, const void *, i32, void *);
TYPES("[method]incoming-request.path-with-query") void path_with_query(i32, void *);
TYPES("[method]incoming-request.consume") void consume(i32, void *);
TYPES("[resource-drop]incoming-request") void drop_request(i32);
TYPES("[method]incoming-body.stream") void body_stream(i32, void *);
TYPES("[resource-drop]incoming-body") void drop_body(i32);
TYPES("[constructor]outgoing-response") i32 new_response(i32);
TYPES("[method]outgoing-response.set-status-code") i32 set_status(i32, i32);
TYPES("[method]outgoing-response.body") void response_body(i32, void *);
TYPES("[method]outgoing-body.write") void body_write(i32, void *);
TYPES("[static]outgoing-body.finish") void finish(i32, i32, i32, void *);
TYPES("[static]response-outparam.set")
void set_response(i32, i32, i32, i32, i64, i32, i32, i32, i32);
TYPES("[resource-drop]response-outparam") void drop_outparam(i32);
TYPES("[constructor]outgoing-request") i32 new_request(i32);
TYPES("[method]outgoing-request.set-path-with-query") i32 set_path(i32, i32, const void *, i32);
TYPES("[method]outgoing-request.set-scheme") i32 set_scheme(i32, i32, i32, const void *, i32);
TYPES("[method]outgoing-request.set-authority")
i32 set_authority(i32, i32, const void *, i32);
TYPES("[method]future-incoming-response.subscribe") i32 subscribe_response(i32);
TYPES("[method]future-incoming-response.get") void get_response(i32, void *);
TYPES("[resource-drop]future-incoming-response") void drop_future(i32);
TYPES("[method]incoming-response.status") i32 get_status(i32);
TYPES("[resource-drop]incoming-response") void drop_response(i32);
FROM("wasi:http/outgoing-handler@0.2.0", "handle") void send(i32, i32, i32, void *);

static u8 heap[1 << 20];
static i32 used;
static i32 requests;
static i32 out, body, sink;  // of the request in hand

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, i32 had, i32 align, i32 size) {
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

static void write(const void *data, i32 size) {
  i32 result[4];
  const u8 *at = data;
  for (i32 part; size > 0; at += part, size -= part) {
    part = size < 4096 ? size : 4096;
    write_some(sink, at, part, result);
    if ((u8)result[0]) __builtin_trap();  // nobody reads it any more
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

static void pause(i64 ms) {
  i32 pollable = subscribe_duration(ms * 1000000);
  block(pollable);
  drop_pollable(pollable);
}

static void begin(i32 status, const char *name, const char *value) {
  i32 result[4];
  i32 headers = new_fields();
  if (name) append(headers, name, length(name), value, length(value), result);
  i32 response = new_response(headers);
  set_status(response, status);
  response_body(response, result);
  body = result[1];
  set_response(out, 0, response, 0, 0, 0, 0, 0, 0);
  body_write(body, result);
  sink = result[1];
}

static void end(i32 trailers) {
  i64 result[8];
  drop_output(sink);
  finish(body, trailers != 0, trailers, result);
}

static void answer(const char *what) {
  begin(200, "content-type", "text/plain");
  text(what);
  end(0);
}

static void echo(i32 request) {
  i32 result[4];
  consume(request, result);
  i32 incoming = result[1];
  body_stream(incoming, result);
  i32 source = result[1];
  begin(200, 0, 0);
  for (i32 start = used;; used = start) {
    read_some(source, 65536, result);
    if ((u8)result[0]) break;
    write((void *)result[1], result[2]);
  }
  drop_input(source);
  drop_body(incoming);
  end(0);
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
  end(0);
}

static void print(void) {
  i32 result[4];
  i32 stdout = get_stdout();
  write_some(stdout, "one", 3, result);
  pause(100);
  write_some(stdout, " line\n", 6, result);
  drop_output(stdout);
  answer("printed\n");
}

static void tell_of(i32 request) {
  i32 list[2];
  get_environment(list);
  i32 *pairs = (void *)list[0];
  for (i32 i = 0; i < list[1]; i++, pairs += 4)
    if (is((void *)pairs[0], pairs[1], "TELL")) set_path(request, 1, (void *)pairs[2], pairs[3]);
}

static void ask(const char *authority, i32 size, i32 scheme, i32 tell) {
  i32 future[16];
  _Alignas(8) u8 got[128];
  i32 request = new_request(new_fields());
  set_scheme(request, 1, scheme, 0, 0);
  set_authority(request, 1, authority, size);
  set_path(request, 1, "/", 1);
  if (tell) tell_of(request);
  send(request, 0, 0, future);
  begin(200, 0, 0);
  if ((u8)future[0]) {
    text("error ");
    number((u8)future[2]);
  } else {
    i32 pollable = subscribe_response(future[2]);
    block(pollable);
    drop_pollable(pollable);
    get_response(future[2], got);
    if (got[16]) {
      text("error ");
      number(got[24]);
    } else {
      i32 response = *(i32 *)(got + 24);
      number(get_status(response));
      drop_response(response);
    }
    drop_future(future[2]);
  }
  end(0);
}

static void ticks(i32 count) {
  begin(200, 0, 0);
  while (count--) {
    text("tick\n");
    pause(50);
  }
  end(0);
}

static void handle(i32 request) {
  i32 result[4], trailers;
  path_with_query(request, result);
  const char *path = (void *)result[1];
  i32 size = result[2], query = 0;
  while (query < size && path[query] != '?') query++;
  const char *rest = path + query + 1;
  i32 left = size - query - 1;
  size = query;
  if (is(path, size, "/echo")) echo(request);
  else if (is(path, size, "/env")) environment();
  else if (is(path, size, "/print")) print();
  else if (is(path, size, "/stream")) ticks(10);
  else if (is(path, size, "/ever")) ticks(-1);
  else if (is(path, size, "/ask")) ask(rest, left, 0, 0);
  else if (is(path, size, "/asks")) ask(rest, left, 1, 0);
  else if (is(path, size, "/tell")) ask(rest, left, 0, 1);
  else if (is(path, size, "/trap")) __builtin_trap();
  else if (is(path, size, "/silent")) drop_outparam(out);
  else if (is(path, size, "/loop")) for (volatile i32 i = 0;; i++);
  else if (is(path, size, "/grow")) {
    while (__builtin_wasm_memory_grow(0, 16) != (__SIZE_TYPE__)-1) continue;
    __builtin_trap();
  } else if (is(path, size, "/late")) {
    answer("soon\n");
    __builtin_trap();
  } else if (is(path, size, "/long")) {
    begin(200, "content-length", "16");
    text("hello from wasm\n");
    end(0);
  } else if (is(path, size, "/teapot")) {
    begin(418, 0, 0);
    end(0);
  } else if (is(path, size, "/sleep")) {
    pause(2000);
    answer("slept\n");
  } else if (is(path, size, "/count")) {
    begin(200, 0, 0);
    number(requests);
    end(0);
  } else if (is(path, size, "/trailers")) {
    begin(200, "trailer", "x-sum");
    text("summed\n");
    trailers = new_fields();
    append(trailers, "x-sum", 5, "42", 2, result);
    end(trailers);
  } else if (is(path, size, "/grpc.health.v1.Health/Check")) {
    begin(200, "content-type", "application/grpc");
    write("\0\0\0\0\2\x08\1", 7);
    trailers = new_fields();
    append(trailers, "grpc-status", 11, "0", 1, result);
    end(trailers);
  } else if (is(path, size, "/hello")) answer("hello from wasm\n");
  else {
    begin(404, 0, 0);
    end(0);
  }
}

__attribute__((export_name("wasi:http/incoming-handler@0.2.0#handle"))) void serve(
    i32 request, i32 response_out) {
  used = 0;
  requests++;
  out = response_out;
  handle(request);
  drop_request(request);
}
