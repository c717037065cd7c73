;; component-exports: a p2 component whose functions are called by name: `none`
;; returns nothing, `three` 3, `well` and `ill` a result, `why` an error that
;; says "not today", `local:checks/all#ready` lies in an instance and returns 4,
;; `half` returns no integer and `twice` has a parameter.
(component
  (core module $program
    (memory (export "memory") 1)
    (data (i32.const 16) "\01\00\00\00\20\00\00\00\09\00\00\00")
    (data (i32.const 32) "not today")
    (func (export "none"))
    (func (export "three") (result i32) (i32.const 3))
    (func (export "four") (result i32) (i32.const 4))
    (func (export "well") (result i32) (i32.const 0))
    (func (export "ill") (result i32) (i32.const 1))
    (func (export "why") (result i32) (i32.const 16))
    (func (export "half") (result f32) (f32.const 0.5))
    (func (export "twice") (param i32) (result i32)
      (i32.mul (local.get 0) (i32.const 2))))
  (core instance $program (instantiate $program))
  (func (export "none") (canon lift (core func $program "none")))
  (func (export "three") (result u32) (canon lift (core func $program "three")))
  (func (export "well") (result (result)) (canon lift (core func $program "well")))
  (func (export "ill") (result (result)) (canon lift (core func $program "ill")))
  (func (export "why") (result (result (error string)))
    (canon lift (core func $program "why") (memory (core memory $program "memory"))))
  (func (export "half") (result float32) (canon lift (core func $program "half")))
  (func (export "twice") (param "of" u32) (result u32)
    (canon lift (core func $program "twice")))
  (func $ready (result s8) (canon lift (core func $program "four")))
  (instance $checks (export "ready" (func $ready)))
  (export "local:checks/all" (instance $checks)))
