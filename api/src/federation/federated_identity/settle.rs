//! Does what was decided about a person, in one transaction: signs in, makes an account, links, or replaces one that was
//! never proved.

use std::net::IpAddr;

use entity::federated_identity::Model;
use entity::{FederatedIdentityId, PrincipalId, UserId};
use sea_orm::SqlErr;

use super::person::{self, Address, Decision, Here};
use super::{linking, store};
use crate::access::api_token::{self, Selection};
use crate::access::grant::client as grant;
use crate::access::{removal, session};
use crate::app::App;
use crate::base::change::Change;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Result};
use crate::base::random;
use crate::base::scope::Scopes;
use crate::federation::upstream::claims::Said;
use crate::federation::upstream::{Refusal, Upstream, Why};
use crate::identity::factor::{Authentication, Federated, federated};
use crate::identity::invitation;
use crate::identity::user::{
    self, Changes, Credentials, Email, Profile, User, claim, pending, previous_email,
};
use crate::identity::verification::{self, Purpose};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::rate_limit;
use crate::platform::rate_limit::mail::MailReason;
use crate::platform::revocation::Reason;
use crate::platform::seen;
use crate::platform::unit_of_work::UnitOfWork;

/// The number of times that a person is looked for. Two callbacks can come at once, and then the second one finds what
/// the first one made.
const TRIES: usize = 5;

/// The outcome for a person who signs in.
pub(crate) enum Settled {
    /// Their proof.
    Proved(Authentication),
    /// A page asks for an address.
    AskAddress,
    /// The refusal.
    Refused(Refusal),
}

/// The outcome of one attempt.
enum Next {
    /// The person is known, or refused.
    Done(Settled),
    /// An account would be made. The registration is counted first.
    Count,
    /// Another request was faster.
    Again,
}

type Attempt = Result<Next>;

/// Something that is spent together with what is done about a person.
#[derive(Clone, Copy)]
pub(crate) struct Once<'a> {
    /// Its id.
    pub(crate) id: &'a str,
    /// The time after which it does not work anyway.
    pub(crate) until: Timestamp,
}

/// Finds or makes the account of a person. If nothing is done about the person, nothing is spent.
///
/// # Errors
///
/// [`Code::TooManyAttempts`] for registrations; if the database does not answer.
pub(crate) async fn settle(
    app: &App,
    upstream: &Upstream,
    said: &Said,
    ip: Option<IpAddr>,
    once: Option<Once<'_>>,
) -> Result<Settled> {
    // Counting writes, so it does not happen inside the transaction of the registration.
    let mut counted = false;
    for _ in 0..TRIES {
        let work = UnitOfWork::begin(app).await?;
        if let Some(Once { id, until }) = once
            && !seen::spend(&work, seen::Purpose::Arrival, id, until).await?
        {
            let remedy = "The form was sent twice. The first one has done it.";
            return Ok(refused("arrival.spent", Why::Finished, remedy));
        }
        let known = store::by_subject(&*work, &said.upstream, &said.subject).await?;
        let settled = match known {
            Some(row) => known_subject(app, work, upstream, said, row).await?,
            None => new_subject(app, work, upstream, said, ip, counted).await?,
        };
        match settled {
            Next::Count => {
                rate_limit::registration(app, ip).await?;
                counted = true;
            }
            Next::Done(settled) => return Ok(settled),
            Next::Again => {}
        }
    }
    // Another account has or can take back the address, however often this is tried.
    let name = "person.not_linked";
    Ok(refused(name, Why::NotLinked, remedy_of(name)))
}

fn refused(name: &'static str, why: Why, remedy: &str) -> Settled {
    Settled::Refused(Refusal::new(name, why, remedy))
}

/// Returns the refusal of a subject that another issuer named, under the same name of a provider. It may be anybody.
pub(super) fn other_issuer(row: &Model, said: &Said) -> Option<Refusal> {
    let remedy = "The entry had another issuer when this identity was linked. Give the new issuer another name, \
                  or unlink the identities of the old one.";
    (row.issuer != said.issuer).then(|| {
        let refusal = Refusal::new("person.issuer", Why::Misconfigured, remedy);
        refusal.expected(&row.issuer).came(&said.issuer)
    })
}

