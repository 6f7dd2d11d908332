//! The revocation list.

use std::sync::Arc;

use tessera_verify::{Claims, Refusal, Revocation, RevocationList, TokenType};
use uuid::Uuid;

use crate::support::{
    NOW, access_claims, access_token, id_at, refresh_claims, refresh_token, session, user,
    verifier, verifier_with,
};

const UNTIL: u64 = NOW + 1000;

fn list(entries: impl IntoIterator<Item = Revocation>) -> RevocationList {
    let list = RevocationList::new();
    entries.into_iter().for_each(|entry| list.add(entry));
    list
}

fn covers(entry: Revocation, claims: &Claims) -> bool {
    list([entry]).covers(claims)
}

#[test]
fn every_method_that_verifies_refuses_a_revoked_token() {
    let verifier = verifier_with(list([Revocation::token(access_claims().jti, UNTIL)]));
    let token = access_token();
    assert_eq!(verifier.verify(&token, TokenType::Access, NOW), Err(Refusal::Revoked));
    assert_eq!(verifier.verify_either(&token, NOW), Err(Refusal::Revoked));
    assert_eq!(verifier.verify_any(&token, NOW), Err(Refusal::Revoked));
    assert!(verifier.is_revoked(&access_claims()));
    // It can still be read, so that it can be revoked again.
    assert_eq!(verifier.read(&token), Ok(access_claims()));
    assert_eq!(verifier.read_past(&token, NOW), Ok(access_claims()));
    assert!(verifier.verify_either(&refresh_token(), NOW).is_ok());
    assert!(!verifier.is_revoked(&refresh_claims()));
}

#[test]
fn a_verifier_without_a_list_revokes_nothing() {
    assert!(!verifier().is_revoked(&access_claims()));
    assert!(!verifier_with(RevocationList::new()).is_revoked(&access_claims()));
}

#[test]
fn a_token_is_refused_from_the_time_when_it_is_revoked() {
    let list = Arc::new(RevocationList::new());
    let verifier = verifier().revocations(Arc::clone(&list));
    assert!(verifier.verify_either(&access_token(), NOW).is_ok());
    list.add(Revocation::session(session(), UNTIL));
    assert_eq!(verifier.verify_either(&access_token(), NOW), Err(Refusal::Revoked));
    assert_eq!(verifier.verify_either(&refresh_token(), NOW), Err(Refusal::Revoked));
    list.lift(Revocation::session(session(), 0));
    assert!(verifier.verify_either(&access_token(), NOW).is_ok());
}

#[test]
fn a_token_is_revoked_by_its_id_its_session_or_its_user() {
    let other = Uuid::from_u128(0x9999);
    let (access, refresh) = (access_claims(), refresh_claims());
    assert!(covers(Revocation::token(access.jti, UNTIL), &access));
    assert!(covers(Revocation::token(refresh.jti, UNTIL), &refresh));
    assert!(!covers(Revocation::token(other, UNTIL), &access));
    assert!(covers(Revocation::session(session(), UNTIL), &access));
    assert!(covers(Revocation::session(session(), UNTIL), &refresh));
    assert!(!covers(Revocation::session(other, UNTIL), &access));
    assert!(covers(Revocation::user(user(), u64::MAX, UNTIL), &access));
    assert!(!covers(Revocation::user(other, u64::MAX, UNTIL), &access));
    // An id of one kind does not cover another kind.
    for id in [session(), user()] {
        assert!(!covers(Revocation::token(id, UNTIL), &access));
    }
    for id in [access.jti, user()] {
        assert!(!covers(Revocation::session(id, UNTIL), &access));
    }
    for id in [access.jti, session()] {
        assert!(!covers(Revocation::user(id, u64::MAX, UNTIL), &access));
    }
}

#[test]
fn a_list_tells_whether_a_session_is_revoked() {
    let revoked = list([Revocation::session(session(), UNTIL)]);
    assert!(revoked.has_session(&session()) && !revoked.has_session(&user()));
    let others = [Revocation::token(session(), UNTIL), Revocation::user(session(), NOW, UNTIL)];
    assert!(!list(others).has_session(&session()));
}

#[test]
fn no_session_covers_a_token_without_a_session() {
    let mut claims = access_claims();
    claims.sid = None;
    assert!(!covers(Revocation::session(session(), UNTIL), &claims));
    assert!(!covers(Revocation::session(Uuid::nil(), UNTIL), &claims));
    assert!(covers(Revocation::token(claims.jti, UNTIL), &claims));
}

