//! Statements on all rows of a table.

use entity::revocation::USER;
use entity::{
    api_token, authorization_code, confirmation, invitation, job, oauth_grant, replica, session,
};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, Statement,
};

use crate::base::clock::Timestamp;

/// Deletes the codes of mails and of applications. Returns their number.
pub(super) async fn delete_codes(connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
    let mails = confirmation::Entity::delete_many().exec(connection).await?;
    let clients = authorization_code::Entity::delete_many().exec(connection).await?;
    Ok(mails.rows_affected + clients.rows_affected)
}

pub(super) async fn delete_replicas(connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    replica::Entity::delete_many().exec(connection).await.map(drop)
}

/// Deletes the mails that wait, and the requests for mails. Returns their number.
pub(super) async fn delete_jobs(connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
    Ok(job::Entity::delete_many().exec(connection).await?.rows_affected)
}

pub(super) async fn end_sessions(
    connection: &impl ConnectionTrait,
    why: &str,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let ended = session::Entity::update_many()
        .col_expr(session::Column::EndedAt, Expr::value(now.millis()))
        .col_expr(session::Column::EndedWhy, Expr::value(why))
        .filter(session::Column::EndedAt.is_null())
        .exec(connection)
        .await?;
    Ok(ended.rows_affected)
}

pub(super) async fn end_grants(
    connection: &impl ConnectionTrait,
    why: &str,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let ended = oauth_grant::Entity::update_many()
        .col_expr(oauth_grant::Column::EndedAt, Expr::value(now.millis()))
        .col_expr(oauth_grant::Column::EndedWhy, Expr::value(why))
        .filter(oauth_grant::Column::EndedAt.is_null())
        .exec(connection)
        .await?;
    Ok(ended.rows_affected)
}

/// Writes for each user that every access token is refused that was issued until an instant, or until the latest token of
/// their sessions and grants if that is later. `until` is the instant when the last token of that instant has expired, in
/// seconds. Returns the number of users.
pub(super) async fn cut_off_everybody(
    connection: &impl ConnectionTrait,
    why: &str,
    cut_off: Timestamp,
    until: u64,
) -> Result<u64, DbErr> {
    let sql = r#"insert into revocation (kind, subject, "until", why, at)
        select cast($1 as varchar), id, at + cast($2 as bigint), cast($3 as varchar), at from (
            select id, case when latest > cast($4 as bigint) then latest else cast($4 as bigint) end as at
            from "user" left join (
                select user_id, max(issued_at) as latest from (
                    select user_id, issued_at from session
                    union all select user_id, issued_at from oauth_grant
                ) as issued group by user_id
            ) as known on user_id = id
        ) as cut"#;
    // A second more, because `until` was rounded down.
    let lasts = until.saturating_add(1).saturating_mul(1000).cast_signed() - cut_off.millis();
    let values = [USER.into(), lasts.into(), why.into(), cut_off.millis().into()];
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    Ok(connection.execute_raw(statement).await?.rows_affected())
}

pub(super) async fn count_api_tokens(
    connection: &impl ConnectionTrait,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let expires = api_token::Column::ExpiresAt;
    let works = expires.is_null().or(expires.gt(now.millis()));
    api_token::Entity::find().filter(works).count(connection).await
}

pub(super) async fn count_invitations(
    connection: &impl ConnectionTrait,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let open = invitation::Column::ExpiresAt.gt(now.millis());
    invitation::Entity::find().filter(open).count(connection).await
}
