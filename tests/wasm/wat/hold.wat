;; hold MIB [MS]: takes and touches so many MiB, one every MS milliseconds (1
;; if it is not given), says how much it has after each on stdout, and keeps it.
(module
  ;; include prelude.wat
  (func (export "_start")
    (local $most i32)
    (local $has i32)
    (local $ms i64)
    (local.set $most (call $number (i32.const 1) (i32.const 1)))
    (local.set $ms (i64.extend_i32_u (call $number (i32.const 2) (i32.const 1))))
    (block $full
      (loop $more
        (br_if $full (i32.ge_u (local.get $has) (local.get $most)))
        (memory.fill
          (i32.mul (memory.grow (i32.const 16)) (i32.const 65536))
          (i32.const 1) (i32.const 1048576))
        (local.set $has (i32.add (local.get $has) (i32.const 1)))
        (call $put_int (local.get $has))
        (call $end_line)
        (call $sleep_ms (local.get $ms))
        (br $more)))
    (call $sleep_for_ever)))
