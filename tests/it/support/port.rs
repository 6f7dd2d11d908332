//! Ports that are known before a program listens on them.

use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

/// A port on which nothing listens, and which no other program takes meanwhile.
///
/// The kernel gives ports of its own range to servers at port 0 and to every connection. Such a port can be taken between
/// the moment when a test looks for it and the moment when its program listens. So these ports are outside that range, and
/// this process gives each of them once.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = ports();
    let count = u32::from(ports.end() - ports.start());
    for _ in 0..count {
        // Two runs of the tests at the same time begin at different places.
        let place = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        let port = ports.start() + u16::try_from(place).unwrap();
        if ["127.0.0.1", "0.0.0.0"].iter().all(|host| TcpListener::bind((*host, port)).is_ok()) {
            return port;
        }
    }
    panic!("no port of {ports:?} is free");
}

/// The ports outside the kernel's range that programs seldom use.
fn ports() -> RangeInclusive<u16> {
    let own = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let own: Vec<u16> = own.split_whitespace().filter_map(|port| port.parse().ok()).collect();
    match own[..] {
        [first, _] if first > 12_000 => 10_000..=first - 1,
        [_, last] if last < 63_000 => last + 1..=u16::MAX,
        // The kernel's range is everything, or it is not known.
        _ => 10_000..=u16::MAX,
    }
}
