;; component-task: a command of WASI 0.3 that says how it ended before it ends:
;; it returns an error, and prints "hello from a task" after that.
(component
  (import "wasi:cli/types@0.3.0" (instance $types
    (type $code (enum "io" "illegal-byte-sequence" "pipe"))
    (export "error-code" (type (eq $code)))))
  (alias export $types "error-code" (type $code))
  (import "wasi:cli/stdout@0.3.0" (instance $stdout
    (alias outer 1 $code (type $outer-code))
    (export "error-code" (type $code (eq $outer-code)))
    (type $bytes (stream u8))
    (type $written (result (error $code)))
    (type $end (future $written))
    (export "write-via-stream" (func (param "data" $bytes) (result $end)))))
  (type $bytes (stream u8))
  (type $written (result (error $code)))
  (type $end (future $written))

  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 16) "hello from a task\n"))
  (core instance $memory (instantiate $memory))

  (core func $write-via-stream (canon lower (func $stdout "write-via-stream")))
  (core func $stream-new (canon stream.new $bytes))
  (core func $stream-write
    (canon stream.write $bytes async (memory (core memory $memory "memory"))))
  (core func $stream-drop (canon stream.drop-writable $bytes))
  (core func $end-drop (canon future.drop-readable $end))
  (core func $set-new (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $return (canon task.return (result (result))))

  (core module $program
    (import "host" "write-via-stream" (func $write-via-stream (param i32) (result i32)))
    (import "host" "stream-new" (func $stream-new (result i64)))
    (import "host" "stream-write" (func $stream-write (param i32 i32 i32) (result i32)))
    (import "host" "stream-drop" (func $stream-drop (param i32)))
    (import "host" "end-drop" (func $end-drop (param i32)))
    (import "host" "set-new" (func $set-new (result i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "return" (func $return (param i32)))
    (global $stream (mut i32) (i32.const 0))
    (func $finish (result i32)
      (call $stream-drop (global.get $stream))
      (i32.const 0)) ;; EXIT
    (func (export "run") (result i32)
      (local $pair i64)
      (local $set i32)
      (call $return (i32.const 1))
      (local.set $pair (call $stream-new))
      (global.set $stream (i32.wrap_i64 (i64.shr_u (local.get $pair) (i64.const 32))))
      (call $end-drop (call $write-via-stream (i32.wrap_i64 (local.get $pair))))
      (if (result i32)
        (i32.ne
          (call $stream-write (global.get $stream) (i32.const 16) (i32.const 18))
          (i32.const -1)) ;; BLOCKED
        (then (call $finish))
        (else
          (local.set $set (call $set-new))
          (call $join (global.get $stream) (local.get $set))
          (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4)))))) ;; WAIT
    (func (export "resumed") (param i32 i32 i32) (result i32)
      (call $finish)))
  (core instance $program (instantiate $program
    (with "host" (instance
      (export "write-via-stream" (func $write-via-stream))
      (export "stream-new" (func $stream-new))
      (export "stream-write" (func $stream-write))
      (export "stream-drop" (func $stream-drop))
      (export "end-drop" (func $end-drop))
      (export "set-new" (func $set-new))
      (export "join" (func $join))
      (export "return" (func $return))))))

  (func $run async (result (result))
    (canon lift (core func $program "run") async (callback (core func $program "resumed"))))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.3.0" (instance $command)))
