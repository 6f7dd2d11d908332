//! The TLS of the server, as OpenSSL sees it.

use std::process::{Command, Stdio};

use crate::once::{project, run, text};
use crate::support::Server;

/// Connects with `openssl s_client`, and returns everything that it prints.
fn s_client(server: &Server, arguments: &[&str]) -> String {
    let authority = project().join("tests/it/support/tls/authority.crt");
    let address = format!("localhost:{}", server.address.port());
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-connect",
        &address,
        "-servername",
        "localhost",
        "-verify_return_error",
    ]);
    command.arg("-CAfile").arg(authority).args(arguments).stdin(Stdio::null());
    let output = run(&mut command);
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_connects_with_tls_1_2_and_1_3_only_and_gets_http_1_1() {
    let folder = project().join("tests/it/support/tls");
    let setup = Server::setup().set("TLS_CERT", folder.join("second.crt").display());
    let server = setup.set("TLS_KEY", folder.join("second.key").display()).start().await;
    for version in ["-tls1_2", "-tls1_3"] {
        let said = s_client(&server, &[version, "-alpn", "h2,http/1.1"]);
        assert!(said.contains("ALPN protocol: http/1.1"), "{version}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{version}: {said}");
    }
    // At this level, OpenSSL itself would speak the old versions.
    for version in ["-tls1", "-tls1_1"] {
        let said = s_client(&server, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(said.contains("SSL alert number"), "{version}: {said}");
        assert!(said.contains("Cipher is (NONE)"), "{version}: {said}");
    }
    let said = s_client(&server, &["-tls1_3", "-alpn", "h2"]);
    assert!(said.contains("no application protocol"), "{said}");
    // Old ciphers and renegotiation are not offered.
    let said = s_client(&server, &["-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384"]);
    assert!(said.contains("handshake failure"), "{said}");
    server.get("/health/live").send().await.expect_status(200);
}
