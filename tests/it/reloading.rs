//! SIGHUP, and the messages to a service manager.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::support::{Browser, Server, eventually};

/// The socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        Self(socket)
    }

    /// Waits for the next message that says one of these things, and returns it. Others are left out.
    fn next(&self, said: &[&str]) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self.0.recv(&mut bytes).expect("the server sends a message");
            let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if let Some(said) = said.iter().find(|said| message.lines().any(|line| line == **said))
            {
                assert!(*said != "READY=1" || message.contains("STATUS="), "{message}");
                return (*said).to_owned();
            }
        }
    }

    fn has_sign_of_life(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        let mut found = false;
        while let Ok(length) = self.0.recv(&mut bytes) {
            found |= bytes[..length].starts_with(b"WATCHDOG=1");
        }
        self.0.set_nonblocking(false).unwrap();
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reads_the_log_filter_and_the_templates_again_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (pages, mails) = (folder.path().join("pages"), folder.path().join("mails"));
    std::fs::create_dir_all(&pages).unwrap();
    std::fs::create_dir_all(mails.join("verify")).unwrap();
    std::fs::write(pages.join("style.css"), "body { color: red }").unwrap();
    let subject = mails.join("verify/subject.txt");
    std::fs::write(&subject, "Before").unwrap();
    let setup = Server::setup().file(".env", "RUST_LOG=warn,tessera=info\n");
    let setup = setup.set("PAGE_TEMPLATES", pages.display()).set("MAIL_TEMPLATES", mails.display());
    let server = setup.start().await;
    let person = server.person("first").await;
    let style = async || server.get("/style.css").send().await.body;
    assert!(style().await.contains("color: red"));
    let mail = async || {
        let body = serde_json::json!({ "email": person.email });
        server.post("/auth/request-verify-token").json(&body).send().await.expect_status(202);
        server.database.wait_until_no_job_is_left().await;
    };
    let outbox = server.folder().join("outbox");
    let has_subject = |subject: &str| {
        let mails = std::fs::read_dir(&outbox).into_iter().flatten();
        let texts = mails.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
        texts.into_iter().any(|text| text.contains(&format!("Subject: {subject}")))
    };
    mail().await;
    eventually("the mail has the first subject", async || has_subject("Before")).await;

    std::fs::write(pages.join("style.css"), "body { color: blue }").unwrap();
    std::fs::write(&subject, "After").unwrap();
    std::fs::write(server.folder().join(".env"), "RUST_LOG=info\n").unwrap();
    server.hang_up().await;
    assert!(style().await.contains("color: blue"));
    mail().await;
    eventually("the mail has the second subject", async || has_subject("After")).await;
    server.log.wait_for("answered a request").await;

    // What cannot be used is left out, and named.
    std::fs::write(pages.join("login.html"), "{{ nothing").unwrap();
    std::fs::write(&subject, "{{ nothing").unwrap();
    std::fs::write(server.folder().join(".env"), "RUST_LOG=loud=loud=loud\n").unwrap();
    server.hang_up().await;
    let log = server.log_so_far().await;
    assert_eq!(log.matches("keeps the templates that it has").count(), 2, "{log}");
    assert!(log.contains("login.html") && log.contains("subject.txt"), "{log}");
    assert!(log.contains("keeps the log filter that it has, because RUST_LOG is"), "{log}");
    Browser::of(&server).open("/login").await.expect_status(200);
    // The session of the user is still there.
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_filter_of_the_environment_stays_at_a_hangup() {
    let server = Server::setup().set("RUST_LOG", "info").file(".env", "RUST_LOG=error\n");
    let server = server.start().await;
    server.hang_up().await;
    server.hang_up().await;
    server.get("/health/live").send().await.expect_status(200);
    server.log.wait_for("answered a request").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_each_state_and_gets_signs_of_life_only_while_the_server_answers()
 {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::at(&folder.path().join("notify"));
    let socket = folder.path().join("s");
    let setup = Server::setup().set("NOTIFY_SOCKET", folder.path().join("notify").display());
    let setup = setup.set("LISTEN", format!("unix:{},127.0.0.1:0", socket.display()));
    let setup = setup.set("WATCHDOG_USEC", 400_000).with_shell_limits("export WATCHDOG_PID=$$");
    let mut server = setup.start().await;
    let states = ["READY=1", "RELOADING=1", "STOPPING=1"];
    assert_eq!(manager.next(&states), "READY=1");
    assert_eq!(manager.next(&["WATCHDOG=1"]), "WATCHDOG=1");
    server.hang_up().await;
    assert_eq!(manager.next(&states), "RELOADING=1");
    assert_eq!(manager.next(&states), "READY=1");

    // The health check finds the server no more, though its process runs.
    std::fs::rename(&socket, folder.path().join("moved")).unwrap();
    server.log.wait_for("the server does not answer its own health check").await;
    manager.has_sign_of_life();
    let fault = "the server does not answer its own health check";
    let faults = async || server.log_so_far().await.matches(fault).count();
    let before = faults().await;
    eventually("the check fails three more times", async || faults().await > before + 2).await;
    assert!(!manager.has_sign_of_life(), "a server that does not answer gives no sign of life");
    std::fs::rename(folder.path().join("moved"), &socket).unwrap();
    assert_eq!(manager.next(&["WATCHDOG=1"]), "WATCHDOG=1");

    server.terminate();
    assert_eq!(manager.next(&states), "STOPPING=1");
    assert!(server.ended().await.success());
}
