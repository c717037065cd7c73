;; flood MIB: writes so many MiB as fast as it can, in lines of 64 bytes that
;; begin with their number.
(module
  ;; include prelude.wat
  (func $put_line (param $number i32)
    (local $end i32)
    (call $put_int (local.get $number))
    (local.set $end (i32.or (global.get $used) (i32.const 63)))
    (loop $pad
      (call $put_char (i32.const 46))
      (br_if $pad (i32.lt_u (global.get $used) (local.get $end))))
    (call $put_char (i32.const 10)))
  (func (export "_start")
    (local $line i32)
    (local $lines i32)
    (local.set $lines
      (i32.mul (call $number (i32.const 1) (i32.const 1)) (i32.const 16384)))
    (loop $more
      (call $put_line (local.get $line))
      (local.set $line (i32.add (local.get $line) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $line) (local.get $lines))))
    (call $flush)))
