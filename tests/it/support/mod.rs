//! Helpers: a running server, its users, and their requests.

mod answer;
mod browser;
mod contract;
mod database;
mod mail;
mod port;
pub(crate) mod process;
mod proxy;
mod relay;
mod server;
mod token;
pub(crate) mod upstream;
mod wait;

pub(crate) use answer::{Answer, Request};
pub(crate) use browser::Browser;
pub(crate) use contract::operations;
pub(crate) use database::{Kind, TestDatabase};
pub(crate) use mail::{Letter, MailServer};
pub(crate) use port::free_port;
pub(crate) use proxy::Proxy;
pub(crate) use relay::{Keys, Relay};
pub(crate) use server::{Clock, Server, Setup, command};
pub(crate) use token::{Forgery, SECRET, claims_of, header_of, kid_of, refresh_key};
pub(crate) use wait::{PATIENCE, awaited, eventually};

use serde_json::{Value, json};

/// The password of every user, unless a test is about passwords.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A user who is registered and signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Server {
    /// Registers a new user and signs them in.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let email = format!("{name}@user.com");
        let user = self.register(&email, PASSWORD).await.expect_status(201);
        let tokens = self.sign_in(&email, PASSWORD).await;
        Person { id: user.text("id"), email, access: tokens.0, refresh: tokens.1 }
    }

    /// Sends a registration.
    pub(crate) async fn register(&self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password });
        self.post("/auth/register").json(&body).send().await
    }

    /// Sends a sign-in.
    pub(crate) async fn login(&self, username: &str, password: &str) -> Answer {
        let form = [("username", username), ("password", password)];
        self.post("/auth/jwt/login").form(&form).send().await
    }

    /// Signs in, and returns the access token and the refresh token.
    pub(crate) async fn sign_in(&self, username: &str, password: &str) -> (String, String) {
        let answer = self.login(username, password).await.expect_status(200);
        (answer.text("access_token"), answer.text("refresh_token"))
    }

    /// Refreshes with a refresh token.
    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.post("/auth/jwt/refresh").bearer(token).send().await
    }

    /// Requests the user that a token belongs to.
    pub(crate) async fn me(&self, token: &str) -> Answer {
        self.get("/users/me").bearer(token).send().await
    }

    /// Changes the user that a token belongs to.
    pub(crate) async fn change_me(&self, token: &str, changes: &Value) -> Answer {
        self.patch("/users/me").bearer(token).json(changes).send().await
    }

    /// Signs out with a token.
    pub(crate) async fn logout(&self, token: &str) -> Answer {
        self.post("/auth/jwt/logout").bearer(token).send().await
    }
}
