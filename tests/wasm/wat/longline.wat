;; longline: writes one line of 100 KiB, newline included, in one host call.
(module
  ;; include prelude.wat
  (func (export "_start")
    (local $line i32)
    (local.set $line (call $alloc (i32.const 102400)))
    (memory.fill (local.get $line) (i32.const 120) (i32.const 102399))
    (i32.store8 (i32.add (local.get $line) (i32.const 102399)) (i32.const 10))
    (call $write (i32.const 1) (local.get $line) (i32.const 102400))))
