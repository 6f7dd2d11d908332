//! The header `Forwarded` (RFC 7239).
//!
//! Each proxy adds an element at the end: `for=203.0.113.7;proto=https`. What stands before it can come from a client,
//! which may open a quoted text and not close it. So the header is read from its end, where the text of the proxy is
//! well-formed.

/// The elements of a line, in their order. A comma inside a quoted text separates nothing.
pub(super) fn elements(line: &[u8]) -> Vec<&[u8]> {
    let mut elements = split_from_end(line, b',');
    elements.reverse();
    elements
}

/// The client that an element names: the value of `for`, without quotes. `None` if the element names none, or two.
pub(super) fn client(element: &[u8]) -> Option<Vec<u8>> {
    let pairs = split_from_end(element, b';').into_iter();
    let mut clients = pairs.filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        name.eq_ignore_ascii_case(b"for").then(|| unquoted(value))
    });
    match (clients.next(), clients.next()) {
        (Some(client), None) => Some(client),
        _ => None,
    }
}

/// Splits a text at a separator outside of quoted texts, and returns the parts from the end to the beginning.
fn split_from_end(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut parts, mut end, mut quoted) = (Vec::new(), text.len(), false);
    for at in (0..text.len()).rev() {
        match text[at] {
            // A quote after a backslash belongs to the quoted text.
            b'"' if quoted && is_escaped(text, at) => {}
            b'"' => quoted = !quoted,
            byte if byte == separator && !quoted => {
                parts.push(&text[at + 1..end]);
                end = at;
            }
            _ => {}
        }
    }
    parts.push(&text[..end]);
    parts
}

/// Returns true if an odd number of backslashes stands before a byte.
fn is_escaped(text: &[u8], at: usize) -> bool {
    text[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Removes the quotes of a quoted text, and its backslashes.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let Some(inner) = inner else { return value.to_vec() };
    let mut escaped = false;
    let plain = inner.iter().copied().filter(|byte| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    });
    plain.collect()
}
