;; ticks MS: waits for stdin and for a clock at the same time; prints "tick"
;; after MS without input, or what has come in; ends with the input.
(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  ;; include prelude.wat
  (data (i32.const 256) "tick\00")
  ;; Subscriptions at 512 (clock) and 560 (stdin), events at 640.
  (func (export "_start")
    (local $ms i64)
    (local.set $ms (i64.extend_i32_u (call $number (i32.const 1) (i32.const 0))))
    (loop $more
      (memory.fill (i32.const 512) (i32.const 0) (i32.const 192))
      (i32.store (i32.const 528) (i32.const 1))
      (i64.store (i32.const 536) (i64.mul (local.get $ms) (i64.const 1000000)))
      (i32.store8 (i32.const 568) (i32.const 1))
      (call $check
        (call $poll_oneoff (i32.const 512) (i32.const 640) (i32.const 2) (i32.const 8)))
      ;; The type of each of one or two events: 1 is of stdin.
      (if (i32.or
            (i32.load8_u (i32.const 650))
            (i32.and
              (i32.eq (i32.load (i32.const 8)) (i32.const 2))
              (i32.load8_u (i32.const 682))))
        (then
          (i32.store (i32.const 0) (i32.const 1024))
          (i32.store (i32.const 4) (i32.const 256))
          (call $check
            (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
          (if (i32.eqz (i32.load (i32.const 8))) (then (return)))
          (call $write (i32.const 1) (i32.const 1024) (i32.load (i32.const 8))))
        (else
          (call $put (i32.const 256))
          (call $end_line)))
      (br $more))))
