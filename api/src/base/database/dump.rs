//! `DATABASE_URL`, as PostgreSQL's own tools take it.

use sea_orm::sqlx::postgres::PgSslMode;
use url::Url;

use super::PostgresUrl;
use super::schema::{names, quoted};

impl PostgresUrl {
    /// The schema of the tables, if the URL names one.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Returns the statements that give the schema of the tables another name, which begins with the old one, and make
    /// an empty schema in its place. Also returns both names, as SQL writes them.
    pub fn moving_aside(&self, end: &str) -> ([String; 2], [String; 2]) {
        let named = self.schema.as_deref().and_then(|named| names(named).into_iter().next());
        let name = named.unwrap_or_else(|| "public".to_owned());
        let (old, new) = (quoted(&name), quoted(&format!("{name}{end}")));
        let statements =
            [format!("alter schema {old} rename to {new}"), format!("create schema {old}")];
        (statements, [old, new])
    }

    /// Returns a URL for libpq that leads to the same database. It has no password.
    pub fn without_password(&self) -> String {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        let is_socket = host.starts_with('/') || self.options.get_socket().is_some();
        let mut url = Url::parse("postgresql://localhost/").expect("it is a URL");
        // Each part is set by itself, so that it is escaped.
        let _ = url.set_username(self.options.get_username());
        let _ = url.set_port(Some(port));
        if !is_socket {
            let named = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            let _ = url.set_host(Some(&named));
        }
        url.set_path(self.options.get_database().unwrap_or_default());
        let socket = self.options.get_socket().map(|path| path.display().to_string());
        let socket = socket.or_else(|| is_socket.then(|| host.to_owned()));
        let mode = match self.options.get_ssl_mode() {
            PgSslMode::Disable => Some("disable"),
            PgSslMode::Allow => Some("allow"),
            // The default of libpq.
            PgSslMode::Prefer => None,
            PgSslMode::Require => Some("require"),
            PgSslMode::VerifyCa => Some("verify-ca"),
            PgSslMode::VerifyFull => Some("verify-full"),
        };
        let authority = self.authority.clone().filter(|file| !file.starts_with("-----BEGIN"));
        let parameters =
            [("host", socket), ("sslmode", mode.map(str::to_owned)), ("sslrootcert", authority)];
        let parameters = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in parameters {
            url.query_pairs_mut().append_pair(name, &value);
        }
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::DatabaseUrl;

    #[test]
    fn the_url_for_other_tools_has_everything_but_the_password() {
        for (given, expected) in [
            ("postgres://u:hush@h/d", "postgresql://u@h:5432/d"),
            (
                "postgres://u%40x:hush@h:6000/d?sslmode=verify-full&sslrootcert=/etc/ca.crt",
                "postgresql://u%40x@h:6000/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.crt",
            ),
            ("postgres://u@[::1]:5433/d?password=hush", "postgresql://u@[::1]:5433/d"),
            (
                "postgres://u:hush@h/d?sslmode=disable&schema=own",
                "postgresql://u@h:5432/d?sslmode=disable",
            ),
        ] {
            let Ok(DatabaseUrl::Postgres(server)) = given.parse() else { panic!("{given}") };
            assert_eq!(server.without_password(), expected);
        }
    }

    #[test]
    fn the_schema_that_is_moved_aside_is_the_one_of_the_tables() {
        for (given, old, new) in [
            ("", "public", "public_1"),
            ("?schema=Ids", "ids", "ids_1"),
            ("?schema=%22My+%22%22Own%22", "\"My \"\"Own\"", "\"My \"\"Own_1\""),
        ] {
            let url = format!("postgres://u@h/d{given}");
            let Ok(DatabaseUrl::Postgres(server)) = url.parse() else { panic!("{url}") };
            let ([moves, makes], _) = server.moving_aside("_1");
            assert_eq!(moves, format!("alter schema {old} rename to {new}"));
            assert_eq!(makes, format!("create schema {old}"));
        }
    }
}
