;; grow [MS]: after so long takes and touches memory a MiB at a time until that is
;; denied, says how much it has on stderr and traps, as a language's allocator would.
(module
  ;; include prelude.wat
  (data (i32.const 256) "out of memory at MiB \00")
  (func $_start (export "_start")
    (local $page i32)
    (if (call $arg (i32.const 1))
      (then (call $sleep_ms (i64.extend_i32_u (call $number (i32.const 1) (i32.const 0))))))
    (block $denied
      (loop $more
        (local.set $page (memory.grow (i32.const 16)))
        (br_if $denied (i32.eq (local.get $page) (i32.const -1)))
        (memory.fill (i32.mul (local.get $page) (i32.const 65536))
          (i32.const 1) (i32.const 1048576))
        (br $more)))
    (global.set $out (i32.const 2))
    (call $put (i32.const 256))
    (call $put_int (i32.div_u (memory.size) (i32.const 16)))
    (call $end_line)
    (unreachable)))