async fn known_subject(
    app: &App,
    mut work: UnitOfWork<'_>,
    upstream: &Upstream,
    said: &Said,
    row: Model,
) -> Attempt {
    if let Some(refusal) = other_issuer(&row, said) {
        return Ok(Next::Done(Settled::Refused(refusal)));
    }
    let Some(Credentials { user, .. }) = user::lock(&*work, row.user_id).await? else {
        return Ok(Next::Again);
    };
    // Unlinked in the meantime, or linked to somebody else.
    let still = store::by_subject(&*work, &said.upstream, &said.subject).await?;
    let Some(row) = still.filter(|still| still.id == row.id && still.user_id == user.id) else {
        return Ok(Next::Again);
    };
    if !user.is_active {
        let remedy = "The account of this identity is not active. A superuser can activate it.";
        return Ok(Next::Done(refused("person.inactive", Why::Inactive, remedy)));
    }
    let id = user.id;
    let words = bring(app, &mut work, user, said, &Scopes::parse(&row.words)).await?;
    let email = said.email.as_deref();
    store::note_use(&*work, row.id, email, &words.to_string(), clock::now()).await?;
    work.commit().await?;
    Ok(Next::Done(Settled::Proved(proof(upstream, said, id, row.id))))
}

/// The proof of a person whose identity is linked.
pub(super) fn proof(
    upstream: &Upstream,
    said: &Said,
    user: UserId,
    identity: FederatedIdentityId,
) -> Authentication {
    let at = said.auth_time.map(|at| Timestamp::from_millis(0).plus_seconds(at));
    let (sid, worth) = (said.sid.clone(), upstream.settings.session);
    let proof = Federated { identity, sid, at, is_second: said.is_second, worth };
    federated::of_provider(user, proof)
}

async fn new_subject(
    app: &App,
    work: UnitOfWork<'_>,
    upstream: &Upstream,
    said: &Said,
    ip: Option<IpAddr>,
    counted: bool,
) -> Attempt {
    let address = match (&said.email, said.is_owned) {
        (None, _) => Address::None,
        (Some(_), true) => Address::Owned,
        (Some(_), false) => Address::NotOwned,
    };
    let found = match &said.email {
        Some(email) => user::by_email_in(&*work, email).await?,
        None => None,
    };
    let locked = match found {
        Some(found) => match user::lock(&*work, found.user.id).await? {
            Some(locked) if locked.user.email == found.user.email => Some(locked.user),
            // Deleted or moved in the meantime.
            _ => return Ok(Next::Again),
        },
        None => None,
    };
    // Another answer about this person may have come first.
    if store::by_subject(&*work, &said.upstream, &said.subject).await?.is_some() {
        return Ok(Next::Again);
    }
    let here = here(&work, upstream, locked.as_ref()).await?;
    let (name, why) = match (person::decide(address, here, upstream.settings.registers), locked) {
        (Decision::AskAddress, _) => return Ok(Next::Done(Settled::AskAddress)),
        (Decision::Refuse(name, why), _) => (name, why),
        (Decision::Link { cleans }, Some(user)) => {
            return link(app, work, upstream, said, user, cleans, ip).await;
        }
        (Decision::Register { .. } | Decision::Replace, _) if !counted => {
            return Ok(Next::Count);
        }
        (Decision::Register { is_verified }, _) => {
            return register(app, work, upstream, said, is_verified).await;
        }
        (Decision::Replace, Some(user)) => {
            return replace(app, work, upstream, said, user, ip).await;
        }
        (Decision::Link { .. } | Decision::Replace, None) => return Ok(Next::Again),
    };
    Ok(Next::Done(refused(name, why, remedy_of(name))))
}

fn remedy_of(name: &str) -> &'static str {
    match name {
        "person.no_account" => {
            "The provider makes no accounts here. Create the user, or set `register: true` in the entry."
        }
        "person.has_another" => {
            "The account with this address is linked to another subject at this provider. If the provider gave \
             the address to another person, change the address of the account here."
        }
        "person.inactive" => {
            "The account with this address is not active. A superuser can activate it."
        }
        _ => {
            "The account with this address is not linked by itself: the provider does not own the address, \
             or the account has rights beyond those of every user. Its owner signs in as before and links it at /account/password."
        }
    }
}

