//! The schema of a PostgreSQL database in which the tables are.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{Database, DatabaseUrl};

/// The schemas of a connection.
struct Schemas {
    /// The one in which new tables are made; `None` if no schema of the path exists, or if the user may use none.
    current: Option<String>,
    /// The names in `search_path`.
    path: Vec<String>,
    user: String,
}

impl Database {
    /// Checks that the schema that `DATABASE_URL` names exists and can be used. PostgreSQL passes over a schema that does
    /// not exist: it would make the tables in another one, or in none.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub(crate) async fn check_schema(&self, url: &DatabaseUrl) -> Result<(), String> {
        let DatabaseUrl::Postgres(server) = url else { return Ok(()) };
        // An error of the database itself is reported by the statements that follow.
        let Ok(Schemas { current, path, user }) = self.schemas().await else { return Ok(()) };
        let named = server.schema.as_deref().and_then(|named| names(named).into_iter().next());
        let wanted = named.or_else(|| path.into_iter().find(|name| name != "$user"));
        let is_right = match (&current, &server.schema, &wanted) {
            (Some(current), Some(_), Some(wanted)) => current == wanted,
            (current, ..) => current.is_some(),
        };
        if is_right {
            return Ok(());
        }
        let wanted = wanted.unwrap_or_else(|| "public".to_owned());
        let quoted = quoted(&wanted);
        let exists = self.exists(&wanted).await.map_err(|error| error.to_string())?;
        Err(if exists {
            format!(
                "the user {user} may not use the schema {wanted} of the database: let its owner run \
                 GRANT USAGE, CREATE ON SCHEMA {quoted} TO {};",
                self::quoted(&user)
            )
        } else {
            format!(
                "the database has no schema {wanted}, which DATABASE_URL or the search_path of the user {user} names: \
                 create it in this database with CREATE SCHEMA {quoted} AUTHORIZATION {}; or correct the name",
                self::quoted(&user)
            )
        })
    }

    async fn schemas(&self) -> Result<Schemas, DbErr> {
        let sql =
            "select current_schema()::text, current_setting('search_path'), current_user::text";
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let row = self.reader.query_one_raw(statement).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("the schemas".to_owned()))?;
        let path: String = row.try_get_by_index(1)?;
        Ok(Schemas {
            current: row.try_get_by_index(0)?,
            path: names(&path),
            user: row.try_get_by_index(2)?,
        })
    }

    async fn exists(&self, schema: &str) -> Result<bool, DbErr> {
        let sql = "select exists (select from pg_catalog.pg_namespace where nspname = $1)";
        let values = [schema.into()];
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let row = self.reader.query_one_raw(statement).await?;
        row.map_or(Ok(false), |row| row.try_get_by_index(0))
    }
}

/// The names in a `search_path`, as PostgreSQL reads them: without quotation marks, and in lower case unless they have
/// some.
pub(super) fn names(path: &str) -> Vec<String> {
    let names = path.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(name) => name.replace("\"\"", "\""),
            None => name.to_ascii_lowercase(),
        })
        .collect()
}

/// Writes a name as SQL does, with quotation marks if it needs them.
pub(super) fn quoted(name: &str) -> String {
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The advice for an error of a migration, if it is a known one.
pub(super) fn advice_for_migration(error: &DbErr) -> String {
    let said = error.to_string();
    match said.split_once("permission denied for schema ") {
        Some((_, schema)) => {
            let schema: String = schema.chars().take_while(|char| !char.is_whitespace()).collect();
            format!(
                "; let the owner of the database run GRANT USAGE, CREATE ON SCHEMA {schema} TO the user in DATABASE_URL"
            )
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_as_sql_does() {
        assert_eq!(names("\"$user\", public"), ["$user", "public"]);
        assert_eq!(names("Tessera,\"My \"\"One\""), ["tessera", "My \"One"]);
        assert_eq!(names(""), Vec::<String>::new());
        for (name, written) in [
            ("tessera_1", "tessera_1"),
            ("My-One", "\"My-One\""),
            ("1a", "\"1a\""),
            ("a\"b", "\"a\"\"b\""),
        ] {
            assert_eq!(quoted(name), written);
        }
    }
}
