;; note [WORD]: appends the line WORD to the file `notes` of the last mount that
;; can have one, and ends; with a second word exits 2; without one sleeps for ever. The export
;; `noted` returns 0 if there is such a file, else 1; `copies` copies stdin to
;; stdout until its end; `cries` traps.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get"
    (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  ;; include prelude.wat
  (data (i32.const 256) "notes")
  ;; Opens the file to a descriptor at 16; returns WASI's error number.
  (func $open (param $oflags i32) (param $rights i64) (param $fdflags i32) (result i32)
    (local $fd i32)
    (local $errno i32)
    (local.set $fd (i32.const 3))
    (block $done
      (loop $more
        (br_if $done (call $fd_prestat_get (local.get $fd) (i32.const 0)))
        (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
        (br $more)))
    (local.set $errno (i32.const 44)) ;; noent
    (block $done
      (loop $more
        (local.set $fd (i32.sub (local.get $fd) (i32.const 1)))
        (br_if $done (i32.lt_u (local.get $fd) (i32.const 3)))
        (local.set $errno
          (call $path_open (local.get $fd) (i32.const 0) (i32.const 256) (i32.const 5)
            (local.get $oflags) (local.get $rights) (i64.const 0) (local.get $fdflags)
            (i32.const 16)))
        (br_if $more (local.get $errno))))
    (local.get $errno))

  (func (export "noted") (result i32)
    (i32.ne (i32.const 0)
      (call $open (i32.const 0) (i64.const 2) (i32.const 0)))) ;; rights: fd_read

  (func (export "copies")
    (block $done
      (loop $more
        (i32.store (i32.const 0) (i32.const 4096))
        (i32.store (i32.const 4) (i32.const 32768))
        (call $check
          (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $done (i32.eqz (i32.load (i32.const 8))))
        (call $write (i32.const 1) (i32.const 4096) (i32.load (i32.const 8)))
        (br $more))))

  (func (export "cries") (unreachable))

  (func (export "_start")
    (if (call $arg (i32.const 2)) (then (call $proc_exit (i32.const 2))))
    (if (i32.eqz (call $arg (i32.const 1))) (then (call $sleep_for_ever)))
    (call $check
      (call $open (i32.const 1) (i64.const 64) (i32.const 1))) ;; create; fd_write; append
    (global.set $out (i32.load (i32.const 16)))
    (call $put (call $arg (i32.const 1)))
    (call $end_line)))
