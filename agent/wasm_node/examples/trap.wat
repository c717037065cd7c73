;; `wasm-node run trap`: what a crash looks like. The guest divides by zero; the
;; exit code is 134 and the log ends with the names of the functions it was in.
(module
  (memory (export "memory") 1)
  (func $divide (param $by i32) (result i32)
    (i32.div_s (i32.const 1) (local.get $by)))
  (func $compute
    (drop (call $divide (i32.const 0))))
  (func $_start (export "_start") (call $compute)))
