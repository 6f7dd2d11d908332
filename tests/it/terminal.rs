//! Commands of operators, on the database and on a running server.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{PASSWORD, Person, Server, command, eventually};

/// Runs a command on the database of a server, without its secret, which these commands do not need.
pub(crate) fn tessera(server: &Server, arguments: &[&str]) -> Output {
    let mut command = command(server.folder());
    command.args(arguments).env("DATABASE_URL", server.database.url()).output().unwrap()
}

/// Runs a command on a running server.
pub(crate) fn remotely(server: &Server, token: &str, arguments: &[&str]) -> Output {
    let mut command = command(server.folder());
    let url = server.url("/");
    // This database does not exist, so the command must not open it.
    command.args(arguments).env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    command.env("TESSERA_URL", url).env("TESSERA_API_TOKEN", token).output().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn fault(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub(crate) fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}{}", out(output), fault(output));
    assert_eq!(fault(output), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes a superuser, and an API token with all permissions of a superuser.
pub(crate) async fn strong_token(server: &Server) -> (Person, String) {
    let root = server.superuser("root").await;
    let scopes = json!({ "scopes": ["authenticated", "super"] });
    let token = server.api_token(&root.access, &scopes).await;
    (root, token)
}

/// There can be millions of revocations. A command that does not decide about tokens must not read them.
#[tokio::test(flavor = "multi_thread")]
async fn commands_that_judge_no_token_do_not_read_the_revocations() {
    let server = Server::start().await;
    server.person("first").await;
    server.database.execute("alter table revocation rename to hidden").await;
    for arguments in [
        &["user", "show", "first@user.com"][..],
        &["user", "list"],
        &["token", "list"],
        &["session", "list", "--username", "first@user.com"],
        &["service", "list"],
        &["audit", "list"],
    ] {
        let output = tessera(&server, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", fault(&output));
    }
    server.database.execute("alter table hidden rename to revocation").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_manage_api_tokens_on_the_database() {
    let server = Server::start().await;
    let person = server.person("foobar").await;
    let create = ["token", "create", "--username", "foobar@user.com", "--name", "ci"];
    let made = tessera(&server, &[&create[..], &["--expire", "3600", "--output", "json"]].concat());
    let made = json_of(&made);
    let secret = made["token"].as_str().unwrap();
    assert_eq!(server.me(secret).await.text("id"), person.id);
    let expires = made["expires"].as_u64().unwrap() - made["created"].as_u64().unwrap();
    assert_eq!(expires, 3600);

    let printed = tessera(&server, &create);
    let second = out(&printed).lines().next().unwrap().to_owned();
    assert!(second.starts_with("tsr_"), "{}{}", out(&printed), fault(&printed));
    server.me(&second).await.expect_status(200);

    let table = out(&tessera(&server, &["token", "list", "--username", "foobar@user.com"]));
    for heading in ["username", "token", "name", "age", "created", "expires", "last used"] {
        assert!(table.lines().next().unwrap().contains(heading), "{table}");
    }
    let shown = format!("{}…", &secret[..8]);
    assert!(table.contains(&shown) && table.contains(" ci ") && !table.contains(secret), "{table}");
    let everybody = json_of(&tessera(&server, &["token", "list", "--output", "json"]));
    assert_eq!(everybody.as_array().unwrap().len(), 2);

    for (token, valid, code) in [(secret, "true\n", 0), ("tsr_nothing", "false\n", 1)] {
        let checked = tessera(&server, &["token", "check", "--token", token]);
        assert_eq!((out(&checked).as_str(), checked.status.code()), (valid, Some(code)));
    }
    let deleted = tessera(&server, &["token", "delete", "--token", secret, "--output", "json"]);
    assert_eq!(json_of(&deleted)["removed"], 1);
    // The output says that this server has applied the change.
    server.me(secret).await.expect_reason("api_token_unknown");
    let all = ["token", "delete", "--username", "foobar@user.com"];
    assert!(out(&tessera(&server, &all)).starts_with("removed: 1"));
    server.me(&second).await.expect_reason("api_token_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_manage_api_tokens_on_a_server() {
    let server = Server::start().await;
    server.person("foobar").await;
    let (_, strong) = strong_token(&server).await;
    let create = ["token", "create", "--username", "foobar@user.com", "--output", "json"];
    let own = "f343ff34r3fg4g5g34gf34g34g3g34g4";
    let made = json_of(&remotely(&server, &strong, &[&create[..], &["--token", own]].concat()));
    assert_eq!(made["token"], own);
    server.me(own).await.expect_status(200);
    let checked = remotely(&server, &strong, &["token", "check", "--token", own]);
    assert_eq!((out(&checked).as_str(), checked.status.code()), ("true\n", Some(0)));
    let listed = remotely(&server, &strong, &["token", "list", "--output", "json"]);
    assert_eq!(json_of(&listed).as_array().unwrap().len(), 2);
    // Users who are not superusers see only their own tokens.
    let listed = remotely(&server, own, &["token", "list", "--output", "json"]);
    assert_eq!(json_of(&listed)[0]["username"], "foobar@user.com");
    let refused = remotely(&server, own, &["token", "list", "--username", "root@user.com"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(fault(&refused).contains("may not"), "{}", fault(&refused));
    let sessions = ["session", "list", "--username", "foobar@user.com", "--output", "json"];
    let sessions = json_of(&remotely(&server, &strong, &sessions));
    let id = sessions[0]["id"].as_str().unwrap();
    let ended = remotely(&server, &strong, &["session", "end", "--id", id]);
    assert!(out(&ended).starts_with("ended"), "{}", fault(&ended));
    let service = ["service", "create", "gateway", "--scope", "tokens:check,invoices"];
    assert!(remotely(&server, &strong, &service).status.success());
    let services = remotely(&server, &strong, &["service", "list", "--output", "json"]);
    assert_eq!(json_of(&services)[0]["scopes"], json!(["invoices", "tokens:check"]));
    assert!(remotely(&server, &strong, &["service", "delete", "gateway"]).status.success());

    let wrong = remotely(&server, "tsr_nothing", &["token", "list"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(fault(&wrong).contains("this is not an API token"), "{}", fault(&wrong));
    let nothing = command(server.folder())
        .args(["token", "list", "--url", "http://127.0.0.1:1", "--api-token", &strong])
        .output()
        .unwrap();
    assert!(fault(&nothing).contains("does not answer"), "{}", fault(&nothing));
    assert!(!fault(&nothing).contains(&strong));
    let none = command(server.folder()).args(["token", "list", "--url", "http://x"]).output();
    assert!(fault(&none.unwrap()).contains("TESSERA_API_TOKEN is not set"));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_manage_sessions_and_revocations_on_the_database() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let (second, _) = server.sign_in(&person.email, crate::support::PASSWORD).await;
    let list = ["session", "list", "--username", "first@user.com"];
    let sessions = json_of(&tessera(&server, &[&list[..], &["--output", "json"]].concat()));
    assert_eq!(sessions.as_array().unwrap().len(), 2);
    let sid = crate::support::claims_of(&second)["sid"].as_str().unwrap().to_owned();
    let ended = tessera(&server, &["session", "end", "--id", &sid, "--why", "laptop stolen"]);
    assert!(ended.status.success(), "{}", fault(&ended));
    server.wait_until_caught_up().await;
    server.me(&second).await.expect_reason("token_revoked");
    server.me(&person.access).await.expect_status(200);
    let ended = out(&tessera(&server, &[&list[..], &["--ended"]].concat()));
    assert!(ended.contains(&sid) && ended.contains("admin"), "{ended}");

    let add = ["revocation", "add", "--kind", "jti", "--why", "leaked", "--subject"];
    let jti = crate::support::claims_of(&person.access)["jti"].as_str().unwrap().to_owned();
    assert!(tessera(&server, &[&add[..], &[&jti]].concat()).status.success());
    server.wait_until_caught_up().await;
    server.me(&person.access).await.expect_reason("token_revoked");
    let listed = json_of(&tessera(&server, &["revocation", "list", "--output", "json"]));
    assert_eq!((&listed[0]["subject"], &listed[0]["why"]), (&json!(jti), &json!("leaked")));
    let seq = listed[0]["seq"].to_string();
    assert!(tessera(&server, &["revocation", "lift", &seq]).status.success());
    server.wait_until_caught_up().await;
    server.me(&person.access).await.expect_status(200);
    let again = tessera(&server, &["revocation", "lift", &seq]);
    assert_eq!(again.status.code(), Some(1));

    let all = tessera(&server, &["session", "end", "--username", "FIRST@user.com"]);
    assert!(all.status.success(), "{}", fault(&all));
    server.wait_until_caught_up().await;
    server.me(&person.access).await.expect_reason("token_revoked");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    let nobody = tessera(&server, &["session", "end", "--username", "nobody@user.com"]);
    assert_eq!(nobody.status.code(), Some(1));
}

/// The output names each replica that is on line and says whether it has applied the change. A stopped process has not.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_shows_which_replicas_have_applied_its_change() {
    let one = Server::setup().set("REPLICA_NAME", "replica-1").start().await;
    let two = Server::setup().set("REPLICA_NAME", "replica-2").on(one.database.clone());
    let two = two.start().await;
    let person = one.person("first").await;
    let secret = one.api_token(&person.access, &json!({})).await;
    two.me(&secret).await.expect_status(200);
    let deleted = tessera(&one, &["token", "delete", "--token", &secret, "--output", "json"]);
    let deleted = json_of(&deleted);
    assert_eq!(deleted["replicas"], json!({ "replica-1": true, "replica-2": true }));
    one.me(&secret).await.expect_reason("api_token_unknown");
    two.me(&secret).await.expect_reason("api_token_unknown");
    let printed = tessera(&one, &["session", "end", "--username", "first@user.com"]);
    let said = "Applied by replicas replica-1, replica-2.\n";
    assert!(out(&printed).contains(said), "{}{}", out(&printed), fault(&printed));
    two.me(&person.access).await.expect_reason("token_revoked");

    let person = one.person("second").await;
    // A process that stops in a transaction would keep the file of the database. So it stops after a report, when nothing is
    // left to do.
    one.database.wait_until_no_job_is_left().await;
    one.database.count("audit").await;
    let reported = "select seen_at from replica where name = 'replica-2'";
    let before = one.database.column::<i64>(reported).await;
    let has_reported = async || one.database.column::<i64>(reported).await != before;
    eventually("the replica reports", has_reported).await;
    two.freeze();
    let ended = ["session", "end", "--username", "second@user.com", "--output", "json"];
    let ended = json_of(&tessera(&one, &ended));
    assert_eq!(ended["replicas"], json!({ "replica-1": true, "replica-2": false }));
    one.me(&person.access).await.expect_reason("token_revoked");
    two.thaw();

    // A replica that stops is removed from the list.
    let mut two = two;
    two.terminate();
    assert!(two.ended().await.success());
    let listed = json_of(&tessera(&one, &["replica", "list", "--output", "json"]));
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["replica-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_text_cannot_control_the_terminal() {
    let server = Server::start().await;
    server.person("first").await;
    // This uses SQL, because the operations refuse control characters.
    let escape = "update session set user_agent = 'x' || ";
    let escape = match server.database.kind() {
        crate::support::Kind::Sqlite => format!("{escape}char(27) || '[2J'"),
        crate::support::Kind::Postgres => format!("{escape}chr(27) || '[2J'"),
    };
    server.database.execute(&escape).await;
    let listed = tessera(&server, &["session", "list", "--username", "first@user.com"]);
    assert!(out(&listed).contains("x[2J"), "{}", out(&listed));
    assert!(!listed.stdout.contains(&0x1b));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_refused_says_what_to_do() {
    let server = Server::start().await;
    for (arguments, code, words) in [
        (&["token", "create", "--username", "nobody@user.com"][..], 1, "there is no user"),
        (&["token", "create"], 2, "--username"),
        (&["token", "delete"], 2, "--token"),
        (&["token", "delete", "--id", "x", "--username", "y"], 2, "cannot be used with"),
        (&["token", "create", "--username", "x", "--expire", "0"], 1, "expire"),
        (&["token", "create", "--username", "x", "--token", "short"], 1, "16 to 256"),
        (&["service", "create", "Bad Name"], 1, "name"),
        (&["service", "create", "strong", "--scope", "super"], 1, "only users can have it"),
        (&["service", "delete", "nobody"], 1, "there is no service nobody"),
        (&["session", "list", "--username", "nobody@user.com"], 1, "there is no user nobody@"),
        (&["session", "end", "--username", "nobody@user.com"], 1, "there is no user or session"),
        (&["keys", "retire", "-nothing"], 1, "APP_SECRET is not set"),
        (&["user", "show", "nobody@user.com"], 1, "there is no user nobody@user.com"),
        (&["user", "demote", "nothing"], 1, "there is no user nothing"),
        (&["user", "create", "a@user.com"], 1, "standard input, which is empty"),
        (&["revocation", "add", "--kind", "sid", "--subject", "x", "--why", "y"], 1, "UUID"),
        (&["revocation", "lift", "99999"], 1, "there is no revocation 99999"),
        (&["help", "nothing"], 1, "help tree"),
    ] {
        let output = tessera(&server, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {}", fault(&output));
        assert!(fault(&output).contains(words), "{arguments:?} {}", fault(&output));
    }
    let empty = tessera(&server, &["token", "list"]);
    assert_eq!(out(&empty), "none\n");
}

/// The result is printed even if the command cannot find out which replicas have applied it.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_can_delete_the_api_token_that_it_uses() {
    let server = Server::start().await;
    let (_, strong) = strong_token(&server).await;
    let deleted = remotely(&server, &strong, &["token", "delete", "--token", &strong]);
    assert!(deleted.status.success(), "{}", fault(&deleted));
    assert_eq!(out(&deleted), "removed: 1\n");
    assert!(fault(&deleted).starts_with("note: it is not known which"), "{}", fault(&deleted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_refuses_an_answer_that_is_not_from_tessera() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let page =
                "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<html></html>";
            let _ = stream.write_all(page.as_bytes());
        }
    });
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["session", "end", "--username", "x@user.com"][..],
        &["token", "delete", "--id", "x"],
        &["token", "create", "--username", "x@user.com"],
        &["token", "list"],
        &["keys", "retire", "x"],
    ] {
        let mut command = command(folder.path());
        command.args(arguments).env("TESSERA_URL", &url).env("TESSERA_API_TOKEN", "x");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", out(&output));
        assert!(fault(&output).contains("TESSERA_URL"), "{}", fault(&output));
        assert_eq!(out(&output), "");
    }
}

/// In a wrong folder, commands print an error instead of the content of a new, empty database.
#[test]
fn commands_that_only_read_do_not_create_a_database() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["token", "list"][..],
        &["token", "check", "--token", "tsr_x"],
        &["user", "list"],
        &["keys", "list", "--dev"],
    ] {
        let mut looking = command(folder.path());
        looking.args(arguments).env("APP_SECRET", crate::support::SECRET);
        let output = looking.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let missing =
            format!("there is no database {}", folder.path().join("tessera.db").display());
        assert!(fault(&output).contains(&missing), "{}", fault(&output));
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "{arguments:?}");
    }
    // A user is not made on a local database if a server is named.
    let mut create = command(folder.path());
    create.args(["user", "create", "x@user.com"]).env("TESSERA_URL", "http://127.0.0.1:1");
    let output = create.output().unwrap();
    assert!(fault(&output).contains("unset TESSERA_URL"), "{}", fault(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_manage_users_on_the_database_and_on_a_server() {
    let server = Server::start().await;
    let (_, strong) = strong_token(&server).await;
    let person = server.person("first").await;
    let user = |arguments: &[&str]| tessera(&server, &[&["user"], arguments].concat());
    let listed = user(&["list"]);
    assert!(out(&listed).contains("root@user.com") && out(&listed).contains("active superuser"));
    let found = json_of(&user(&["list", "--query", "FIRST", "--output", "json"]));
    assert_eq!(found.as_array().unwrap().len(), 1);
    for (action, said) in [
        ("verify", "has a verified address"),
        ("promote", "is a superuser"),
        ("demote", "is not a superuser"),
        ("deactivate", "cannot sign in"),
        ("activate", "can sign in"),
    ] {
        let done = user(&[action, "First@user.com"]);
        assert!(out(&done).starts_with(&format!("first@user.com {said}")), "{}", fault(&done));
    }
    server.me(&person.access).await.expect_reason("token_revoked");
    let shown = json_of(&user(&["show", &person.id, "--output", "json"]));
    assert_eq!((&shown["is_verified"], &shown["is_superuser"]), (&json!(true), &json!(false)));
    let last = user(&["demote", "root@user.com"]);
    assert_eq!(last.status.code(), Some(1));
    assert!(fault(&last).contains("Make another user a superuser first"), "{}", fault(&last));

    let set = |password: &str| {
        use std::io::Write;
        let mut set = command(server.folder());
        set.args(["user", "set-password", "first@user.com"]);
        set.env("DATABASE_URL", server.database.url()).stdin(std::process::Stdio::piped());
        set.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = set.spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(fault(&set("short\n")).contains("at least 8 characters"));
    assert!(set("set at the terminal\n").status.success());
    let (access, _) = server.sign_in("first@user.com", "set at the terminal").await;

    let export = json_of(&remotely(&server, &strong, &["user", "export", "first@user.com"]));
    assert_eq!(export["user"]["email"], "first@user.com");
    let kept = user(&["delete", "first@user.com"]);
    assert_eq!(kept.status.code(), Some(1));
    assert!(fault(&kept).contains("--yes"), "{}", fault(&kept));
    server.me(&access).await.expect_status(200);
    let deleted = remotely(&server, &strong, &["user", "delete", "first@user.com", "--yes"]);
    assert!(out(&deleted).starts_with("first@user.com was deleted"), "{}", fault(&deleted));
    server.me(&access).await.expect_status(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_users_at_the_terminal_has_dates_filters_and_a_table_without_formulas() {
    let server = Server::start().await;
    let (_, strong) = strong_token(&server).await;
    for (email, name) in [("=cmd@user.com", "=1+1"), ("plain@user.com", "King, \"Ada\"")] {
        let body = json!({ "email": email, "name": name, "password": PASSWORD });
        server.post("/auth/register").json(&body).send().await.expect_status(201);
    }
    server.login("plain@user.com", PASSWORD).await.expect_status(200);
    let set = "update \"user\" set is_active = false where email = '=cmd@user.com'";
    server.database.execute(set).await;
    server.database.execute("update \"user\" set is_verified = true where is_superuser").await;
    let list = |arguments: &[&str]| tessera(&server, &[&["user", "list"], arguments].concat());
    let listed = out(&list(&[]));
    let line = |email: &str| listed.lines().find(|line| line.contains(email)).unwrap().to_owned();
    assert!(listed.contains("created") && listed.contains("last sign-in"), "{listed}");
    assert!(line("=cmd@").contains("inactive not-verified") && line("=cmd@").contains("never"));
    assert_eq!(line("plain@").matches(" UTC").count(), 2, "{listed}");
    assert!(line("root@").contains("active superuser verified"), "{listed}");
    for (states, found) in [
        ("active", vec!["plain", "root"]),
        ("inactive", vec!["=cmd"]),
        ("superuser", vec!["root"]),
        ("ordinary", vec!["=cmd", "plain"]),
        ("verified", vec!["root"]),
        ("not-verified,active", vec!["plain"]),
        ("ordinary,verified", vec![]),
    ] {
        for remote in [false, true] {
            let arguments = ["user", "list", "--state", states, "--output", "json"];
            let output = match remote {
                true => remotely(&server, &strong, &arguments),
                false => tessera(&server, &arguments),
            };
            let names: Vec<_> = json_of(&output)
                .as_array()
                .unwrap()
                .iter()
                .map(|user| user["email"].as_str().unwrap().split('@').next().unwrap().to_owned())
                .collect();
            assert_eq!(names, found, "{states}");
        }
    }
    for wrong in ["active,inactive", "sleeping"] {
        let refused = list(&["--state", wrong]);
        assert!(
            !refused.status.success() && fault(&refused).contains("state"),
            "{}",
            fault(&refused)
        );
    }
    // The terminal writes the same table as the operation.
    let (root, _) = server.sign_in("root@user.com", PASSWORD).await;
    let table = server.post("/users/export?is_superuser=false").bearer(&root).send().await;
    let written = list(&["--state", "ordinary", "--output", "csv"]);
    assert_eq!(out(&written), table.expect_status(200).body);
    assert!(out(&written).contains(",'=cmd@user.com,'=1+1,"), "{}", out(&written));
    let shown = out(&tessera(&server, &["user", "show", "plain@user.com"]));
    assert_eq!(shown.matches(" UTC").count(), 2, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_can_ask_a_server_to_explain_a_token() {
    let server = Server::start().await;
    let (root, strong) = strong_token(&server).await;
    let told = remotely(&server, &strong, &["token", "explain", &root.access]);
    assert!(out(&told).starts_with("accepted: an access token"), "{}", fault(&told));
    let told = remotely(&server, &strong, &["token", "explain", "tsr_x", "--output", "json"]);
    assert_eq!(told.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["reason"], "api_token_malformed");
}

#[test]
fn a_command_does_not_print_a_secret_that_is_in_the_wrong_place() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "tsr_00000000000000000000000000000000000000000000000000";
    let output = command(folder.path()).args(["token", "check", secret]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!fault(&output).contains(secret) && fault(&output).contains("one argument too many"));
    let soon = ["token", "create", "--username", "x", "--expire", "soon"];
    let output = command(folder.path()).args(soon).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(fault(&output).contains("--expire") && !fault(&output).contains(".env"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_accepts_commands_from_a_file() {
    use std::io::Write;
    let server = Server::start().await;
    server.person("first").await;
    let mut command = command(server.folder());
    command
        .arg("shell")
        .args(["--database-url", server.database.url()])
        .env("HOME", server.folder());
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = "# comment\n\ntoken create --username first@user.com --name 'two words'\n\
                 token list\nexit\ntoken list\n";
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", out(&output));
    assert!(out(&output).contains("tsr_") && out(&output).contains("two words"));
    assert_eq!(out(&output).matches("last used").count(), 1, "the shell ran a command after exit");
}
