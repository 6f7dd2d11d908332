//! Ids that cannot be mistaken for each other, kept as 36 characters of text on every database.

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

        /// What SeaORM asks of a primary key: this one is never a number.
        impl TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    };
}

id! {
    /// A user's id: the `sub` of their tokens.
    UserId
}

id! {
    /// A session's id: the `sid` of its tokens.
    SessionId
}

id! {
    /// A service's id: the `sub` of what is said of its tokens.
    ServiceId
}

id! {
    /// An API token's id, which is not its secret.
    ApiTokenId
}

id! {
    /// A job's id, which tells when it was made.
    JobId
}

id! {
    /// A replica's id, another one at each of its starts.
    ReplicaId
}

/// The id of a user or of a service: of whoever owns an API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalId {
    /// A person.
    User(UserId),
    /// A program.
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
