;; leave NAME TEXT TIMES CODE: writes TEXT, so often, into the file NAME of its
;; first mount, then exits with CODE (255: traps). Exits with 64 + WASI's error
;; number where it cannot open that file.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  ;; include prelude.wat
  (func $length (param $text i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $text))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $more)))
    (i32.sub (local.get $end) (local.get $text)))
  (func (export "_start")
    (local $errno i32)
    (local $left i32)
    (local $code i32)
    (local.set $errno
      (call $path_open (i32.const 3) (i32.const 0)
        (call $arg (i32.const 1)) (call $length (call $arg (i32.const 1)))
        (i32.const 9)             ;; oflags: create, truncate
        (i64.const 64)            ;; rights: fd_write
        (i64.const 0)
        (i32.const 0)
        (i32.const 16)))
    (if (local.get $errno)
      (then (call $proc_exit (i32.add (i32.const 64) (local.get $errno)))))
    (global.set $out (i32.load (i32.const 16)))
    (local.set $left (call $number (i32.const 3) (i32.const 1)))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $left)))
        (call $put (call $arg (i32.const 2)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $more)))
    (call $flush)
    (local.set $code (call $number (i32.const 4) (i32.const 0)))
    (if (i32.eq (local.get $code) (i32.const 255)) (then (unreachable)))
    (call $proc_exit (local.get $code))))
