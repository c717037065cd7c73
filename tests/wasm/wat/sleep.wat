;; sleep [MS]: sleeps so long in one poll_oneoff, then ends with 0; for ever
;; if MS is not given.
(module
  ;; include prelude.wat
  (func (export "_start")
    (if (call $arg (i32.const 1))
      (then (call $sleep_ms (i64.extend_i32_u (call $number (i32.const 1) (i32.const 0)))))
      (else (call $sleep_for_ever)))))
