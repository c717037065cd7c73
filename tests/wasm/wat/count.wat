;; count MS [TIMES [TAG]]: prints "n 0 TAG", "n 1 TAG" ..., each in one write,
;; and sleeps MS after each. For ever if TIMES is 0 or not there.
(module
  ;; include prelude.wat
  (data (i32.const 256) "n \00")
  (func (export "_start")
    (local $i i32)
    (loop $more
      (call $put (i32.const 256))
      (call $put_int (local.get $i))
      (if (call $arg (i32.const 3))
        (then
          (call $put_char (i32.const 32))
          (call $put (call $arg (i32.const 3)))))
      (call $end_line)
      (call $sleep_ms (i64.extend_i32_u (call $number (i32.const 1) (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.ne (local.get $i) (call $number (i32.const 2) (i32.const 0)))))))
