//! Typed ids, so that an id of one kind cannot be used for another. They are stored as texts of 36 characters.

use std::fmt;
use std::str::FromStr;

use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, DeriveValueType)]
        #[sea_orm(value_type = "String", column_type = "String(sea_orm::sea_query::StringLen::N(36))")]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        /// SeaORM requires this of a primary key. It always fails, because this key is never a number.
        impl TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    };
}

id! {
    /// The id of a user: the `sub` of their tokens.
    UserId
}

id! {
    /// The id of a session: the `sid` of its tokens.
    SessionId
}

id! {
    /// The id of a service: the `sub` in an introspection of its tokens.
    ServiceId
}

id! {
    /// The id of an API token, which is not its secret.
    ApiTokenId
}

id! {
    /// The id of a job, which contains the time when it was made.
    JobId
}

id! {
    /// The id of a replica. Each start has another one.
    ReplicaId
}

id! {
    /// The id of an invitation.
    InvitationId
}

id! {
    /// The id of a client's row. The `client_id` of the protocol is a text in that row.
    ClientId
}

id! {
    /// The id of a client's secret, which is not the secret.
    ClientSecretId
}

id! {
    /// The id of a resource: an API that accepts access tokens.
    ResourceId
}

id! {
    /// The id of a client's grant: the `grant_id` of its access tokens.
    GrantId
}

id! {
    /// The id of a user's identity at another provider.
    FederatedIdentityId
}

/// The id of an owner of API tokens: a user or a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalId {
    /// The id of a user.
    User(UserId),
    /// The id of a service.
    Service(ServiceId),
}

impl PrincipalId {
    /// The id without its kind.
    pub fn uuid(self) -> Uuid {
        match self {
            Self::User(id) => id.0,
            Self::Service(id) => id.0,
        }
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(formatter),
            Self::Service(id) => id.fmt(formatter),
        }
    }
}
