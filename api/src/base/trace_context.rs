//! The trace that a request belongs to (W3C Trace Context), so that its log lines and its span can be found.

use std::fmt;

use uuid::Uuid;

use super::random;

/// The id of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId(u128);

/// The id of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanId(u64);

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl TraceId {
    /// A new id. It is different each time, but no secret.
    pub(crate) fn new() -> Self {
        Self(random::log_id().as_u128())
    }
}

impl SpanId {
    /// A new id. It is different each time, but no secret.
    pub(crate) fn new() -> Self {
        let id: Uuid = random::log_id();
        // The upper half has the fixed bits of a version, the lower half those of a variant: never zero.
        Self(id.as_u64_pair().0 ^ id.as_u64_pair().1.rotate_left(32) | 1)
    }
}

/// The header `traceparent` of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent {
    /// The trace.
    pub(crate) trace: TraceId,
    /// The span of the caller.
    pub(crate) span: SpanId,
}

impl TraceParent {
    /// Reads the header. A value that the specification does not allow counts as none.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (version, rest) = text.split_at_checked(2)?;
        let rest = rest.strip_prefix('-')?;
        let (trace, rest) = rest.split_at_checked(32)?;
        let rest = rest.strip_prefix('-')?;
        let (span, rest) = rest.split_at_checked(16)?;
        let rest = rest.strip_prefix('-')?;
        let (flags, rest) = rest.split_at_checked(2)?;
        let version = hex(version)?;
        // A later version can have more parts.
        let is_whole = rest.is_empty() || version > 0 && rest.starts_with('-');
        hex(flags)?;
        let (trace, span) = (hex(trace)?, u64::try_from(hex(span)?).ok()?);
        let is_valid = version != 0xff && is_whole && trace != 0 && span != 0;
        is_valid.then_some(Self { trace: TraceId(trace), span: SpanId(span) })
    }
}

/// Reads lower-case hexadecimal digits.
fn hex(text: &str) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_the_specification_says() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let read = |text: &str| TraceParent::read(text.as_bytes());
        for text in [
            format!("00-{trace}-{span}-01"),
            format!("00-{trace}-{span}-00"),
            format!("00-{trace}-{span}-ff"),
            format!("01-{trace}-{span}-01"),
            format!("cc-{trace}-{span}-02-more"),
        ] {
            let found = read(&text).unwrap();
            assert_eq!(
                (found.trace.to_string(), found.span.to_string()),
                (trace.into(), span.into())
            );
        }
        let upper = trace.to_ascii_uppercase();
        for text in [
            String::new(),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{trace}-{span}-01 "),
            format!("01-{trace}-{span}-01more"),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-1"),
            format!("0-{trace}-{span}-01"),
            format!("00-{upper}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}-{span}-0g"),
            format!("00-+{}-{span}-01", &trace[1..]),
            format!("00_{trace}_{span}_01"),
            "ü".repeat(30),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
        assert_eq!(TraceParent::read(b"\xff\xfe"), None);
    }

    #[test]
    fn new_ids_are_never_zero_and_differ() {
        let ids: std::collections::BTreeSet<_> =
            (0..1000).map(|_| format!("{}{}", TraceId::new(), SpanId::new())).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 48 && !id.starts_with(&"0".repeat(32))));
    }
}
