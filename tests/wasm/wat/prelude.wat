  ;; What the guests share: arguments, a buffered writer, sleep, memory.
  ;; Inlined by guests.py where a guest says ";; include prelude.wat", so a
  ;; guest's own imports go above that line and all else below it.
  ;; Page 0: 0-255 scratch, 256-4095 free for a guest's data, 4096-36863 the
  ;; writer's buffer. From 65536 on: what $alloc gives out.
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get"
    (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit"
    (func $proc_exit (param i32)))

  (memory (export "memory") 1)
  (global $top (mut i32) (i32.const 65536))
  (global $out (mut i32) (i32.const 1))
  (global $used (mut i32) (i32.const 0))
  (global $argc (mut i32) (i32.const -1))
  (global $argv (mut i32) (i32.const 0))

  ;; Exits 74, as sysexits' EX_IOERR, if a host call has failed.
  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (i32.const 74)))))

  (func $alloc (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7))
        (i32.const -8)))
    (block $enough
      (loop $more
        (br_if $enough
          (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
        (br $more)))
    (local.get $at))

  ;; Writes all of it, in one host call unless the host takes less.
  (func $write (param $fd i32) (param $at i32) (param $size i32)
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $size)))
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $size))
        (call $check
          (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
        (local.set $size (i32.sub (local.get $size) (i32.load (i32.const 8))))
        (br $more))))

  ;; The writer: put things into a line of $out, then flush it in one call.
  (func $flush
    (call $write (global.get $out) (i32.const 4096) (global.get $used))
    (global.set $used (i32.const 0)))

  (func $put_char (param $char i32)
    (if (i32.eq (global.get $used) (i32.const 32768)) (then (call $flush)))
    (i32.store8 (i32.add (i32.const 4096) (global.get $used)) (local.get $char))
    (global.set $used (i32.add (global.get $used) (i32.const 1))))

  (func $put (param $text i32) ;; NUL-terminated
    (block $done
      (loop $more
        (br_if $done (i32.eqz (i32.load8_u (local.get $text))))
        (call $put_char (i32.load8_u (local.get $text)))
        (local.set $text (i32.add (local.get $text) (i32.const 1)))
        (br $more))))

  (func $put_int (param $number i32)
    (if (i32.ge_u (local.get $number) (i32.const 10))
      (then (call $put_int (i32.div_u (local.get $number) (i32.const 10)))))
    (call $put_char
      (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))

  (func $end_line
    (call $put_char (i32.const 10))
    (call $flush))

  ;; Argument number $i, NUL-terminated; 0 if there are not so many.
  (func $arg (param $i i32) (result i32)
    (if (i32.eq (global.get $argc) (i32.const -1))
      (then
        (call $check (call $args_sizes_get (i32.const 0) (i32.const 4)))
        (global.set $argc (i32.load (i32.const 0)))
        (global.set $argv
          (call $alloc (i32.mul (i32.const 4) (i32.load (i32.const 0)))))
        (call $check
          (call $args_get (global.get $argv) (call $alloc (i32.load (i32.const 4)))))))
    (if (i32.ge_u (local.get $i) (global.get $argc)) (then (return (i32.const 0))))
    (i32.load
      (i32.add (global.get $argv) (i32.mul (i32.const 4) (local.get $i)))))

  ;; The decimal number that argument $i is, or $default if it is not there.
  (func $number (param $i i32) (param $default i32) (result i32)
    (local $at i32)
    (local $value i32)
    (local.set $at (call $arg (local.get $i)))
    (if (i32.eqz (local.get $at)) (then (return (local.get $default))))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (i32.load8_u (local.get $at))))
        (local.set $value
          (i32.add (i32.mul (local.get $value) (i32.const 10))
            (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $more)))
    (local.get $value))

  ;; A subscription to the monotonic clock: tag at 8, clock at 16, time at 24.
  (func $sleep_ms (param $ms i64)
    (memory.fill (i32.const 64) (i32.const 0) (i32.const 48))
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.mul (local.get $ms) (i64.const 1000000)))
    (call $check
      (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8))))

  (func $sleep_for_ever
    (loop $again
      (call $sleep_ms (i64.const 86400000))
      (br $again)))
