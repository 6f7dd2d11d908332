//! A parser of server-sent events, for what an issuer of Tessera sends.

use std::time::Duration;

/// The longest event, in bytes. The server sends 1,024 records in one, or a few more that belong together.
const MAX_EVENT: usize = 4 * 1024 * 1024;

/// The text of a stream that is not parsed yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    buffer: Vec<u8>,
}

/// An event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ServerEvent {
    /// Its data; empty if it has none.
    pub(super) data: String,
    /// The time after which the client connects again, if the event says one.
    pub(super) retry: Option<Duration>,
}

/// The error for a stream that is no stream of events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoEvents;

impl Events {
    /// Adds bytes, and returns the events that are complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<ServerEvent>, NoEvents> {
        // What was there before has no end of an event, so only the new part is searched.
        let mut from = self.buffer.len().saturating_sub(1);
        self.buffer.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.buffer[from..].windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.buffer.drain(..from + end + 2).collect();
            from = 0;
            let event = String::from_utf8(event).map_err(|_| NoEvents)?;
            found.push(parsed(&event));
        }
        if self.buffer.len() > MAX_EVENT { Err(NoEvents) } else { Ok(found) }
    }
}

fn parsed(event: &str) -> ServerEvent {
    let values = |name: &'static str| {
        let values =
            event.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':'));
        values.map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let millis = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number).map(Duration::from_millis)
    };
    ServerEvent {
        data: values("data").collect::<Vec<_>>().join("\n"),
        retry: values("retry").filter_map(millis).next_back(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_stream_is_cut() {
        let stream =
            b"id: 1\ndata: {\"a\":1}\n\n: a comment\n\nretry: 5\n\nid: 2\ndata:x\ndata: y\nretry:+7\n\n";
        for size in 1..stream.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for part in stream.chunks(size) {
                found.extend(events.push(part).unwrap());
            }
            let texts: Vec<_> = found.iter().map(|event| &*event.data).collect();
            assert_eq!(texts, ["{\"a\":1}", "", "", "x\ny"], "{size}");
            let waits: Vec<_> = found.iter().map(|event| event.retry).collect();
            assert_eq!(waits, [None, None, Some(Duration::from_millis(5)), None], "{size}");
        }
        let mut events = Events::default();
        assert_eq!(events.push(&vec![b'x'; MAX_EVENT + 1]), Err(NoEvents));
    }
}
