;; hello NAMES: greets from inside a wasm sandbox; each name, if there are any.
;;
;;   wasm-node run hello
;;   wasm-node run hello Ada Grace
;;
;; A whole WASI program in text: it asks the host for its arguments and writes
;; to standard output, and there is nothing else that it could do.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get"
    (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)  ;; 4 MiB: longer arguments trap
  (data (i32.const 16) "Hello ")
  (data (i32.const 24) ",")
  (data (i32.const 32) " from WebAssembly: a pod of one process and 4 MiB.\n")

  (func $print (param $text i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func $greet (param $name i32)
    (local $end i32)
    (local.set $end (local.get $name))
    (block $found
      (loop $next
        (br_if $found (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (call $print (i32.const 16) (i32.const 6))
    (call $print (local.get $name) (i32.sub (local.get $end) (local.get $name)))
    (call $print (i32.const 24) (i32.const 1))
    (call $print (i32.const 32) (i32.const 51)))

  (func (export "_start")
    (local $count i32)
    (local $i i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (local.set $count (i32.load (i32.const 0)))
    (if (i32.lt_u (local.get $count) (i32.const 2))
      (then
        (call $print (i32.const 16) (i32.const 5))
        (call $print (i32.const 32) (i32.const 51))
        (return)))
    (drop
      (call $args_get (i32.const 128)
        (i32.add (i32.const 128) (i32.mul (i32.const 4) (local.get $count)))))
    (local.set $i (i32.const 1))
    (loop $next
      (call $greet
        (i32.load (i32.add (i32.const 128) (i32.mul (i32.const 4) (local.get $i)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $count))))))
