;; hello-http: answers every HTTP request with a greeting, until it is stopped.
;;
;;   wasm-node run hello-http     (Ctrl-C ends it)
;;   curl http://127.0.0.1:8080/
;;
;; A whole wasi:http component in text. First what it uses of WASI 0.2, which is
;; all that it can do; at the end the module that answers, in a dozen calls.
(component
  (import "wasi:io/error@0.2.0" (instance $errors
    (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))

  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $error))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "output-stream" (type $output-stream (sub resource)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output-stream)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream))

  (import "wasi:http/types@0.2.0" (instance $http
    (alias outer 1 $output-stream (type $output-stream))
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type (sub resource)))
    (export "outgoing-response" (type $response (sub resource)))
    (export "outgoing-body" (type $body (sub resource)))
    (export "response-outparam" (type $outparam (sub resource)))
    (type $header-error (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error' (eq $header-error)))
    (type $dns (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns' (eq $dns)))
    (type $alert (record
      (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $alert' (eq $alert)))
    (type $size (record
      (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size' (eq $size)))
    (type $error (variant
      (case "DNS-timeout") (case "DNS-error" $dns')
      (case "destination-not-found") (case "destination-unavailable")
      (case "destination-IP-prohibited") (case "destination-IP-unroutable")
      (case "connection-refused") (case "connection-terminated") (case "connection-timeout")
      (case "connection-read-timeout") (case "connection-write-timeout")
      (case "connection-limit-reached")
      (case "TLS-protocol-error") (case "TLS-certificate-error")
      (case "TLS-alert-received" $alert')
      (case "HTTP-request-denied") (case "HTTP-request-length-required")
      (case "HTTP-request-body-size" (option u64)) (case "HTTP-request-method-invalid")
      (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32))
      (case "HTTP-request-header-size" (option $size'))
      (case "HTTP-request-trailer-section-size" (option u32))
      (case "HTTP-request-trailer-size" $size')
      (case "HTTP-response-incomplete")
      (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size')
      (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32))
      (case "HTTP-response-trailer-size" $size')
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error")
      (case "loop-detected") (case "configuration-error")
      (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $error)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append"
      (func (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8))
        (result (result (error $header-error')))))
    (export "[constructor]outgoing-response"
      (func (param "headers" (own $fields)) (result (own $response))))
    (export "[method]outgoing-response.body"
      (func (param "self" (borrow $response)) (result (result (own $body)))))
    (export "[method]outgoing-body.write"
      (func (param "self" (borrow $body)) (result (result (own $output-stream)))))
    (export "[static]outgoing-body.finish"
      (func (param "this" (own $body)) (param "trailers" (option (own $fields)))
        (result (result (error $error-code)))))
    (export "[static]response-outparam.set"
      (func (param "param" (own $outparam))
        (param "response" (result (own $response) (error $error-code)))))))
  (alias export $http "incoming-request" (type $request))
  (alias export $http "response-outparam" (type $outparam))

  ;; What is said and what is told lie in one page. Only an error has a text,
  ;; for which there is no room: then this request ends with a trap.
  (core module $Memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (data (i32.const 0) "content-type" "text/plain")
    (data (i32.const 32) "Hello from WebAssembly: each request has an instance of its own.\n"))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $fields (canon lower (func $http "[constructor]fields")))
  (core func $append (canon lower (func $http "[method]fields.append") (memory $mem)))
  (core func $response (canon lower (func $http "[constructor]outgoing-response")))
  (core func $body (canon lower (func $http "[method]outgoing-response.body") (memory $mem)))
  (core func $write (canon lower (func $http "[method]outgoing-body.write") (memory $mem)))
  (core func $set
    (canon lower (func $http "[static]response-outparam.set") (memory $mem)))
  (core func $say
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $drop (canon resource.drop $output-stream))
  (core func $finish
    (canon lower (func $http "[static]outgoing-body.finish") (memory $mem) (realloc $realloc)))

  (core module $Hello
    (import "" "fields" (func $fields (result i32)))
    (import "" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "" "response" (func $response (param i32) (result i32)))
    (import "" "body" (func $body (param i32 i32)))
    (import "" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "" "write" (func $write (param i32 i32)))
    (import "" "say" (func $say (param i32 i32 i32 i32)))
    (import "" "drop" (func $drop (param i32)))
    (import "" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "" "memory" (memory 1))

    ;; Results come at 256: whether it went well, then what was asked for.
    (func (export "handle") (param $request i32) (param $to i32)
      (local $headers i32) (local $response i32) (local $body i32) (local $stream i32)
      (local.set $headers (call $fields))
      (call $append (local.get $headers)
        (i32.const 0) (i32.const 12) (i32.const 12) (i32.const 10) (i32.const 256))
      (local.set $response (call $response (local.get $headers)))
      (call $body (local.get $response) (i32.const 256))
      (local.set $body (i32.load (i32.const 260)))
      (call $set (local.get $to) (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $write (local.get $body) (i32.const 256))
      (local.set $stream (i32.load (i32.const 260)))
      (call $say (local.get $stream) (i32.const 32) (i32.const 65) (i32.const 256))
      (call $drop (local.get $stream))
      (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 256))))
  (core instance $hello (instantiate $Hello (with "" (instance
    (export "fields" (func $fields))
    (export "append" (func $append))
    (export "response" (func $response))
    (export "body" (func $body))
    (export "set" (func $set))
    (export "write" (func $write))
    (export "say" (func $say))
    (export "drop" (func $drop))
    (export "finish" (func $finish))
    (export "memory" (memory $mem))))))

  (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))
    (canon lift (core func $hello "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
