//! The place in the sequence of revocations up to which this server has read: which rows are new behind it, and before
//! which place no server is.

use std::time::Duration;

use entity::revocation::LIFT;

use super::store::Row;
use crate::base::clock::Stopwatch;

/// The time after which every server that runs has read a row.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// The last number that was read at a time, and one that was read at least [`SETTLED_AFTER`] earlier.
#[derive(Debug)]
pub(super) struct Settled {
    since: Stopwatch,
    seq: i64,
    before: i64,
}

impl Settled {
    pub(super) fn at(seq: i64) -> Self {
        Self { since: Stopwatch::start(), seq, before: 0 }
    }

    pub(super) fn get(&self) -> i64 {
        self.of(self.is_old())
    }

    pub(super) fn pass(&mut self, seq: i64) {
        self.moved(seq, self.is_old());
    }

    fn is_old(&self) -> bool {
        self.since.elapsed() >= SETTLED_AFTER
    }

    fn of(&self, is_old: bool) -> i64 {
        if is_old { self.seq } else { self.before }
    }

    fn moved(&mut self, seq: i64, is_old: bool) {
        // The first number, or one of another history, counts from now on.
        if self.seq == 0 || seq < self.seq {
            *self = Self::at(seq);
        } else if is_old {
            *self = Self { before: self.seq, ..Self::at(seq) };
        }
    }
}

/// Returns the rows after `place`; `rows` begins at that place. Returns `None` if the table has another history: there
/// is a different row at that place, or none although it was not lifted.
pub(super) fn new_rows(place: Option<&Row>, mut rows: Vec<Row>) -> Option<Vec<Row>> {
    let Some(place) = place else { return Some(rows) };
    match rows.first() {
        Some(first) if first.is_same(place) => {
            rows.remove(0);
            Some(rows)
        }
        Some(first) if first.seq == place.seq => None,
        _ => {
            let subject = format!("{}:{}", place.kind, place.subject);
            let lifted = rows.iter().any(|row| row.kind == LIFT && row.subject == subject);
            lifted.then_some(rows)
        }
    }
}

/// Leaves out a lift at the end of rows that others follow, together with what it repeats: the next read begins with them
/// and is complete. Services that got the lift alone would accept a revoked token meanwhile.
pub(super) fn leave_last_lift(rows: &mut Vec<Row>) {
    let Some(last) = rows.last() else { return };
    let subject = match last.kind.as_str() {
        LIFT => last.subject.clone(),
        kind => format!("{kind}:{}", last.subject),
    };
    let is_repeated =
        |row: &Row| row.kind != LIFT && format!("{}:{}", row.kind, row.subject) == subject;
    let before = rows.iter().rposition(|row| !is_repeated(row));
    let lift = before.filter(|place| rows[*place].kind == LIFT && rows[*place].subject == subject);
    if let Some(lift) = lift.filter(|lift| *lift > 0) {
        rows.truncate(lift);
    }
}

#[cfg(test)]
mod tests {
    use entity::revocation::{SESSION, TOKEN};

    use super::*;

    fn row(seq: i64, kind: &str, subject: &str) -> Row {
        Row { seq, kind: kind.to_owned(), subject: subject.to_owned(), until: 2, at: 1 }
    }

    #[test]
    fn another_history_is_distinguished_from_rows_that_were_lifted() {
        let place = row(5, SESSION, "a");
        let (next, other) = (row(6, SESSION, "b"), row(5, SESSION, "c"));
        let lift = row(7, LIFT, "sid:a");
        let later = Row { at: 2, ..place.clone() };
        for (what, rows, new) in [
            ("nothing new", vec![place.clone()], Some(vec![])),
            ("news", vec![place.clone(), next.clone()], Some(vec![next.clone()])),
            ("lifted", vec![next.clone(), lift.clone()], Some(vec![next.clone(), lift.clone()])),
            ("behind", vec![], None),
            ("another row", vec![other, next.clone()], None),
            ("the same thing at another time", vec![later], None),
            ("gone", vec![next.clone()], None),
            ("another lifted", vec![next.clone(), row(7, LIFT, "jti:a")], None),
        ] {
            assert_eq!(new_rows(Some(&place), rows), new, "{what}");
        }
        assert_eq!(new_rows(None, vec![next.clone()]), Some(vec![next]));
    }

    #[test]
    fn a_batch_does_not_end_between_a_lift_and_what_still_holds() {
        let rows = [
            row(1, SESSION, "a"),
            row(2, SESSION, "a"),
            row(3, LIFT, "sid:a"),
            row(4, SESSION, "a"),
            row(5, SESSION, "a"),
            row(6, TOKEN, "a"),
            row(7, LIFT, "sid:b"),
        ];
        for (count, left) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 6), (7, 6)] {
            let mut batch = rows[..count].to_vec();
            leave_last_lift(&mut batch);
            assert_eq!(batch, rows[..left], "{count}");
        }
        // A batch is never empty, so that the next one goes on behind it.
        let mut batch = rows[2..4].to_vec();
        leave_last_lift(&mut batch);
        assert_eq!(batch, rows[2..4]);
    }

    #[test]
    fn a_number_is_settled_a_minute_after_it_was_read() {
        let mut settled = Settled::at(0);
        settled.moved(7, false);
        settled.moved(9, false);
        assert_eq!((settled.of(false), settled.of(true)), (0, 7));
        settled.moved(12, true);
        assert_eq!((settled.of(false), settled.of(true)), (7, 12));
        settled.moved(20, false);
        assert_eq!((settled.of(false), settled.of(true)), (7, 12));
        // Another history, as after a restore.
        settled.moved(3, true);
        assert_eq!((settled.of(false), settled.of(true)), (0, 3));
        assert_eq!(Settled::at(5).get(), 0);
    }
}
