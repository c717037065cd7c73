;; ledger TAG: appends the line "TAG start" to the file `starts` of its first
;; mount, if it has one, then sleeps for ever. Starts counted from outside.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get"
    (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  ;; include prelude.wat
  (data (i32.const 256) "starts")
  (data (i32.const 272) " start\00")
  (func (export "_start")
    (if (i32.eqz (call $fd_prestat_get (i32.const 3) (i32.const 0)))
      (then
        (call $check
          (call $path_open (i32.const 3) (i32.const 0) (i32.const 256) (i32.const 6)
            (i32.const 1)         ;; oflags: create
            (i64.const 64)        ;; rights: fd_write
            (i64.const 0)
            (i32.const 1)         ;; fdflags: append
            (i32.const 16)))
        (global.set $out (i32.load (i32.const 16)))
        (call $put (call $arg (i32.const 1)))
        (call $put (i32.const 272))
        (call $end_line)))
    (call $sleep_for_ever)))
