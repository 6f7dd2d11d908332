//! Random sequences of actions on sessions, compared with a small model: sign-ins, refreshes with any token that was
//! ever issued, sign-outs, and password changes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::support::{Answer, Server, claims_of};

/// An action of a user. The number selects one of the existing tokens.
#[derive(Debug, Clone)]
enum Act {
    SignIn,
    Refresh(usize),
    SignOut(usize),
    SignOutEverywhere(usize),
    ChangePassword(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::SignIn),
        6 => any::<usize>().prop_map(Act::Refresh),
        2 => any::<usize>().prop_map(Act::SignOut),
        1 => any::<usize>().prop_map(Act::SignOutEverywhere),
        1 => any::<usize>().prop_map(Act::ChangePassword),
    ]
}

/// The expected state of a session.
#[derive(Debug, Default)]
struct Session {
    /// Its refresh tokens, by generation.
    refresh: Vec<String>,
    /// Its access tokens, with whether each must still be accepted and whether it is fresh.
    access: Vec<(String, bool, bool)>,
    ended: bool,
}

impl Session {
    fn end(&mut self) {
        self.ended = true;
        self.access.iter_mut().for_each(|access| access.1 = false);
    }
}

struct World<'a> {
    server: &'a Server,
    email: String,
    password: String,
    sessions: Vec<Session>,
    leeway: bool,
}

fn pick(number: usize, count: usize) -> Option<usize> {
    (count > 0).then(|| number % count)
}

impl World<'_> {
    fn access_token(&self, number: usize) -> Option<(usize, usize)> {
        let all: Vec<_> = self
            .sessions
            .iter()
            .enumerate()
            .flat_map(|(session, known)| {
                (0..known.access.len()).map(move |access| (session, access))
            })
            .collect();
        pick(number, all.len()).map(|number| all[number])
    }

    async fn act(&mut self, act: &Act) {
        match act {
            Act::SignIn => {
                let (access, refresh) = self.server.sign_in(&self.email, &self.password).await;
                let access = vec![(access, true, true)];
                self.sessions.push(Session { refresh: vec![refresh], access, ended: false });
            }
            Act::Refresh(number) => self.refresh(*number).await,
            Act::SignOut(number) => {
                let Some((session, access)) = self.access_token(*number) else { return };
                let (token, good, _) = self.sessions[session].access[access].clone();
                let answer = self.server.logout(&token).await;
                assert_eq!(answer.status, if good { 204 } else { 401 });
                if good {
                    self.sessions[session].end();
                }
            }
            Act::SignOutEverywhere(number) => {
                let Some((session, access)) = self.access_token(*number) else { return };
                let (token, good, _) = self.sessions[session].access[access].clone();
                let request = self.server.post("/auth/jwt/logout-all").bearer(&token);
                assert_eq!(request.send().await.status, if good { 204 } else { 401 });
                if good {
                    self.sessions.iter_mut().for_each(Session::end);
                }
            }
            Act::ChangePassword(number) => self.change_password(*number).await,
        }
    }

    async fn refresh(&mut self, number: usize) {
        let all: Vec<_> = self
            .sessions
            .iter()
            .enumerate()
            .flat_map(|(session, known)| {
                (0..known.refresh.len()).map(move |token| (session, token))
            })
            .collect();
        let Some(number) = pick(number, all.len()) else { return };
        let (session, generation) = all[number];
        let answer = self.server.refresh(&self.sessions[session].refresh[generation]).await;
        let known = &mut self.sessions[session];
        let current = known.refresh.len() - 1;
        if known.ended {
            answer.expect_refusal(401, "SESSION_ENDED");
        } else if generation == current {
            let answer = answer.expect_status(200);
            known.refresh.push(answer.text("refresh_token"));
            known.access.push((answer.text("access_token"), true, false));
        } else if generation + 1 == current && self.leeway {
            let answer = answer.expect_status(200);
            assert_eq!(answer.text("refresh_token"), known.refresh[current], "the session forked");
            known.access.push((answer.text("access_token"), true, false));
        } else {
            answer.expect_refusal(401, "REFRESH_TOKEN_REUSED");
            known.end();
        }
    }

    async fn change_password(&mut self, number: usize) {
        let Some((session, access)) = self.access_token(number) else { return };
        let (token, good, fresh) = self.sessions[session].access[access].clone();
        let password = format!("{} again", self.password);
        let answer = self.server.change_me(&token, &json!({ "password": password })).await;
        match (good, fresh) {
            (true, true) => {
                answer.expect_status(200);
                self.password = password;
                for (other, known) in self.sessions.iter_mut().enumerate() {
                    if other == session {
                        known.access.iter_mut().for_each(|access| access.1 = false);
                    } else {
                        known.end();
                    }
                }
            }
            (true, false) => drop(answer.expect_refusal(401, "FRESH_TOKEN_REQUIRED")),
            (false, _) => drop(answer.expect_refusal(401, "Unauthorized")),
        }
    }

    /// Asserts that every access token is accepted or refused as in the model.
    async fn check(&self) {
        for (token, good, _) in self.sessions.iter().flat_map(|session| &session.access) {
            let status = self.server.me(token).await.status;
            assert_eq!(status, if *good { 200 } else { 401 }, "{}", claims_of(token));
        }
    }
}

