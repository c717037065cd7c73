;; neartrap MIB: brings its memory to so many MiB, touches it, and traps for
;; no reason of memory: no grow was denied. Exits 3 if it could not get there.
(module
  ;; include prelude.wat
  (func $_start (export "_start")
    (local $pages i32)
    (local.set $pages (i32.mul (call $number (i32.const 1) (i32.const 1)) (i32.const 16)))
    (if (i32.eq (i32.const -1)
          (memory.grow (i32.sub (local.get $pages) (memory.size))))
      (then (call $proc_exit (i32.const 3))))
    (memory.fill (i32.const 65536) (i32.const 1)
      (i32.mul (i32.sub (local.get $pages) (i32.const 1)) (i32.const 65536)))
    (unreachable)))
