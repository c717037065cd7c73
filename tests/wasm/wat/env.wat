;; env: prints the environment, a line NAME=VALUE each, in the host's order.
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get"
    (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get"
    (func $environ_get (param i32 i32) (result i32)))
  ;; include prelude.wat
  (func (export "_start")
    (local $left i32)
    (local $at i32)
    (call $check (call $environ_sizes_get (i32.const 0) (i32.const 4)))
    (local.set $left (i32.load (i32.const 0)))
    (local.set $at (call $alloc (i32.mul (i32.const 4) (local.get $left))))
    (call $check
      (call $environ_get (local.get $at) (call $alloc (i32.load (i32.const 4)))))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $left)))
        (call $put (i32.load (local.get $at)))
        (call $end_line)
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $more)))))
