;; readfile PATH: prints that file, an absolute path in one of its mounts, the
;; last one of those that hold it.
;; Exits 2 if no mount holds the path, or else with 64 + WASI's error number.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get"
    (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
    (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  ;; include prelude.wat
  (func $length (param $text i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $text))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $more)))
    (i32.sub (local.get $end) (local.get $text)))

  ;; How much of $path names the mount $fd: its name and a slash; 0: not in it.
  (func $within (param $fd i32) (param $path i32) (result i32)
    (local $name i32)
    (local $size i32)
    (local $i i32)
    (local.set $size (i32.load (i32.const 4)))
    (local.set $name (call $alloc (i32.add (local.get $size) (i32.const 1))))
    (call $check
      (call $fd_prestat_dir_name (local.get $fd) (local.get $name) (local.get $size)))
    (if (i32.ne (i32.const 47)
          (i32.load8_u (i32.sub (i32.add (local.get $name) (local.get $size)) (i32.const 1))))
      (then
        (i32.store8 (i32.add (local.get $name) (local.get $size)) (i32.const 47))
        (local.set $size (i32.add (local.get $size) (i32.const 1)))))
    (loop $more
      (if (i32.ne (i32.load8_u (i32.add (local.get $name) (local.get $i)))
            (i32.load8_u (i32.add (local.get $path) (local.get $i))))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $size))))
    (local.get $size))

  (func $open (param $path i32) (result i32)
    (local $fd i32)
    (local $skip i32)
    (local $next i32)
    (local $skip_next i32)
    (local $errno i32)
    (local.set $next (i32.const 3))
    (block $done
      (loop $more
        (br_if $done (call $fd_prestat_get (local.get $next) (i32.const 0)))
        (local.set $skip_next (call $within (local.get $next) (local.get $path)))
        (if (local.get $skip_next)
          (then
            (local.set $fd (local.get $next))
            (local.set $skip (local.get $skip_next))))
        (local.set $next (i32.add (local.get $next) (i32.const 1)))
        (br $more)))
    (if (i32.eqz (local.get $skip)) (then (call $proc_exit (i32.const 2))))
    (local.set $path (i32.add (local.get $path) (local.get $skip)))
    (local.set $errno
      (call $path_open (local.get $fd)
        (i32.const 1)             ;; lookupflags: follow links
        (local.get $path) (call $length (local.get $path))
        (i32.const 0)
        (i64.const 2)             ;; rights: fd_read
        (i64.const 0)
        (i32.const 0)
        (i32.const 16)))
    (if (local.get $errno)
      (then (call $proc_exit (i32.add (i32.const 64) (local.get $errno)))))
    (i32.load (i32.const 16)))

  (func (export "_start")
    (local $fd i32)
    (local.set $fd (call $open (call $arg (i32.const 1))))
    (block $done
      (loop $more
        (i32.store (i32.const 0) (i32.const 4096))
        (i32.store (i32.const 4) (i32.const 32768))
        (call $check
          (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $done (i32.eqz (i32.load (i32.const 8))))
        (call $write (i32.const 1) (i32.const 4096) (i32.load (i32.const 8)))
        (br $more)))))
