//! Applies declared clients and resources: what a document declares is made or changed, and what left it is disabled.

use std::path::Path;

use serde_json::{Map, Value};

use crate::access::caller::{Caller, Requires, Superuser};
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::config::{Config, Declared, variable};
use crate::base::error::{Code, Error, Result};
use crate::platform::audit::Act;
use crate::platform::unit_of_work::UnitOfWork;
use crate::provider::client::definition::{Definition, Fault};
use crate::provider::client::document::{self, List, Misfit, Sources};
use crate::provider::client::resource::{self, Resource};
use crate::provider::client::{self, Client, ClientSecret, Origin, apart, write};

/// The number of times that a start tries to apply its document, because several servers may start at once.
const TRIES: usize = 3;

/// A change that a document causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The list.
    pub list: List,
    /// The `client_id`, or the URI.
    pub id: String,
    /// `create`, `update`, `secret` or `disable`.
    pub action: &'static str,
}

/// The result of applying a document. If it has faults, nothing was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The changes.
    pub changes: Vec<Change>,
    /// The faults.
    pub faults: Vec<Misfit>,
}

/// Applies a document, or with `check` only says what would change.
///
/// # Errors
///
/// [`Code::FreshProofRequired`], [`Code::TooManyAttempts`].
pub async fn apply(
    app: &App,
    superuser: &Superuser,
    document: &Map<String, Value>,
    check: bool,
) -> Result<Outcome> {
    let declared = match Definitions::read(document) {
        Ok(declared) => declared,
        Err(faults) => return Ok(Outcome { faults, ..Outcome::default() }),
    };
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    apart::lock(&work).await?;
    let mut applying = Applying { app, superuser, now: clock::now(), outcome: Outcome::default() };
    applying.resources(&mut work, &declared.resources).await?;
    applying.clients(&mut work, &declared.clients).await?;
    let outcome = applying.outcome;
    match check || !outcome.faults.is_empty() {
        true => work.rollback().await?,
        false => work.commit().await?,
    }
    Ok(outcome)
}

/// Applies the document of the settings, `CLIENTS_FILE` or `CLIENTS`, when a server starts.
///
/// # Errors
///
/// Sentences for the operator, each with the line of a fault.
pub async fn declare(app: &App) -> Result<(), String> {
    let Some(document) = Document::of(&app.config)? else { return Ok(()) };
    let outcome = apply_settings(app, &document.members).await;
    let outcome =
        outcome.map_err(|error| format!("{} could not be applied ({error})", document.name))?;
    document.require_none(&outcome.faults)?;
    for Change { id, action, .. } in outcome.changes {
        tracing::info!(client.id = %id, change = action, "a declared application or API was applied");
    }
    Ok(())
}

/// Checks the document of the settings without the database.
///
/// # Errors
///
/// Sentences for the operator, each with the line of a fault.
pub fn check_declared(config: &Config) -> Result<(), String> {
    let Some(document) = Document::of(config)? else { return Ok(()) };
    document.require_none(&Definitions::read(&document.members).err().unwrap_or_default())
}

/// The document of the settings.
struct Document {
    /// Its name for sentences.
    name: String,
    text: String,
    members: Map<String, Value>,
}

impl Document {
    fn of(config: &Config) -> Result<Option<Self>, String> {
        let declared = config.provider.declared().map_err(|fault| fault.to_string())?;
        let Some(Declared { name, text, folder }) = declared else { return Ok(None) };
        let file = |path: &Path| std::fs::read_to_string(folder.join(path));
        let sources = Sources { variable: &variable, file: &file };
        let members = document::read(&text, &sources).map_err(|faults| named(&name, &faults))?;
        Ok(Some(Self { name, text, members }))
    }

    /// Fails if there are faults, each with its line.
    fn require_none(&self, faults: &[Misfit]) -> Result<(), String> {
        let line = |misfit: &Misfit| document::line_of(&self.text, &misfit.path());
        let faults = faults.iter();
        let faults =
            faults.map(|misfit| format!("line {}: {}", line(misfit), misfit.fault.sentence));
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() { Ok(()) } else { Err(named(&self.name, &faults)) }
    }
}

fn named(name: &str, faults: &[String]) -> String {
    let faults: Vec<_> = faults.iter().map(|fault| format!("{name}: {fault}")).collect();
    faults.join("\n")
}

