;; spin: prints "spinning", then loops for ever without any host call.
(module
  ;; include prelude.wat
  (data (i32.const 256) "spinning\00")
  (func (export "_start")
    (call $put (i32.const 256))
    (call $end_line)
    (loop $again (br $again))))
