//! A TCP proxy whose answers arrive later, as if the server were farther away.
//!
//! Each connection has three threads: one passes requests on at once, one reads answers and notes when each is due, and
//! one waits until then. A thread can sleep until a time with an error of about 0.1 ms, where a timer of tokio rounds
//! to 1 ms. The threads only move bytes, so the proxy is not the limit: `benches/compare` shows its figures for a delay
//! of zero beside those without a proxy.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Outcome, text};

/// Bytes and the time when they are due.
type Late = (Instant, Vec<u8>);

pub(crate) fn main(address: &str, milliseconds: &str) -> Outcome<()> {
    let delay = Duration::from_secs_f64(milliseconds.parse::<f64>().map_err(text)? / 1e3);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    println!("{}", listener.local_addr().map_err(text)?);
    for near in listener.incoming() {
        let near = near.map_err(text)?;
        let address = address.to_owned();
        // Connecting happens beside the accept loop, so that nobody waits for it.
        thread::spawn(move || {
            if let Err(error) = forward(&near, &address, delay) {
                eprintln!("bench-tools: {address} cannot be reached: {error}");
            }
        });
    }
    Ok(())
}

fn forward(near: &TcpStream, address: &str, delay: Duration) -> std::io::Result<()> {
    let far = TcpStream::connect(address)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (sender, receiver) = channel();
    let (mut from_near, mut to_far) = (near.try_clone()?, far.try_clone()?);
    let to_near = near.try_clone()?;
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_near, &mut to_far);
        let _ = to_far.shutdown(Shutdown::Write);
    });
    thread::spawn(move || deliver(&receiver, to_near));
    note(far, &sender, delay);
    Ok(())
}

/// Reads answers and notes when each is due.
fn note(mut far: TcpStream, sender: &Sender<Late>, delay: Duration) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = far.read(&mut buffer) {
        if sender.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// Passes each answer on when it is due.
fn deliver(receiver: &Receiver<Late>, mut near: TcpStream) {
    while let Ok((due, bytes)) = receiver.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if near.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = near.shutdown(Shutdown::Both);
}
