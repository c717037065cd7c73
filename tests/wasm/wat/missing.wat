;; missing: imports a function that no host has, beside one that every host has.
(module
  (import "env" "nope" (func $nope (param i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $nope (i32.const 1))
    (call $proc_exit (i32.const 0))))
