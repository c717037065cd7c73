//! Greets from Rust: its arguments, and the pod's name if the manifest gives it.

use std::env;

fn main() {
    let pod = env::var("POD_NAME").unwrap_or_else(|_| "(none)".into());
    println!("Hello from Rust in pod {pod}");
    for (i, argument) in env::args().enumerate().skip(1) {
        println!("argument {i}: {argument}");
    }
}
