//! Servers that require verified addresses (`REQUIRE_VERIFICATION`): every door asks, and a new address takes over
//! once it is proved.

use std::time::Duration;

use serde_json::json;

use crate::hijack::Held;
use crate::recovery::VERIFY;
use crate::support::{PASSWORD, Person, Server};

impl Server {
    /// Starts a server that requires verified addresses.
    async fn requiring() -> Self {
        Server::setup().set("REQUIRE_VERIFICATION", "true").start().await
    }

    /// Somebody who registered, verified their address and signed in.
    async fn member(&self, name: &str) -> Person {
        let email = format!("{name}@user.com");
        let user = self.register(&email, PASSWORD).await.expect_status(201);
        let letter = self.letter(&email, VERIFY, 1).await;
        self.verify(&letter.token()).await.expect_status(200);
        let (access, refresh) = self.sign_in(&email, PASSWORD).await;
        Person { id: user.text("id"), email, access, refresh }
    }

    /// Somebody who is a superuser, with a verified address.
    async fn verified_superuser(&self, name: &str) -> Person {
        let person = self.member(name).await;
        let sql = format!("update \"user\" set is_superuser = true where id = '{}'", person.id);
        self.database.execute(&sql).await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        person
    }
}

#[tokio::test]
async fn whose_address_is_not_verified_any_more_is_refused_at_every_door() {
    let server = Server::requiring().await;
    let root = server.verified_superuser("root").await;
    let service = server.service(&root, "billing", &["tokens:introspect", "tokens:check"]).await;
    for by_hand in [true, false] {
        let person = server.member(&format!("user{by_hand}")).await;
        let mut held = Held::by(&server, person.clone()).await;
        let set = async |verified: bool| {
            if by_hand {
                let id = &person.id;
                let sql = format!("update \"user\" set is_verified = {verified} where id = '{id}'");
                server.database.execute(&sql).await;
                tokio::time::sleep(Duration::from_millis(900)).await;
            } else {
                let change = json!({ "is_verified": verified });
                let path = format!("/users/{}", person.id);
                let changed = server.patch(&path).bearer(&root.access).json(&change).send().await;
                changed.expect_status(200);
            }
        };
        set(false).await;
        for (door, answer) in held.doors(&server).await {
            match door {
                "page" => {
                    assert_eq!(answer.status, 303, "{door}");
                    assert!(answer.header("location").contains("login"), "{door}");
                }
                "refresh token" => {
                    answer.expect_reason("user_not_verified").expect_refusal(401, "SESSION_ENDED");
                }
                _ => {
                    answer.expect_reason("user_not_verified").expect_refusal(401, "Unauthorized");
                }
            }
        }
        let refused = server.login(&person.email, PASSWORD).await;
        refused.expect_refusal(400, "LOGIN_USER_NOT_VERIFIED");
        let tokens = [&person.access, &person.refresh, &held.api_tokens[0]];
        for token in tokens {
            let told = server.introspect(&service, token).await.expect_status(200);
            assert_eq!(told.body, r#"{"active":false}"#);
            let asked = json!({ "token": token });
            let explain = server.post("/admin/tokens/explain").bearer(&root.access).json(&asked);
            assert_eq!(explain.send().await.text("reason"), "user_not_verified");
        }
        let check = server.post("/auth/tokens/check").bearer(&service);
        let check = check.json(&json!({ "token": held.api_tokens[0] })).send().await;
        assert_eq!(check.expect_status(200).json["valid"], false);
        // Nothing was ended or spent: it goes on where it was.
        set(true).await;
        for (door, answer) in held.doors(&server).await {
            assert_eq!(answer.status, 200, "{door}: {}", answer.body);
        }
        // Signing out is for everybody.
        set(false).await;
        server.logout(&person.access).await.expect_status(204);
    }
}
