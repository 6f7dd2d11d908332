//! The limit of a sign-in: bcrypt on every core, and nothing else.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Outcome, cpu, text};

pub(crate) fn main(cost: &str, seconds: &str, threads: &str) -> Outcome<()> {
    let cost: u32 = cost.parse().map_err(text)?;
    let window = Duration::from_secs_f64(seconds.parse().map_err(text)?);
    let threads: usize = threads.parse().map_err(text)?;
    let (began, cpu_before) = (Instant::now(), cpu::of_trees(&[std::process::id()]));
    let hash = move || {
        let mut latencies = Vec::new();
        while began.elapsed() < window {
            let began = Instant::now();
            let hashed = bcrypt::hash_with_salt("correct horse battery", cost, [7; 16]);
            hashed.map_err(text)?;
            latencies.push(began.elapsed());
        }
        Ok(latencies)
    };
    let threads: Vec<_> = (0..threads).map(|_| thread::spawn(hash)).collect();
    let mut latencies: Vec<Duration> = Vec::new();
    for thread in threads {
        let hashed: Outcome<_> = thread.join().map_err(|_| "a thread panicked")?;
        latencies.extend(hashed?);
    }
    let seconds = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |part: f64| latencies[(part * (latencies.len() - 1) as f64).round() as usize];
    let figures = json!({
        "answered": latencies.len(),
        "seconds": seconds,
        "cpu": { "server": cpu::of_trees(&[std::process::id()]) - cpu_before },
        "p50": at(0.5).as_secs_f64() * 1e3,
        "p99": at(0.99).as_secs_f64() * 1e3,
    });
    println!("{figures}");
    Ok(())
}