fn run_random_actions(leeway: u64) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::setup().set("REFRESH_REUSE_LEEWAY", leeway).start());
    let mut runner =
        TestRunner::new(Config { cases: 120, failure_persistence: None, ..Config::default() });
    let mut turn = 0;
    let turn = std::cell::RefCell::new(&mut turn);
    let outcome = runner.run(&vec(act(), 1..40), |acts| {
        let email = {
            let mut turn = turn.borrow_mut();
            **turn += 1;
            format!("turn{}@user.com", **turn)
        };
        let life = async {
            server.register(&email, "p").await.expect_status(201);
            let sessions = Vec::new();
            let password = "p".to_owned();
            let mut world =
                World { server: &server, email, password, sessions, leeway: leeway > 0 };
            for act in &acts {
                world.act(act).await;
                // Without a leeway, a token is used up from the next millisecond on.
                server.move_clock(std::time::Duration::from_millis(2));
            }
            world.check().await;
        };
        let lived = std::panic::AssertUnwindSafe(|| runtime.block_on(life));
        std::panic::catch_unwind(lived).map_err(|_| TestCaseError::fail("the model disagrees"))
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn random_actions_on_sessions_agree_with_the_model() {
    run_random_actions(300);
}

#[test]
fn random_actions_on_sessions_agree_with_the_model_without_a_leeway() {
    run_random_actions(0);
}

/// The same actions in parallel: the session does not fork, and an ended session stays ended.
#[test]
fn parallel_random_actions_neither_fork_a_session_nor_revive_one() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::setup().set("REFRESH_REUSE_LEEWAY", 300).start());
    let mut runner =
        TestRunner::new(Config { cases: 120, failure_persistence: None, ..Config::default() });
    let turn = std::cell::Cell::new(0);
    let outcome = runner.run(&vec(act(), 2..16), |acts| {
        turn.set(turn.get() + 1);
        let email = format!("turn{}@user.com", turn.get());
        let lived = std::panic::AssertUnwindSafe(|| {
            runtime.block_on(run_in_parallel(&server, &email, &acts))
        });
        std::panic::catch_unwind(lived).map_err(|_| TestCaseError::fail("an invariant broke"))
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

async fn run_in_parallel(server: &Server, email: &str, acts: &[Act]) {
    server.register(email, "p").await.expect_status(201);
    let (access, refresh) = server.sign_in(email, "p").await;
    let mut tasks: JoinSet<(Act, Answer)> = JoinSet::new();
    for act in acts {
        let request = match act {
            Act::SignIn => {
                server.post("/auth/jwt/login").form(&[("username", email), ("password", "p")])
            }
            Act::Refresh(_) => server.post("/auth/jwt/refresh").bearer(&refresh),
            Act::SignOut(_) => server.post("/auth/jwt/logout").bearer(&access),
            Act::SignOutEverywhere(_) => server.post("/auth/jwt/logout-all").bearer(&access),
            Act::ChangePassword(_) => {
                server.patch("/users/me").bearer(&access).json(&json!({ "password": "q" }))
            }
        };
        let act = act.clone();
        tasks.spawn(async move { (act, request.send().await) });
    }
    let done = tasks.join_all().await;
    assert!(done.iter().all(|(_, answer)| answer.status < 500));
    let successors: std::collections::HashSet<_> = done
        .iter()
        .filter(|(act, answer)| matches!(act, Act::Refresh(_)) && answer.status == 200)
        .map(|(_, answer)| answer.text("refresh_token"))
        .collect();
    assert!(successors.len() <= 1, "the session forked");
    let well = |wanted: fn(&Act) -> bool| {
        done.iter().any(|(act, answer)| wanted(act) && answer.status < 300)
    };
    let ended = well(|act| matches!(act, Act::SignOut(_) | Act::SignOutEverywhere(_)));
    let changed = well(|act| matches!(act, Act::ChangePassword(_)));
    if ended {
        server.refresh(&refresh).await.expect_refusal(401, "SESSION_ENDED");
        for successor in &successors {
            server.refresh(successor).await.expect_refusal(401, "SESSION_ENDED");
        }
    }
    if ended || changed {
        server.me(&access).await.expect_reason("token_revoked");
    }
}
