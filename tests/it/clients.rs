//! Clients and resources: operations, commands, and the file that declares them.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Person, Server, claims_of};
use crate::terminal::{fault, json_of, out, remotely, strong_token};

/// Runs a command on the database of a server, with its clock.
pub(crate) fn tessera(server: &Server, arguments: &[&str]) -> Output {
    server.beside().args(arguments).output().unwrap()
}

pub(crate) async fn create(server: &Server, root: &Person, body: &Value) -> Value {
    let made = server.post("/admin/clients").bearer(&root.access).json(body).send().await;
    made.expect_status(201).json
}

#[tokio::test]
async fn a_client_is_made_shown_changed_and_deleted() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let body = json!({
        "client_id": "grafana",
        "name": "Grafana ü",
        "redirect_uris": ["https://grafana.example.com/login/generic_oauth"],
        "trusted": true,
        "claims": { "username": "email", "role": "'Viewer'" },
    });
    let made = create(&server, &root, &body).await;
    let secret = made["client_secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("tsr_cs_") && secret.len() == 50, "{secret}");
    assert_eq!(made["issuer"], claims_of(&root.access)["iss"]);
    assert_eq!(
        made["client"]["scopes"],
        json!(["email", "groups", "offline_access", "openid", "profile"])
    );
    assert_eq!(made["client"]["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(
        made["client"]["settings"]["claims"],
        json!({ "username": "email", "role": "'Viewer'" })
    );
    let again = server.post("/admin/clients").bearer(&root.access).json(&body).send().await;
    again.expect_refusal(409, "CLIENT_ALREADY_EXISTS");

    let read = || server.get("/admin/clients/grafana").bearer(&root.access).send();
    let shown = read().await.expect_status(200);
    assert!(!shown.body.contains(&secret));
    assert_eq!(shown.json["secrets"][0]["prefix"], secret[..11]);
    assert_eq!(shown.json["secrets"][0]["last_used"], Value::Null);
    assert_eq!(server.database.count("client_secret").await, 1);
    assert!(
        server.database.column::<String>("select digest from client_secret").await[0] != secret
    );

    let patch = |body: Value| {
        let request = server.patch("/admin/clients/grafana").bearer(&root.access);
        async move { request.json(&body).send().await }
    };
    let changed = patch(json!({ "name": "G", "trusted": false })).await.expect_status(200);
    assert_eq!(
        (&changed.json["name"], &changed.json["settings"]["trusted"]),
        (&json!("G"), &json!(false))
    );
    assert_eq!(changed.json["redirect_uris"], body["redirect_uris"]);
    patch(json!({ "redirect_uris": [] })).await.expect_status(422);
    patch(json!({ "enabled": false })).await.expect_status(200);
    assert_eq!(read().await.json["client"]["enabled"], json!(false));

    let delete = || server.request("DELETE", "/admin/clients/grafana").bearer(&root.access).send();
    delete().await.expect_status(204);
    read().await.expect_status(404);
    delete().await.expect_status(404);
    assert_eq!(server.database.count("client_secret").await, 0);
    let acts = "select act from audit_pending union all select act from audit";
    let acts = server.database.column::<String>(acts).await;
    for act in ["client-create", "client-update", "client-delete"] {
        assert!(acts.iter().any(|known| known == act), "{act}: {acts:?}");
    }
}

#[tokio::test]
async fn a_faulty_definition_is_refused_with_the_field_and_its_value() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    server.service(&root, "billing", &[]).await;
    let good = json!({ "client_id": "app", "redirect_uris": ["https://app.example.com/cb"] });
    let rows = [
        (json!({ "client_id": "A b" }), "client_id", "\"A b\""),
        (json!({ "client_id": "tessera" }), "client_id", "audience"),
        (json!({ "redirect_uris": [] }), "redirect_uris", "at least one"),
        (json!({ "redirect_uris": ["http://app.example.com/cb"] }), "redirect_uris", "https://"),
        (json!({ "redirect_uris": ["https://app.example.com/*"] }), "redirect_uris", "asterisk"),
        (json!({ "redirect_uris": "https://app.example.com" }), "redirect_uris", "must be a list"),
        (json!({ "application_type": "mobile" }), "application_type", "mobile"),
        (json!({ "auth_method": "password" }), "auth_method", "password"),
        (json!({ "grant_types": ["password"] }), "grant_types", "password"),
        (json!({ "grant_types": [] }), "grant_types", "at least one"),
        (
            json!({ "auth_method": "none", "grant_types": ["client_credentials"] }),
            "grant_types",
            "public",
        ),
        (json!({ "auth_method": "none", "pkce": "optional" }), "pkce", "PKCE"),
        (json!({ "scopes": ["a b"] }), "scopes", "\"a b\""),
        (json!({ "name": "a\nb" }), "name", "one line"),
        (json!({ "access_token_expires": 5 }), "access_token_expires", "60 to 86400"),
        (json!({ "audience": ["tessera"] }), "audience", "own tokens"),
        (json!({ "audience": [claims_of(&root.access)["iss"]] }), "audience", "own tokens"),
        (json!({ "claims": { "sub": "email" } }), "claims", "protocol"),
        (json!({ "access_token_claims": { "scope": "'x'" } }), "access_token_claims", "protocol"),
        (json!({ "claims": { "name": "emial" } }), "claims", "emial"),
        (json!({ "secret": "short" }), "secret", "32"),
        (json!({ "is_superuser": true }), "is_superuser", "is no setting"),
        (json!({ "origin": "file" }), "origin", "is no setting"),
    ];
    for (change, field, word) in rows {
        let mut body = good.clone();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = server.post("/admin/clients").bearer(&root.access).json(&body).send().await;
        assert_eq!(answer.status, 422, "{change}: {}", answer.body);
        let problems = answer.json["detail"].as_array().unwrap().clone();
        let is_named = |problem: &Value| {
            problem["loc"][1] == field && problem["msg"].as_str().unwrap().contains(word)
        };
        assert!(problems.iter().any(is_named), "{change}: {}", answer.body);
    }
    let service = json!({ "client_id": "billing", "redirect_uris": ["https://a.example/cb"] });
    let answer = server.post("/admin/clients").bearer(&root.access).json(&service).send().await;
    answer.expect_refusal(409, "CLIENT_ALREADY_EXISTS");
    assert_eq!(server.database.count("client").await, 0);
}

