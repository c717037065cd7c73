;; random: prints 32 bytes of random_get as 64 hexadecimal digits.
(module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random_get (param i32 i32) (result i32)))
  ;; include prelude.wat
  (data (i32.const 256) "0123456789abcdef")
  (func $put_digit (param $digit i32)
    (call $put_char (i32.load8_u (i32.add (i32.const 256) (local.get $digit)))))
  (func (export "_start")
    (local $i i32)
    (call $check (call $random_get (i32.const 320) (i32.const 32)))
    (loop $more
      (call $put_digit
        (i32.shr_u (i32.load8_u (i32.add (i32.const 320) (local.get $i))) (i32.const 4)))
      (call $put_digit
        (i32.and (i32.load8_u (i32.add (i32.const 320) (local.get $i))) (i32.const 15)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 32))))
    (call $end_line)))