#[test]
fn a_subject_can_be_revoked_by_name() {
    let mut claims = access_claims();
    claims.sub = "a client".into();
    assert!(covers(Revocation::user("a client", u64::MAX, UNTIL), &claims));
    assert!(!covers(Revocation::user("a clienT", u64::MAX, UNTIL), &claims));
    let list = list([Revocation::user("a client", 7, UNTIL)]);
    assert_eq!(list.issued_by(&"a client".into()), Some(7));
    assert_eq!(list.issued_by(&"another".into()), None);
}

#[test]
fn a_cut_off_covers_tokens_that_were_issued_up_to_its_millisecond() {
    let cut_off = NOW * 1000 + 5;
    for (issued, is_covered) in [(cut_off - 1, true), (cut_off, true), (cut_off + 1, false)] {
        let mut claims = access_claims();
        claims.jti = id_at(issued);
        let entry = Revocation::user(user(), cut_off, UNTIL);
        assert_eq!(covers(entry, &claims), is_covered, "{issued}");
    }
    // A cut-off does not cover refresh tokens, which end with their session.
    assert!(!covers(Revocation::user(user(), u64::MAX, UNTIL), &refresh_claims()));
}

#[test]
fn the_later_cut_off_applies_in_any_order() {
    let entries =
        [Revocation::user(user(), 5000, NOW + 100), Revocation::user(user(), 6000, NOW + 50)];
    for order in [[0, 1], [1, 0], [1, 1]] {
        let list = list(order.map(|index| entries[index].clone()));
        assert_eq!(list.issued_by(&user().into()), Some(6000));
        assert_eq!(list.len(), 1);
    }
    let list = list(entries);
    list.drop_before(NOW + 100);
    assert_eq!(list.issued_by(&user().into()), Some(6000));
    list.drop_before(NOW + 101);
    assert_eq!(list.issued_by(&user().into()), None);
}

#[test]
fn the_later_end_of_an_entry_applies_in_any_order() {
    type Make = fn(u64) -> Revocation;
    let entries: [Make; 2] = [
        |until| Revocation::token(access_claims().jti, until),
        |until| Revocation::session(session(), until),
    ];
    for entry in entries {
        for times in [[100, 200], [200, 100]] {
            let list = list(times.map(entry));
            list.drop_before(200);
            assert_eq!(list.len(), 1);
            list.drop_before(201);
            assert!(list.is_empty());
        }
    }
}

#[test]
fn a_lift_removes_only_the_entries_of_its_kind() {
    let id = Uuid::from_u128(1);
    let entries =
        || [Revocation::token(id, 1), Revocation::session(id, 1), Revocation::user(id, 1, 1)];
    assert_eq!(list(entries()).len(), 3);
    assert!(!list(entries()).is_empty());
    for lifted in 0..3 {
        let list = list(entries());
        list.lift(entries()[lifted].clone());
        assert_eq!(list.len(), 2);
        let mut claims = access_claims();
        (claims.jti, claims.sid, claims.sub) = (id, None, user().into());
        assert_eq!(list.covers(&claims), lifted != 0);
        (claims.jti, claims.sid) = (Uuid::nil(), Some(id));
        assert_eq!(list.covers(&claims), lifted != 1);
        assert_eq!(list.issued_by(&id.into()), (lifted != 2).then_some(1));
        // The entries of another id stay.
        list.lift(Revocation::token(Uuid::nil(), 1));
        assert_eq!(list.len(), 2);
    }
}

#[test]
fn each_of_many_entries_is_found() {
    let list = RevocationList::new();
    assert!(list.is_empty());
    assert_eq!(list.len(), 0);
    for id in 0..5000 {
        list.add(Revocation::token(Uuid::from_u128(id), UNTIL + u64::try_from(id).unwrap()));
    }
    assert_eq!(list.len(), 5000);
    let mut claims = access_claims().with_exp(UNTIL + 10_000);
    let mut is_covered = |id| {
        claims.jti = Uuid::from_u128(id);
        list.covers(&claims)
    };
    assert!((0..5000).all(&mut is_covered) && !(5000..6000).any(&mut is_covered));
    list.drop_before(UNTIL + 4000);
    assert_eq!(list.len(), 1000);
    assert!((4000..5000).all(&mut is_covered) && !(0..4000).any(&mut is_covered));
}

#[test]
fn a_clock_that_jumps_ahead_and_back_makes_no_revoked_token_valid() {
    let list = RevocationList::new();
    assert_eq!(list.dropped_before(), 0);
    list.drop_before(NOW + 100);
    list.drop_before(NOW);
    assert_eq!(list.dropped_before(), NOW + 100);
    assert!(list.covers(&access_claims().with_exp(NOW + 99)));
    assert!(!list.covers(&access_claims().with_exp(NOW + 100)));
    list.recall(NOW);
    assert_eq!(list.dropped_before(), NOW);
    assert!(list.covers(&access_claims().with_exp(NOW - 1)));
    assert!(!list.covers(&access_claims().with_exp(NOW)));
}