#[tokio::test]
async fn users_with_the_scope_admin_see_clients_and_only_superusers_change_them() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let viewer = server.person("viewer").await;
    let scopes = json!({ "scopes": ["authenticated", "admin"] });
    let path = format!("/users/{}", viewer.id);
    server.patch(&path).bearer(&root.access).json(&scopes).send().await.expect_status(200);
    server.advance(Duration::from_secs(1)).await;
    let body = json!({ "client_id": "app", "redirect_uris": ["https://app.example.com/cb"] });
    create(&server, &root, &body).await;
    let api = json!({ "uri": "https://api.example.com", "scopes": ["api:read"] });
    let resources = server.post("/admin/resources").bearer(&root.access).json(&api);
    resources.send().await.expect_status(201);
    for path in ["/admin/clients", "/admin/clients/app", "/admin/resources"] {
        server.get(path).bearer(&viewer.access).send().await.expect_status(200);
    }
    let claims = format!("/admin/clients/app/claims?username={}", viewer.email);
    let claims = server.get(&claims).bearer(&viewer.access).send().await.expect_status(200);
    let expected = json!({ "email": viewer.email, "email_verified": false, "groups": [] });
    assert_eq!(claims.json["id_token"], expected);
    assert_eq!(claims.json["access_token"], json!({}));
    let unknown = "/admin/clients/app/claims?username=nobody@user.com";
    server.get(unknown).bearer(&viewer.access).send().await.expect_status(404);
    let refused = [
        server.post("/admin/clients").json(&body),
        server.patch("/admin/clients/app").json(&json!({ "trusted": true })),
        server.post("/admin/clients/app/secrets").json(&json!({})),
        server.post("/admin/clients-document").json(&json!({ "clients": [] })),
        server.request("DELETE", "/admin/clients/app"),
        server.request("DELETE", "/admin/resources?uri=https://api.example.com"),
    ];
    for request in refused {
        request.bearer(&viewer.access).send().await.expect_refusal(403, "Forbidden");
    }
    // A superuser with an old session proves the password again.
    server.advance(Duration::from_secs(7200)).await;
    let (access, refresh) = server.sign_in(&root.email, crate::support::PASSWORD).await;
    server.get("/admin/clients").bearer(&access).send().await.expect_status(200);
    server.advance(Duration::from_secs(3600)).await;
    let stale = server.refresh(&refresh).await.text("access_token");
    let rotate = server.post("/admin/clients/app/secrets").bearer(&stale).json(&json!({}));
    rotate.send().await.expect_refusal(403, "FRESH_TOKEN_REQUIRED");
}

