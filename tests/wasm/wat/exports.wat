;; exports: functions to be called by name. `initialized` returns 7 if
;; `_initialize` was called before, `hello` prints "hello", `code` returns its
;; first argument as an i32 and `long` 2^32, `trap` traps, `quit` ends with 42,
;; `add` has parameters and `half` returns no integer.
(module
  ;; include prelude.wat
  (global $seven (mut i32) (i32.const 0))
  (data (i32.const 256) "hello\00")
  (func (export "_initialize")
    (global.set $seven (i32.const 7)))
  (func (export "initialized") (result i32)
    (global.get $seven))
  (func (export "hello")
    (call $put (i32.const 256))
    (call $end_line))
  (func (export "code") (result i32)
    (call $number (i32.const 1) (i32.const 0)))
  (func (export "long") (result i64)
    (i64.const 4294967296))
  (func (export "trap")
    (unreachable))
  (func (export "quit")
    (call $proc_exit (i32.const 42)))
  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "half") (result f64)
    (f64.const 0.5)))