async fn apply_settings(app: &App, document: &Map<String, Value>) -> Result<Outcome> {
    let operator = Superuser::try_from(Caller::Operator)?;
    let mut tries = 1;
    loop {
        match apply(app, &operator, document, false).await {
            // Another server made the same rows a moment ago.
            Err(error) if is_taken(&error) && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

fn is_taken(error: &Error) -> bool {
    [Code::ClientAlreadyExists, Code::ResourceAlreadyExists].contains(&error.code())
}

/// Returns the client with this id and locks its row, if there is one.
async fn locked(work: &UnitOfWork<'_>, id: &str) -> Result<Option<Client>> {
    match write::lock(work, id).await {
        Ok(known) => Ok(Some(known)),
        Err(error) if error.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The fault of a definition whose client or resource an operator made. A document never takes it over, because that
/// would undo what the operator set.
fn of_operator(kind: &str, field: &str, id: &str) -> Fault {
    let sentence = format!(
        "The {kind} {id:?} exists already: an operator made it with a command. Leave it out here, or delete it first: \
         tessera {kind} delete {id}"
    );
    Fault::new(field, sentence)
}

/// The definitions of a document.
struct Definitions {
    clients: Vec<Definition>,
    resources: Vec<resource::Definition>,
}

impl Definitions {
    fn read(document: &Map<String, Value>) -> Result<Self, Vec<Misfit>> {
        let items = |list: List| {
            let items = document.get(list.name()).and_then(Value::as_array);
            items.map(Vec::as_slice).unwrap_or_default().iter().enumerate()
        };
        let mut faults = Vec::new();
        let (mut clients, mut resources) = (Vec::new(), Vec::new());
        for (place, item) in items(List::Clients) {
            let members = item.as_object().cloned().unwrap_or_default();
            match Definition::read(&members) {
                Ok(definition) => clients.push(definition),
                Err(found) => faults.extend(found.into_iter().map(|fault| Misfit {
                    list: List::Clients,
                    place,
                    fault,
                })),
            }
        }
        for (place, item) in items(List::Resources) {
            match resource::Definition::read(item) {
                Ok(definition) => resources.push(definition),
                Err(found) => faults.extend(found.into_iter().map(|fault| Misfit {
                    list: List::Resources,
                    place,
                    fault,
                })),
            }
        }
        if faults.is_empty() { Ok(Self { clients, resources }) } else { Err(faults) }
    }
}

/// An application of a document that is under way.
struct Applying<'a> {
    app: &'a App,
    superuser: &'a Superuser,
    now: Timestamp,
    outcome: Outcome,
}

impl Applying<'_> {
    fn fault(&mut self, list: List, place: usize, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().map(|fault| Misfit { list, place, fault });
        self.outcome.faults.extend(faults);
    }

    fn change(&mut self, list: List, id: &str, action: &'static str) {
        self.outcome.changes.push(Change { list, id: id.to_owned(), action });
    }

    async fn resources(
        &mut self,
        work: &mut UnitOfWork<'_>,
        declared: &[resource::Definition],
    ) -> Result<()> {
        for (place, definition) in declared.iter().enumerate() {
            let uri = &definition.uri;
            if declared[..place].iter().any(|other| other.uri == *uri) {
                let sentence = format!("The resource {uri:?} is declared twice: leave one out");
                self.fault(List::Resources, place, [Fault::new("uri", sentence)]);
                continue;
            }
            let known = resource::find_in(work, uri).await?;
            if known.as_ref().is_some_and(|known| known.origin == Origin::Operator) {
                self.fault(List::Resources, place, [of_operator("resource", "uri", uri)]);
                continue;
            }
            let (config, now) = (&self.app.config, self.now);
            let made = match definition.resource(config, known.as_ref(), Origin::File, now) {
                Ok(made) => made,
                Err(faults) => {
                    self.fault(List::Resources, place, faults);
                    continue;
                }
            };
            match known {
                None => {
                    write::insert_resource(work, &made).await?;
                    self.change(List::Resources, &made.uri, "create");
                    work.record(super::entry_of(Act::ResourceCreate, self.superuser, &made));
                }
                Some(known) if known != made => {
                    write::update_resource(work, &made).await?;
                    self.change(List::Resources, &made.uri, "update");
                    work.record(super::entry_of(Act::ResourceUpdate, self.superuser, &made));
                }
                Some(_) => {}
            }
        }
        for resource in resource::of_origin(self.app, Origin::File).await? {
            let is_declared = declared.iter().any(|definition| definition.uri == resource.uri);
            if !is_declared && resource.is_active {
                let disabled = Resource { is_active: false, ..resource };
                write::update_resource(work, &disabled).await?;
                self.change(List::Resources, &disabled.uri, "disable");
                work.record(super::entry_of(Act::ResourceUpdate, self.superuser, &disabled));
            }
        }
        Ok(())
    }

    async fn clients(&mut self, work: &mut UnitOfWork<'_>, declared: &[Definition]) -> Result<()> {
        let mut made = Vec::new();
        for (place, definition) in declared.iter().enumerate() {
            let id = definition.client_id.clone().unwrap_or_default();
            let is_twice =
                declared[..place].iter().any(|other| other.client_id == definition.client_id);
            if is_twice {
                let sentence = format!("The client {id:?} is declared twice: leave one out");
                self.fault(List::Clients, place, [Fault::new("client_id", sentence)]);
                continue;
            }
            made.extend(self.client(work, place, definition, &id).await?.map(|made| (place, made)));
        }
        // The names of the whole document are compared with each other and with those that exist.
        for (place, client) in made {
            let fault = apart::fault_of(work, &client).await?;
            self.fault(List::Clients, place, fault);
        }
        for client in client::of_origin(self.app, Origin::File).await? {
            let is_declared = declared
                .iter()
                .any(|definition| definition.client_id.as_ref() == Some(&client.client_id));
            if !is_declared && client.is_active {
                let disabled = Client { is_active: false, updated: self.now, ..client };
                write::update(work, &disabled).await?;
                self.change(List::Clients, &disabled.client_id, "disable");
                work.record(super::entry(Act::ClientUpdate, self.superuser, &disabled));
            }
        }
        Ok(())
    }

    async fn client(
        &mut self,
        work: &mut UnitOfWork<'_>,
        place: usize,
        definition: &Definition,
        id: &str,
    ) -> Result<Option<Client>> {
        let known = locked(work, id).await?;
        // The definition is the whole client, so nothing of the known one remains but its ids.
        let made = definition.client(&self.app.config, None, Origin::File, self.now);
        let mut made = match made {
            Ok(made) => made,
            Err(faults) => {
                self.fault(List::Clients, place, faults);
                return Ok(None);
            }
        };
        if !made.is_public() && definition.secret.is_none() {
            let sentence = "The client must have one of secret_file, secret_env and secret, or auth_method: none";
            let (field, sentence) = (String::new(), sentence.to_owned());
            self.fault(List::Clients, place, [Fault { field, item: None, sentence }]);
            return Ok(None);
        }
        if known.as_ref().is_some_and(|known| known.origin == Origin::Operator) {
            self.fault(List::Clients, place, [of_operator("client", "client_id", id)]);
            return Ok(None);
        }
        match known {
            None => {
                write::insert(work, &made).await?;
                self.change(List::Clients, id, "create");
                work.record(super::entry(Act::ClientCreate, self.superuser, &made));
            }
            Some(known) => {
                let Client { id: row, own_grant, created, .. } = known;
                made = Client { id: row, own_grant, created, ..made };
                if (Client { updated: made.updated, ..known }) != made {
                    write::update(work, &made).await?;
                    self.change(List::Clients, id, "update");
                    work.record(super::entry(Act::ClientUpdate, self.superuser, &made));
                }
            }
        }
        if let Some(secret) = &definition.secret {
            self.secret(work, place, &made, secret).await?;
        }
        Ok(Some(made))
    }

    async fn secret(
        &mut self,
        work: &mut UnitOfWork<'_>,
        place: usize,
        client: &Client,
        secret: &ClientSecret,
    ) -> Result<()> {
        match write::declare_secret(work, client, secret, self.now).await {
            Ok(false) => {}
            Ok(true) => {
                self.change(List::Clients, &client.client_id, "secret");
                work.record(super::entry(Act::ClientSecretRotate, self.superuser, client));
            }
            Err(error) if error.code() == Code::UnprocessableContent => {
                let sentence =
                    "The secret is or was a secret of a client already: choose another one";
                let (field, sentence) = ("secret".to_owned(), sentence.to_owned());
                self.fault(List::Clients, place, [Fault { field, item: None, sentence }]);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
