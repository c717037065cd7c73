;; echo ARGS: prints them as one line, a space between.
(module
  ;; include prelude.wat
  (func (export "_start")
    (local $i i32)
    (local.set $i (i32.const 1))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (call $arg (local.get $i))))
        (if (i32.gt_u (local.get $i) (i32.const 1)) (then (call $put_char (i32.const 32))))
        (call $put (call $arg (local.get $i)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (call $end_line)))
