//! Every entity can be written to and read from a new database. The table `user` has the columns that FastAPI Users
//! documents.

use entity::{
    ApiTokenId, ClientId, ClientSecretId, GrantId, InvitationId, JobId, ReplicaId, ResourceId,
    ServiceId, SessionId, UserId, api_token, attempt, audit, audit_pending, authorization_code,
    browser_session, client, client_secret, confirmation, consent, feed, former_email,
    installation, invitation, job, notice, oauth_grant, pending_email, profile, refusal, replica,
    resource, revocation, sample, service, session, session_identity, signing_key, unclaimed, user,
};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, NotSet, Set};
use uuid::Uuid;

use crate::support::{Kind, Server};

async fn every_entity_is_readable(kind: Kind) {
    let server = Server::setup().on(crate::support::TestDatabase::create(kind).await).start().await;
    // A server that runs would seal and delete some of the rows.
    let database = server.kill();
    let connection = database.connect().await;
    let user = user::Model {
        id: UserId(Uuid::from_u128(1)),
        email: "first@user.com".to_owned(),
        hashed_password: "x".to_owned().into(),
        is_active: true,
        is_superuser: false,
        is_verified: true,
    };
    user.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(user::Entity::find().one(&connection).await.unwrap(), Some(user.clone()));

    let session = session::Model {
        id: SessionId(Uuid::from_u128(2)),
        user_id: user.id,
        created_at: i64::MAX,
        auth_time: 0,
        expires_at: 1,
        generation: 2,
        rotated_at: 3,
        ended_at: Some(4),
        ended_why: Some("x".repeat(32)),
        last_used_at: 5,
        ip: Some("x".repeat(45)),
        user_agent: Some("ü".repeat(256)),
        ended_ip: Some("x".repeat(45)),
        issued_at: i64::MAX,
        secret: session::Secret(vec![7; 32]),
        cuts: i64::MAX,
        amr: "x".repeat(64),
        second_at: Some(i64::MAX),
        federated_identity_id: Some(entity::FederatedIdentityId(Uuid::from_u128(9))),
        upstream_sid: Some("x".repeat(255)),
        ends_at: Some(i64::MAX),
        proved_at: Some(i64::MAX),
    };
    let session_id = session.id;
    session.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    let row = browser_session::Model { digest: "x".repeat(64), session_id: session.id };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(browser_session::Entity::find().one(&connection).await.unwrap(), Some(row));
    let row = session_identity::Model {
        session_id,
        federated_identity_id: entity::FederatedIdentityId(Uuid::from_u128(9)),
        upstream_sid: Some("x".repeat(255)),
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(session_identity::Entity::find().one(&connection).await.unwrap(), Some(row));
    assert_eq!(session::Entity::find().one(&connection).await.unwrap(), Some(session));

    let row = sample::Model { hour: i64::MAX, sessions: i64::MAX, api_tokens: 0 };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(sample::Entity::find_by_id(i64::MAX).one(&connection).await.unwrap(), Some(row));

    let row = revocation::Model {
        seq: 0,
        kind: revocation::USER.to_owned(),
        subject: user.id.to_string(),
        until: i64::MAX,
        why: "test".to_owned(),
        at: 1,
        session_id: Some(session_id),
    };
    let mut row = row.into_active_model().reset_all();
    row.seq = NotSet;
    let row = row.insert(&connection).await.unwrap();
    // PostgreSQL gives a row its number at the commit.
    let found = revocation::Entity::find().one(&connection).await.unwrap().unwrap();
    assert_eq!(found.seq, 1);
    assert_eq!(found, revocation::Model { seq: 1, ..row });

    let row = notice::ActiveModel { seq: NotSet, kind: Set("x".repeat(16)), at: Set(i64::MAX) };
    let row = row.insert(&connection).await.unwrap();
    let found = notice::Entity::find().one(&connection).await.unwrap();
    assert_eq!(found, Some(notice::Model { seq: 1, ..row }));

    let row = audit_pending::Model {
        id: 1,
        at: i64::MAX,
        act: "x".repeat(32),
        actor: "x".repeat(64),
        subject: Some("x".repeat(160)),
        ip: Some("x".repeat(45)),
        request: Some("x".repeat(64)),
        detail: "x".repeat(4096),
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(audit_pending::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = feed::Model {
        id: feed::ONLY,
        longest: i64::MAX,
        longest_until: 0,
        epoch: "x".repeat(32),
        low: i64::MAX,
    };
    let put = row.clone().into_active_model().reset_all();
    feed::Entity::delete_many().exec(&connection).await.unwrap();
    put.insert(&connection).await.unwrap();
    assert_eq!(feed::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = installation::Model {
        id: installation::ONLY,
        release: "x".repeat(32),
        oldest: "x".repeat(32),
        secret_check: "x".repeat(255).into(),
    };
    let put = row.clone().into_active_model().reset_all();
    installation::Entity::delete_many().exec(&connection).await.unwrap();
    put.insert(&connection).await.unwrap();
    assert_eq!(installation::Entity::find().one(&connection).await.unwrap(), Some(row));

    let service = service::Model {
        id: ServiceId(Uuid::from_u128(3)),
        name: "x".repeat(64),
        scopes: "x".repeat(4096),
        is_active: true,
        created_at: 0,
    };
    service.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(service::Entity::find().one(&connection).await.unwrap(), Some(service.clone()));

    let token = |id, user_id, service_id| api_token::Model {
        id: ApiTokenId(Uuid::from_u128(id)),
        user_id,
        service_id,
        name: Some("ü".repeat(64)),
        prefix: "x".repeat(8),
        digest: format!("{id:064}").into(),
        scopes: "x".repeat(4096),
        created_at: 0,
        expires_at: Some(i64::MAX),
        last_used_at: None,
    };
    let insert =
        async |row: api_token::Model| row.into_active_model().reset_all().insert(&connection).await;
    for row in [token(4, Some(user.id), None), token(5, None, Some(service.id))] {
        assert_eq!(insert(row.clone()).await.unwrap(), row);
    }
    let row = profile::Model {
        user_id: user.id,
        name: Some("ü".repeat(100)),
        surname: Some("ü".repeat(100)),
        website: Some("x".repeat(256)),
        scopes: Some("x".repeat(4096)),
        language: Some("x".repeat(35)),
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(profile::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = attempt::Model {
        key: "x".repeat(64),
        count: i64::MAX,
        blocked_until: 0,
        expires_at: i64::MAX,
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(attempt::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = audit::Model {
        seq: 1_000_000_000_000,
        at: 0,
        act: "x".repeat(32),
        actor: "x".repeat(64),
        subject: Some("x".repeat(160)),
        ip: Some("x".repeat(45)),
        request: Some("x".repeat(64)),
        detail: "x".repeat(10_000),
        digest: "x".repeat(64),
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    let rows = audit::Entity::find().all(&connection).await.unwrap();
    assert!(rows.contains(&row));

    let row = job::Model {
        id: JobId(Uuid::from_u128(8)),
        kind: "x".repeat(16),
        user_id: Some(user.id),
        sealed: "x".repeat(100_000).into(),
        attempts: i64::MAX,
        due_at: 0,
        expires_at: i64::MAX,
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(job::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = confirmation::Model {
        digest: "x".repeat(64),
        user_id: user.id,
        purpose: "x".repeat(16),
        bound: "x".repeat(64),
        code: "x".repeat(64).into(),
        expires_at: i64::MAX,
        used_at: Some(0),
        binding: Some("b".repeat(64)),
        tries: 2,
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(confirmation::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = unclaimed::Model { user_id: user.id, verified_at: i64::MAX };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(unclaimed::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = pending_email::Model {
        user_id: user.id,
        email: "x".repeat(320),
        digest: "x".repeat(64),
        bound: "x".repeat(64),
        session_id: SessionId(Uuid::from_u128(2)),
        created_at: 0,
        expires_at: i64::MAX,
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(pending_email::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = invitation::Model {
        id: InvitationId(Uuid::from_u128(8)),
        email: "x".repeat(320),
        folded_email: "x".repeat(320),
        digest: "x".repeat(64),
        name: Some("ü".repeat(100)),
        surname: Some("ü".repeat(100)),
        website: Some("x".repeat(256)),
        language: Some("x".repeat(35)),
        scopes: "x".repeat(5000),
        is_superuser: true,
        inviter_id: Some(user.id),
        invited_by: "x".repeat(64),
        created_at: 0,
        sent_at: 0,
        expires_at: i64::MAX,
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(invitation::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = former_email::Model {
        digest: "x".repeat(64),
        user_id: user.id,
        email: "x".repeat(320),
        verified: true,
        created_at: 0,
        expires_at: i64::MAX,
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(former_email::Entity::find().one(&connection).await.unwrap(), Some(row));

    let row = replica::Model {
        algorithm: Some("HS256".to_owned()),
        id: ReplicaId(Uuid::from_u128(6)),
        name: "ü".repeat(128),
        seq: i64::MAX,
        seen_at: 0,
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert!(replica::Entity::find().all(&connection).await.unwrap().contains(&row));

    let row = signing_key::Model {
        purpose: signing_key::ACCESS.to_owned(),
        kid: "x".repeat(64),
        algorithm: "EdDSA".to_owned(),
        sealed: "x".repeat(4096).into(),
        created_at: 0,
        active_at: i64::MAX,
        retired_at: None,
        last_signed_at: Some(i64::MAX),
    };
    row.clone().into_active_model().reset_all().insert(&connection).await.unwrap();
    assert_eq!(signing_key::Entity::find().one(&connection).await.unwrap(), Some(row));
    assert!(insert(token(6, None, None)).await.is_err(), "a token without an owner");
    assert!(
        insert(token(7, Some(user.id), Some(service.id))).await.is_err(),
        "a token with two owners"
    );
    every_row_of_the_provider_is_readable(&connection, user.id, session_id).await;
    connection.close().await.unwrap();

    // Deleting a user deletes their rows in other tables.
    database.execute("delete from \"user\"").await;
    for table in [
        "session",
        "browser_session",
        "session_identity",
        "job",
        "confirmation",
        "former_email",
        "unclaimed",
        "pending_email",
        "consent",
        "oauth_grant",
        "authorization_code",
    ] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
    assert_eq!(database.count("api_token").await, 1);
    database.execute("delete from service").await;
    assert_eq!(database.count("api_token").await, 0);
    // Deleting a client deletes its secrets and its refusals.
    database.execute("delete from client").await;
    for table in ["client_secret", "refusal"] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
}

async fn every_row_of_the_provider_is_readable(
    connection: &sea_orm::DatabaseConnection,
    user_id: UserId,
    session_id: SessionId,
) {
    macro_rules! round_trip {
        ($entity:ident, $row:expr) => {{
            let row = $row;
            row.clone().into_active_model().reset_all().insert(connection).await.unwrap();
            assert_eq!($entity::Entity::find().one(connection).await.unwrap(), Some(row));
        }};
    }
    let (client_id, grant_id) = (ClientId(Uuid::from_u128(9)), GrantId(Uuid::from_u128(10)));
    round_trip!(
        client,
        client::Model {
            id: client_id,
            client_id: "x".repeat(255),
            name: "ü".repeat(100),
            origin: "operator".to_owned(),
            application_type: "native".to_owned(),
            auth_method: "client_secret_basic".to_owned(),
            redirect_uris: "x".repeat(10_000),
            post_logout_uris: "[]".to_owned(),
            grant_types: "x".repeat(255),
            scopes: "x".repeat(4096),
            settings: "x".repeat(10_000),
            own_grant: Some(grant_id),
            is_active: true,
            created_at: 0,
            updated_at: i64::MAX,
        }
    );
    round_trip!(
        client_secret,
        client_secret::Model {
            id: ClientSecretId(Uuid::from_u128(11)),
            client_id,
            prefix: "tsr_cs_abcd".to_owned(),
            digest: "x".repeat(64).into(),
            created_at: 0,
            expires_at: Some(i64::MAX),
            last_used_at: None,
        }
    );
    round_trip!(
        resource,
        resource::Model {
            id: ResourceId(Uuid::from_u128(12)),
            uri: "x".repeat(255),
            name: "ü".repeat(100),
            origin: "file".to_owned(),
            scopes: "x".repeat(4096),
            is_open: true,
            is_active: false,
            created_at: 0,
        }
    );
    round_trip!(
        consent,
        consent::Model {
            user_id,
            client_id,
            scopes: "x".repeat(4096),
            resources: "[]".to_owned(),
            created_at: 0,
            updated_at: i64::MAX,
        }
    );
    round_trip!(
        oauth_grant,
        oauth_grant::Model {
            id: grant_id,
            user_id,
            client_id,
            session_id: Some(session_id),
            scopes: "x".repeat(4096),
            resources: "x".repeat(10_000),
            claims: Some("x".repeat(10_000)),
            auth_time: 0,
            amr: "x".repeat(64),
            sid: "x".repeat(64),
            jkt: Some("x".repeat(64)),
            is_offline: true,
            created_at: 0,
            last_used_at: 1,
            generation: i64::MAX,
            rotated_at: 2,
            issued_at: 3,
            secret: session::Secret(vec![7; 32]),
            expires_at: i64::MAX,
            ended_at: None,
            ended_why: Some("x".repeat(32)),
            ends_at: Some(i64::MAX),
            proven_by: Some("x".repeat(10_000)),
        }
    );
    round_trip!(
        authorization_code,
        authorization_code::Model {
            digest: "x".repeat(64),
            user_id,
            client_id,
            session_id: Some(session_id),
            redirect_uri: "x".repeat(2000),
            code_challenge: Some("x".repeat(128)),
            nonce: Some("ü".repeat(3000)),
            scopes: "x".repeat(4096),
            resources: "[]".to_owned(),
            claims: None,
            auth_time: 0,
            amr: "pwd".to_owned(),
            jkt: None,
            created_at: 0,
            expires_at: 1,
            kept_until: i64::MAX,
            spent_at: None,
            grant_id: Some(grant_id),
        }
    );
    round_trip!(
        refusal,
        refusal::Model {
            digest: "x".repeat(64),
            client_id: Some(client_id),
            check_name: "x".repeat(64),
            error: "x".repeat(64),
            endpoint: "x".repeat(32),
            expected: Some("ü".repeat(2000)),
            came: Some("ü".repeat(2000)),
            remedy: "x".repeat(2000),
            reference: "x".repeat(64),
            count: i64::MAX,
            first_at: 0,
            last_at: 1,
        }
    );
}

#[tokio::test]
async fn every_entity_is_readable_on_sqlite() {
    every_entity_is_readable(Kind::Sqlite).await;
}

#[tokio::test]
async fn every_entity_is_readable_on_postgresql() {
    every_entity_is_readable(Kind::Postgres).await;
}

#[tokio::test]
async fn the_table_user_has_the_documented_columns_in_order() {
    let expected = ["id", "email", "hashed_password", "is_active", "is_superuser", "is_verified"];
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = crate::support::TestDatabase::create(kind).await;
        let server = Server::setup().on(database).start().await;
        let sql = match kind {
            Kind::Sqlite => "select name from pragma_table_info('user') order by cid",
            Kind::Postgres => {
                "select column_name::text from information_schema.columns \
                 where table_name = 'user' and table_schema = 'public' order by ordinal_position"
            }
        };
        assert_eq!(server.database.column::<String>(sql).await, expected);
    }
}

/// Without such an index, each deletion of a row that others refer to reads their whole table.
#[tokio::test]
async fn each_foreign_key_has_an_index_that_begins_with_its_column() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = crate::support::TestDatabase::create(kind).await;
        let server = Server::setup().on(database).start().await;
        let (all, without_index) = match kind {
            Kind::Sqlite => (
                "select m.name || '.' || f.\"from\" from sqlite_master m, pragma_foreign_key_list(m.name) f \
                 where m.type = 'table'",
                "and not exists (select 1 from pragma_index_list(m.name) i, pragma_index_info(i.name) c \
                 where c.seqno = 0 and c.name = f.\"from\" and i.partial = 0)",
            ),
            Kind::Postgres => (
                "select k.conrelid::regclass::text || '.' || k.conkey[1]::text from pg_constraint k \
                 where k.contype = 'f' and k.connamespace = 'public'::regnamespace",
                "and not exists (select 1 from pg_index i where i.indrelid = k.conrelid \
                 and i.indkey[0] = k.conkey[1] and i.indpred is null)",
            ),
        };
        assert!(server.database.column::<String>(all).await.len() > 20, "{kind:?}");
        let found = server.database.column::<String>(&format!("{all} {without_index}")).await;
        assert_eq!(found, [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn a_database_file_contains_no_secret() {
    let server =
        Server::setup().on(crate::support::TestDatabase::create(Kind::Sqlite).await).start().await;
    let person = server.person("first").await;
    let mut content = Vec::new();
    for suffix in ["", "-wal"] {
        let file = format!("{}{suffix}", server.database.file().display());
        content.extend(std::fs::read(file).unwrap_or_default());
    }
    let holds = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(
        holds(&person.email),
        "the address is not in the file, so the test would find no secret either"
    );
    let secrets =
        [crate::support::PASSWORD, crate::support::SECRET, &person.access, &person.refresh];
    for secret in secrets {
        assert!(!holds(secret), "the database file contains a secret");
    }
}

/// The disk becomes full. Acknowledged rows are there, refused ones are not, and the server still reads and checks
/// tokens.
#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let database = crate::support::TestDatabase::create(Kind::Sqlite).await;
    // Files can have at most 3 MiB. A larger write fails and does not kill the process.
    let server = Server::setup()
        .on(database)
        .with_shell_limits("trap '' XFSZ; ulimit -f 6144")
        .start()
        .await;
    let person = server.person("first").await;
    // A sign-out writes less than a registration, so some sign-outs may still succeed.
    let mut sessions = vec![person.access.clone()];
    for _ in 0..12 {
        sessions.push(server.sign_in(&person.email, crate::support::PASSWORD).await.0);
    }
    let (mut registered, mut refused) = (Vec::new(), Vec::new());
    for turn in 0..2000 {
        let email = format!("user{turn}@user.com");
        let answer = server.register(&email, crate::support::PASSWORD).await;
        match answer.status {
            201 => registered.push(email),
            _ => {
                answer.expect_refusal(503, "SERVICE_UNAVAILABLE");
                refused.push(email);
            }
        }
        if refused.len() > 3 {
            break;
        }
    }
    let counts = (registered.len(), refused.len());
    assert!(counts.0 > 10 && counts.1 > 3, "the disk did not fill: {counts:?}");
    let mut kept = None;
    for access in &sessions {
        server.me(access).await.expect_status(200);
        let answer = server.logout(access).await;
        if answer.status == 204 {
            server.me(access).await.expect_status(401);
            continue;
        }
        answer.expect_refusal(503, "SERVICE_UNAVAILABLE");
        server.me(access).await.expect_status(200);
        kept = Some(access);
        break;
    }
    let kept = kept.expect("no sign-out was refused");

    let server = Server::setup().on(server.kill()).start().await;
    for email in &registered {
        let again = server.register(email, crate::support::PASSWORD).await;
        again.expect_refusal(400, "REGISTER_USER_ALREADY_EXISTS");
    }
    for email in &refused {
        server.register(email, crate::support::PASSWORD).await.expect_status(201);
    }
    server.logout(kept).await.expect_status(204);
}
