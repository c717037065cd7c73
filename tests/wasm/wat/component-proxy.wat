;; component-proxy: a component that claims to answer HTTP, and has a function
;; to be called by its name: `ready` returns 3.
(component
  (core module $program
    (func (export "three") (result i32) (i32.const 3)))
  (core instance $program (instantiate $program))
  (func $ready (result u32) (canon lift (core func $program "three")))
  (instance $handler (export "handle" (func $ready)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
  (export "ready" (func $ready)))
