;; trap: prints a line, then traps in a function three calls deep.
(module
  ;; include prelude.wat
  (data (i32.const 256) "about to trap\00")
  (func $divide_the_cake (unreachable))
  (func $serve_the_guests (call $divide_the_cake))
  (func $throw_a_party (call $serve_the_guests))
  (func $_start (export "_start")
    (call $put (i32.const 256))
    (call $end_line)
    (call $throw_a_party)))