/// Returns the state of the account that has the address here.
async fn here(work: &UnitOfWork<'_>, upstream: &Upstream, user: Option<&User>) -> Result<Here> {
    let Some(user) = user else { return Ok(Here::Nobody) };
    let linked = store::of_user(&**work, user.id).await?;
    let has_another = linked.iter().any(|row| row.upstream == upstream.name());
    let has_more = user.is_superuser || user.granted.beyond(&User::default_scopes()).is_some();
    Ok(match () {
        () if !user.is_active => Here::Inactive,
        () if has_more => Here::Special,
        () if previous_email::is_there(&**work, user.id).await? => Here::Changing,
        () if !user.is_verified => Here::Unverified,
        () if has_another => Here::HasAnother,
        () if !claim::is_made(&**work, user).await? => Here::Unclaimed,
        () => Here::Verified,
    })
}

/// Inserts an identity. Returns `None` if another request was faster.
pub(super) async fn insert(
    work: &UnitOfWork<'_>,
    said: &Said,
    user: UserId,
    words: &Scopes,
) -> Result<Option<FederatedIdentityId>> {
    let (id, now) = (FederatedIdentityId(random::id()), clock::now().millis());
    let row = Model {
        id,
        user_id: user,
        upstream: said.upstream.clone(),
        subject: said.subject.clone(),
        issuer: said.issuer.clone(),
        email: said.email.clone(),
        words: words.to_string(),
        created_at: now,
        used_at: now,
    };
    match store::insert(&**work, row).await {
        Ok(()) => Ok(Some(id)),
        Err(error) => match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Ok(None),
            _ => Err(error.into()),
        },
    }
}

/// Makes an account without a password.
async fn register(
    app: &App,
    mut work: UnitOfWork<'_>,
    upstream: &Upstream,
    said: &Said,
    is_verified: bool,
) -> Attempt {
    let Some(email) = said.email.clone() else { return Ok(Next::Done(Settled::AskAddress)) };
    let (given, defaults) = (said.scopes(), User::default_scopes());
    let user = User {
        id: UserId(random::id()),
        email,
        is_active: true,
        is_superuser: false,
        is_verified,
        profile: said.profile(),
        granted: defaults.iter().chain(given.iter()).cloned().collect(),
    };
    let hash = app.factor.no_password();
    let user = match user::create(&*work, user, hash.clone()).await {
        Ok(user) => user,
        Err(error) if error.code() == Code::RegisterUserAlreadyExists => return Ok(Next::Again),
        Err(error) => return Err(error),
    };
    let Some(identity) = insert(&work, said, user.id, &given).await? else {
        return Ok(Next::Again);
    };
    if is_verified {
        claim::make(&*work, &user).await?;
        invitation::forget(&*work, &user.email).await?;
    } else {
        let reason = MailReason::Registration;
        let known = Credentials { user: user.clone(), hash };
        if app.mail.sends() && rate_limit::mail::may_write(app, &work, reason, &user.email).await? {
            verification::send(app, &*work, &known, Purpose::Verify, None).await?;
        }
    }
    let entry = Entry::own(Act::Register, user.id).with("superuser", false);
    work.record(entry.with("upstream", upstream.name()));
    work.record(linking::entry(Act::IdentityLink, user.id, upstream.name()));
    work.wake_jobs();
    work.commit().await?;
    Ok(Next::Done(Settled::Proved(proof(upstream, said, user.id, identity))))
}

/// Deletes an account whose address was never proved, and makes another one. It gets a new id, because services may know
/// the old one from somebody else.
async fn replace(
    app: &App,
    mut work: UnitOfWork<'_>,
    upstream: &Upstream,
    said: &Said,
    user: User,
    ip: Option<IpAddr>,
) -> Attempt {
    let id = user.id;
    removal::remove(app, &mut work, user, ip).await?;
    let entry = Entry::own(Act::UserDelete, id).with("upstream", upstream.name());
    work.record(entry.with("why", "never verified"));
    register(app, work, upstream, said, true).await
}