#[tokio::test]
async fn a_secret_is_rotated_with_an_overlap() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let body = json!({ "client_id": "app", "redirect_uris": ["https://app.example.com/cb"] });
    let first = create(&server, &root, &body).await["client_secret"].clone();
    let rotate = |body: Value| {
        let request = server.post("/admin/clients/app/secrets").bearer(&root.access);
        async move { request.json(&body).send().await }
    };
    let second = rotate(json!({ "overlap": 3600 })).await.expect_status(201);
    assert_ne!(second.json["client_secret"], first);
    let secrets = || async {
        let shown = server.get("/admin/clients/app").bearer(&root.access).send().await;
        shown.json["secrets"].as_array().unwrap().clone()
    };
    let known = secrets().await;
    assert_eq!(known.len(), 2);
    let newest = second.text("client_secret");
    let (new, old): (Vec<_>, Vec<_>) =
        known.iter().partition(|secret| newest.starts_with(secret["prefix"].as_str().unwrap()));
    assert_eq!(new[0]["expires"], Value::Null);
    assert_eq!(old[0]["expires"], second.json["previous_until"]);
    // A secret of the operator's own, and without an overlap.
    let own = "0f9c1d2b3a4e5f60718293a4b5c6d7e8";
    let third = rotate(json!({ "secret": own })).await.expect_status(201);
    assert_eq!(third.text("client_secret"), own);
    let live = secrets().await.into_iter().filter(|secret| secret["expires"].is_null());
    assert_eq!(live.count(), 1);
    rotate(json!({ "secret": own })).await.expect_status(422);
    rotate(json!({ "secret": "a".repeat(40) })).await.expect_status(422);
    rotate(json!({ "overlap": 100 * 86_400 })).await.expect_status(422);
    for _ in 0..4 {
        rotate(json!({ "overlap": 3600 })).await.expect_status(201);
    }
    rotate(json!({ "overlap": 3600 })).await.expect_status(422);
    rotate(json!({})).await.expect_status(201);
    let public = json!({
        "client_id": "spa", "auth_method": "none", "redirect_uris": ["https://spa.example.com/cb"],
    });
    let made = create(&server, &root, &public).await;
    assert_eq!(made["client_secret"], Value::Null);
    let request = server.post("/admin/clients/spa/secrets").bearer(&root.access);
    request.json(&json!({})).send().await.expect_status(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_manage_clients_at_the_terminal() {
    let server = Server::start().await;
    let (_, token) = strong_token(&server).await;
    let run =
        |arguments: &[&str]| [tessera(&server, arguments), remotely(&server, &token, arguments)];
    // A preset prints the configuration of the application.
    for (preset, redirect, words) in [
        (
            "grafana",
            "https://app.example.com/login/generic_oauth",
            ["[auth.generic_oauth]", "client_secret = tsr_cs_"],
        ),
        (
            "oauth2-proxy",
            "https://app.example.com/oauth2/callback",
            ["oidc_issuer_url = ", "client_secret = \"tsr_cs_"],
        ),
        (
            "mod_auth_openidc",
            "https://app.example.com/oidc/callback",
            ["OIDCProviderMetadataURL", "OIDCClientSecret \"tsr_cs_"],
        ),
    ] {
        let id = preset.replace('_', "-");
        let create =
            ["client", "create", &id, "--preset", preset, "--app", "https://app.example.com/"];
        let made = tessera(&server, &create);
        assert!(made.status.success(), "{}", fault(&made));
        assert!(words.iter().all(|word| out(&made).contains(word)), "{}", out(&made));
        let shown = json_of(&tessera(&server, &["client", "show", &id, "--output", "json"]));
        assert_eq!(shown["client"]["redirect_uris"], json!([redirect]));
    }
    let create = [
        "client",
        "create",
        "app",
        "--redirect",
        "https://app.example.com/cb",
        "--trusted",
        "--claim",
        "groups=words(group:)",
        "--access-token-claim",
        "role=authenticated",
        "--scope",
        "openid,email,api:read",
        "--output",
        "json",
    ];
    let made = json_of(&remotely(&server, &token, &create));
    assert_eq!(
        made["client"]["settings"]["access_token_claims"],
        json!({ "role": "'authenticated'" })
    );
    let [here, there] = run(&["client", "list", "--output", "json"]);
    assert_eq!(json_of(&here), json_of(&there));
    assert_eq!(json_of(&here).as_array().unwrap().len(), 4);
    let [here, there] = run(&["client", "show", "app"]);
    assert_eq!(out(&here), out(&there));
    assert!(out(&here).contains("trusted: true") && out(&here).contains("never"), "{}", out(&here));
    let update = ["client", "update", "app", "--disable", "--trusted=false", "--output", "json"];
    let changed = json_of(&tessera(&server, &update));
    assert_eq!(
        (&changed["enabled"], &changed["settings"]["trusted"]),
        (&json!(false), &json!(false))
    );
    let rotated = tessera(&server, &["client", "rotate-secret", "app", "--overlap", "7d"]);
    assert!(out(&rotated).contains("accepted until"), "{}{}", out(&rotated), fault(&rotated));
    let [here, there] = run(&["client", "claims", "app", "--user", "root@user.com"]);
    assert!(
        out(&here).contains("email: \"root@user.com\"") && out(&here) == out(&there),
        "{}",
        out(&here)
    );
    for output in run(&["client", "delete", "none"]) {
        assert!(fault(&output).contains("there is no client none"), "{}", fault(&output));
    }
    let bad =
        tessera(&server, &["client", "create", "bad", "--redirect", "http://app.example.com"]);
    assert!(
        fault(&bad).contains("\"http://app.example.com\" must begin with https://"),
        "{}",
        fault(&bad)
    );
    assert!(tessera(&server, &["client", "delete", "app"]).status.success());
    let api = "https://api.example.com";
    let made = tessera(&server, &["resource", "create", api, "--scope", "api:read"]);
    assert!(made.status.success(), "{}", fault(&made));
    let [here, there] = run(&["resource", "list", "--output", "json"]);
    assert_eq!(json_of(&here), json_of(&there));
    assert_eq!(json_of(&here)[0]["scopes"], json!(["api:read"]));
    let twice = tessera(&server, &["resource", "create", api]);
    assert!(fault(&twice).contains("already exists"), "{}", fault(&twice));
    assert!(remotely(&server, &token, &["resource", "delete", api]).status.success());
}

const DECLARED: &str = "# Our applications
resources:
  - uri: https://api.example.com
    scopes: [api:read]
clients:
  - client_id: wiki
    redirect_uris:
      - https://wiki.example.com/callback
    secret_file: wiki.secret
    trusted: true
  - client_id: desk
    application_type: native
    auth_method: none
    redirect_uris: ['http://127.0.0.1/callback']
";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_declares_clients_and_what_left_it_is_disabled() {
    let server = Server::start().await;
    let file = server.folder().join("clients.yaml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let secret = server.folder().join("wiki.secret");
    std::fs::write(&secret, "1d9c0f2b3a4e5f60718293a4b5c6d7e8\n").unwrap();
    let run = |action: &str| {
        let output = tessera(&server, &["client", action, "clients.yaml", "--output", "json"]);
        assert!(fault(&output).is_empty(), "{}", fault(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let changes = |outcome: &Value| -> Vec<String> {
        let changes = outcome["changes"].as_array().unwrap().iter();
        changes
            .map(|change| format!("{} {}", change["action"], change["id"]).replace('"', ""))
            .collect()
    };
    write(DECLARED);
    let all = ["create https://api.example.com", "create wiki", "secret wiki", "create desk"];
    let checked = run("check");
    assert_eq!(
        (changes(&checked), &checked["applied"]),
        (all.map(str::to_owned).to_vec(), &json!(false))
    );
    assert_eq!(server.database.count("client").await, 0);
    assert_eq!(changes(&run("apply")), all);
    assert!(changes(&run("apply")).is_empty());

    // It is changed only there.
    for arguments in [
        &["client", "update", "wiki", "--trusted=false"][..],
        &["client", "rotate-secret", "wiki"],
        &["client", "delete", "wiki"],
        &["resource", "delete", "https://api.example.com"],
    ] {
        let refused = tessera(&server, arguments);
        assert!(fault(&refused).contains("tessera client apply"), "{}", fault(&refused));
    }
    write(
        &DECLARED.replace("trusted: true", "trusted: false").replace("[api:read]", "[api:write]"),
    );
    std::fs::write(&secret, "2d9c0f2b3a4e5f60718293a4b5c6d7e8\n").unwrap();
    assert_eq!(
        changes(&run("apply")),
        ["update https://api.example.com", "update wiki", "secret wiki"]
    );
    // A document that is taken back is accepted, and its secret is valid again.
    write(DECLARED);
    std::fs::write(&secret, "1d9c0f2b3a4e5f60718293a4b5c6d7e8\n").unwrap();
    let back = ["update https://api.example.com", "update wiki", "secret wiki"];
    assert_eq!(changes(&run("apply")), back);
    let live = "select prefix from client_secret where expires_at is null";
    assert_eq!(server.database.column::<String>(live).await.len(), 1);
    assert!(changes(&run("apply")).is_empty());
    write("clients: []\n");
    let left = ["disable desk", "disable https://api.example.com", "disable wiki"];
    let mut found = changes(&run("apply"));
    found.sort_unstable();
    assert_eq!(found, left);
    let enabled = "select cast(count(*) as text) from client where is_active";
    assert_eq!(server.database.column::<String>(enabled).await, ["0"]);
    assert!(tessera(&server, &["client", "delete", "desk"]).status.success());

    // Faults are shown by line, and nothing changes.
    write(
        &DECLARED
            .replace("https://wiki.example.com/callback", "https://wiki.example.com/*")
            .replace("application_type: native", "aplication_type: native"),
    );
    for action in ["check", "apply"] {
        let output = tessera(&server, &["client", action, "clients.yaml"]);
        let told = fault(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("clients.yaml: line 12: aplication_type"), "{told}");
    }
    write(&DECLARED.replace("https://wiki.example.com/callback", "https://wiki.example.com/*"));
    let told = fault(&tessera(&server, &["client", "check", "clients.yaml"]));
    assert!(
        told.contains(
            "line 8: The redirect URI \"https://wiki.example.com/*\" contains an asterisk"
        ),
        "{told}"
    );
    assert_eq!(server.database.column::<String>(enabled).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_applies_its_file_when_it_starts_or_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.yaml");
    std::fs::write(&file, DECLARED).unwrap();
    std::fs::write(folder.path().join("wiki.secret"), "1d9c0f2b3a4e5f60718293a4b5c6d7e8").unwrap();
    let server = Server::setup().set("CLIENTS_FILE", file.display()).start().await;
    assert_eq!(server.database.count("client").await, 2);
    // Another replica changes nothing.
    let second =
        Server::setup().set("CLIENTS_FILE", file.display()).on(server.kill()).start().await;
    assert_eq!(second.database.count("client_secret").await, 1);
    let inline = "clients: [{client_id: inline, auth_method: none, redirect_uris: ['https://a.example/cb']}]";
    let third = Server::setup().set("CLIENTS", inline).on(second.kill()).start().await;
    assert_eq!(third.database.count("client").await, 3);
    let mut refused = third.beside();
    refused.args(["serve", "--port=0"]).env("APP_SECRET", crate::support::SECRET);
    let refused = refused.env("CLIENTS", "clients:\n- client_id: A\n").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        fault(&refused).contains("CLIENTS: line 2: The client id \"A\""),
        "{}",
        fault(&refused)
    );
}
