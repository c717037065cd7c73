;; exit42: ends at once with exit code 42, and so does `wasm-node run`.
;;
;;   wasm-node run exit42; echo $?
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $proc_exit (i32.const 42))))
