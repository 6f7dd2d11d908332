//! Reads lines `{"jwk": …, "jws": "…"}` from standard input. For each line it prints `valid` if the key, or a key of
//! the set, signed the token, and `invalid` otherwise. It does not check the claims.

use std::io::{BufRead, BufWriter, Write};

use serde::Deserialize;
use serde_json::value::RawValue;
use tessera_verify::Key;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    jwk: &'a RawValue,
    jws: String,
}

fn main() -> std::io::Result<()> {
    let mut output = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        writeln!(output, "{}", if is_valid(&line) { "valid" } else { "invalid" })?;
    }
    output.flush()
}

fn is_valid(line: &str) -> bool {
    let Ok(Line { jwk, jws }) = serde_json::from_str::<Line<'_>>(line) else { return false };
    let key = Key::from_jwk(jwk.get()).map(|key| vec![key]);
    let keys = key.or_else(|_| Key::from_jwks(jwk.get()));
    keys.is_ok_and(|keys| keys.iter().any(|key| key.verify(&jws).is_ok()))
}