/// Links an identity to an account whose address the provider owns.
async fn link(
    app: &App,
    mut work: UnitOfWork<'_>,
    upstream: &Upstream,
    said: &Said,
    user: User,
    cleans: bool,
    ip: Option<IpAddr>,
) -> Attempt {
    let id = user.id;
    // The person who registered the address may have asked for another one.
    pending::forget(&*work, id).await?;
    let user = match cleans {
        true => clean(app, &mut work, user).await?,
        false => user,
    };
    let recipient = user.recipient();
    let words = bring(app, &mut work, user, said, &Scopes::default()).await?;
    let Some(identity) = insert(&work, said, id, &words).await? else { return Ok(Next::Again) };
    session::end_all(app, &mut work, id, None, &Reason::Linked, ip, clock::now()).await?;
    linking::tell(app, &work, (id, recipient), upstream, said, identity).await?;
    work.record(linking::entry(Act::IdentityLink, id, upstream.name()));
    work.forget_user(id);
    work.wake_jobs();
    work.commit().await?;
    Ok(Next::Done(Settled::Proved(proof(upstream, said, id, identity))))
}

/// Takes an account from the person who set its password without proving its address: removes the password, the API tokens and
/// the mails that wait for an answer.
async fn clean(app: &App, work: &mut UnitOfWork<'_>, user: User) -> Result<User> {
    api_token::delete(work, &Selection::Owner(PrincipalId::User(user.id)), &Actor::anybody())
        .await?;
    verification::end_unused(&**work, user.id).await?;
    grant::forget_consents(work, user.id).await?;
    for row in store::of_user(&**work, user.id).await? {
        store::delete(&**work, row.id, user.id).await?;
    }
    let changes = Changes { hash: Some(app.factor.no_password()), ..Changes::default() };
    let user = user::change(&**work, user, changes).await?;
    claim::make(&**work, &user).await?;
    work.record(Entry::own(Act::PasswordReset, user.id).with("removed", true));
    Ok(user)
}

/// Fills what is empty in a profile, and gives and takes the words of the provider. `before` are those that it gave
/// until now. Returns the words that the user has from it alone.
pub(super) async fn bring(
    app: &App,
    work: &mut UnitOfWork<'_>,
    user: User,
    said: &Said,
    before: &Scopes,
) -> Result<Scopes> {
    let own: Scopes =
        user.granted.iter().filter(|word| !before.contains(word.as_str())).cloned().collect();
    let given: Scopes =
        said.scopes().iter().filter(|word| !own.contains(word.as_str())).cloned().collect();
    let granted: Scopes = own.iter().chain(given.iter()).cloned().collect();
    let Profile { name, surname, website, language: _ } = said.profile();
    let fill = |present: &Option<String>, new: Option<String>| match (present, new) {
        (None, Some(new)) => Change::Set(new),
        _ => Change::Keep,
    };
    let website = match (&user.profile.website, website) {
        (None, Some(new)) => Change::Set(new),
        _ => Change::Keep,
    };
    let changes = Changes {
        name: fill(&user.profile.name, name),
        surname: fill(&user.profile.surname, surname),
        website,
        granted: (granted != user.granted).then(|| granted.clone()),
        ..Changes::default()
    };
    if !changes.is_empty() {
        let (id, was) = (user.id, user.granted.clone());
        user::change(&**work, user, changes).await?;
        note_words(app, work, id, &was, &granted, said).await?;
        work.forget_user(id);
    }
    Ok(given)
}

/// Ends what a change of words makes wrong: cookies from before must not gain words, and tokens must not keep them.
async fn note_words(
    app: &App,
    work: &mut UnitOfWork<'_>,
    id: UserId,
    was: &Scopes,
    is: &Scopes,
    said: &Said,
) -> Result<()> {
    if was == is {
        return Ok(());
    }
    if is.beyond(was).is_some() {
        session::browser::sign_out_everywhere(work, id).await?;
    }
    if was.beyond(is).is_some() {
        session::revoke_access(app, work, id, &Reason::ScopesLost).await?;
    }
    let entry = Entry::own(Act::ScopesChange, id).with("upstream", said.upstream.as_str());
    work.record(entry.with("from", was.to_string()).with("to", is.to_string()));
    Ok(())
}

/// The address that somebody typed, because their provider said none. It proves nothing.
pub(crate) fn with_address(said: Said, email: Email) -> Said {
    Said { email: Some(email.into()), is_owned: false, ..said }
}
