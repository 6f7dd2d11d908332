//! The list that a service keeps from the revocation feed, and the records of it.

use tessera_verify::GrantClaims;
use tessera_verify::feed::{FeedList, IdKind, Record, RecordKind};
use uuid::Uuid;

use crate::support::{AUDIENCE, ISSUER, NOW, id_at, user};

const UNTIL: u32 = 2_000_000_000;

fn record(kind: RecordKind, at: u64, hash: u64) -> Record {
    Record { kind, at, until: UNTIL, hash }
}

#[test]
fn a_list_covers_a_token_of_a_grant_by_its_id_its_grant_or_its_user() {
    let (grant, id) = (Uuid::from_u128(0x77), id_at(NOW * 1000 + 5));
    let claims = GrantClaims::new(ISSUER, user(), AUDIENCE, "shop", grant, id);
    let issued = claims.issued_at_millis();
    let covers = |kind, at, hash| {
        let list = FeedList::new();
        assert!(list.is_empty() && !list.covers_grant(&claims));
        list.apply(&[record(kind, at, hash)]);
        assert!(!list.is_empty() && list.len() == 1);
        list.covers_grant(&claims)
    };
    assert!(covers(RecordKind::Deny, 0, IdKind::Token.hash(id)));
    assert!(covers(RecordKind::Deny, 0, IdKind::Session.hash(grant)));
    assert!(covers(RecordKind::Cut, issued, IdKind::User.hash(user())));
    assert!(covers(RecordKind::Cut, issued + 1, IdKind::User.hash(user())));
    assert!(!covers(RecordKind::Cut, issued - 1, IdKind::User.hash(user())));
    assert!(!covers(RecordKind::Cut, issued, IdKind::User.hash(grant)));
    assert!(!covers(RecordKind::Deny, 0, IdKind::Token.hash(grant)));
    assert!(!covers(RecordKind::Deny, 0, IdKind::Session.hash(id)));
}

#[test]
fn a_kind_of_record_has_one_name() {
    let kinds = [RecordKind::Deny, RecordKind::Cut, RecordKind::Lift, RecordKind::Key];
    for (kind, name) in kinds.into_iter().zip(["deny", "cut", "lift", "key"]) {
        assert_eq!((kind.name(), RecordKind::named(name)), (name, Some(kind)));
    }
    assert_eq!(RecordKind::named("Deny"), None);
}

#[test]
fn a_record_has_twenty_bytes_and_its_time_at_most_forty_eight_bits() {
    let most = (1 << 48) - 1;
    for (at, kept) in [(0, 0), (NOW * 1000, NOW * 1000), (most, most), (most + 1, most)] {
        let record = record(RecordKind::Cut, at, 0x0102_0304_0506_0708);
        let bytes = record.to_bytes();
        assert_eq!((bytes[0], bytes[1], &bytes[12..]), (2, 0, &[1, 2, 3, 4, 5, 6, 7, 8][..]));
        assert_eq!(Record::from_bytes(&bytes), Ok(Record { at: kept, ..record }));
    }
    assert!(Record::from_bytes(&[0; 20]).is_err() && Record::from_bytes(&[1; 19]).is_err());
}
