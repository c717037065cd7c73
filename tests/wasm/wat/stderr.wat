;; stderr: writes "to stdout" and "to stderr", each to where it says.
(module
  ;; include prelude.wat
  (data (i32.const 256) "to stdout\00")
  (data (i32.const 272) "to stderr\00")
  (func (export "_start")
    (call $put (i32.const 256))
    (call $end_line)
    (global.set $out (i32.const 2))
    (call $put (i32.const 272))
    (call $end_line)))
