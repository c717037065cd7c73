;; count: counts seconds until it is stopped.
;;
;;   wasm-node run count          (Ctrl-C ends it)
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  ;; The digits of $n and a newline, written backwards from 256.
  (func $print (param $n i32)
    (local $at i32)
    (local.set $at (i32.const 255))
    (i32.store8 (i32.const 255) (i32.const 10))
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (br_if $next
        (local.tee $n (i32.div_u (local.get $n) (i32.const 10)))))
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (i32.sub (i32.const 256) (local.get $at)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  ;; One subscription at 64: the monotonic clock, a second from now.
  (func $sleep_a_second
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 1000000000))
    (drop
      (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8))))

  (func (export "_start")
    (local $n i32)
    (loop $next
      (call $print (local.tee $n (i32.add (local.get $n) (i32.const 1))))
      (call $sleep_a_second)
      (br $next))))
