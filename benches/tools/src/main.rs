//! The compiled tools of `benches/compare`: a load generator, the limits that a service cannot pass, and a proxy that
//! delays a database.
//!
//! ```text
//! bench-tools load                        read a scenario (JSON) from standard input, print its figures (JSON)
//! bench-tools bare BODY                   serve BODY, a JSON object, at /users/me with poem-openapi and nothing else
//! bench-tools hash COST SECONDS THREADS   bcrypt on THREADS threads and nothing else
//! bench-tools delay ADDRESS MILLISECONDS  a proxy to ADDRESS whose answers arrive later
//! ```

mod bare;
mod cpu;
mod delay;
mod hash;
mod load;
mod wire;

use std::fmt::Display;
use std::process::ExitCode;

/// A result whose error is a sentence for the person who runs the comparison.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["load"] => load::main(),
        ["bare", body] => bare::main(body),
        ["hash", cost, seconds, threads] => hash::main(cost, seconds, threads),
        ["delay", address, milliseconds] => delay::main(address, milliseconds),
        _ => Err(format!("{arguments:?} is not a command: see benches/tools/src/main.rs")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-tools: {error}");
            ExitCode::FAILURE
        }
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
