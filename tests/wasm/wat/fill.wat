;; fill MIB: writes so many MiB to the file `full` of its first mount, says that
;; it has, and sleeps for ever.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  ;; include prelude.wat
  (data (i32.const 256) "full")
  (data (i32.const 272) "done\00")
  (func (export "_start")
    (local $left i32)
    ;; 32 pieces a MiB
    (local.set $left (i32.mul (call $number (i32.const 1) (i32.const 1)) (i32.const 32)))
    (call $check
      (call $path_open (i32.const 3) (i32.const 0) (i32.const 256) (i32.const 4)
        (i32.const 1)         ;; oflags: create
        (i64.const 64)        ;; rights: fd_write
        (i64.const 0)
        (i32.const 1)         ;; fdflags: append
        (i32.const 16)))
    (loop $more
      (call $write (i32.load (i32.const 16)) (i32.const 4096) (i32.const 32768))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (call $put (i32.const 272))
    (call $end_line)
    (call $sleep_for_ever)))
