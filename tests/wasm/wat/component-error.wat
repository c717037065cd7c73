;; component-error: a p2 command whose run returns an error, which is code 1.
(component
  (core module $program (func (export "run") (result i32) (i32.const 1)))
  (core instance $program (instantiate $program))
  (func $run (result (result)) (canon lift (core func $program "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
