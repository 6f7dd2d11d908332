//! The headers that say where a request came from: behind the proxies and gateways of the guide, no caller chooses them.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::free_port;
use super::gateways::{self, Ports, Program, application, is_whole};
use super::reverse_proxies::{self, caller};
use crate::support::eventually;

/// An address that a caller claims to have.
const CLAIMED: &str = "203.0.113.66";

/// A server in the place of Tessera. It accepts every request, and keeps it as it came.
struct Recorder {
    port: u16,
    came: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let came: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&came);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
                    while !is_whole(&came) {
                        match stream.read(&mut buffer).await {
                            Ok(length) if length > 0 => came.extend_from_slice(&buffer[..length]),
                            _ => return,
                        }
                    }
                    kept.lock().unwrap().push(String::from_utf8_lossy(&came).to_lowercase());
                    let answer = "HTTP/1.1 200 OK\r\nX-Auth-User: a\r\nContent-Length: 0\r\n\
                                  Connection: close\r\n\r\n";
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { port, came }
    }

    /// The request for a path.
    fn request(&self, path: &str) -> Option<String> {
        let came = self.came.lock().unwrap();
        came.iter().find(|came| came.starts_with(&format!("get {path}"))).cloned()
    }
}

/// Asks for a path, and claims to come from another address in the headers that a server can be set to believe.
async fn claims(client: &reqwest::Client, url: String) -> u16 {
    let request = client.get(url).header("Forwarded", format!("for={CLAIMED};proto=https"));
    request.header("X-Real-IP", CLAIMED).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_of_a_gateway_chooses_the_address_that_tessera_sees() {
    for make in [gateways::nginx, gateways::caddy, gateways::haproxy] {
        let recorder = Recorder::start().await;
        let (gateway, app) = (free_port(), application().await);
        let ports = Ports { gateway, server: recorder.port, app };
        let _program = Program::start(make, &ports).await;
        let client = reqwest::Client::new();
        for (path, of_tessera) in
            [("/page", "/auth/forward"), ("/.tessera/callback?to=/", "/.tessera/callback")]
        {
            let status = claims(&client, format!("http://127.0.0.1:{gateway}{path}")).await;
            assert_eq!(status, 200, "{path}");
            let came = recorder.request(of_tessera).unwrap();
            assert!(!came.contains(CLAIMED), "{came}");
            assert!(came.contains("\nx-forwarded-for: 127.0.0.1\r"), "{came}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_of_a_proxy_chooses_the_address_that_tessera_sees() {
    for make in [reverse_proxies::nginx, reverse_proxies::haproxy, reverse_proxies::caddy] {
        let recorder = Recorder::start().await;
        let ports = (free_port(), free_port());
        let upstream = format!("127.0.0.1:{}", recorder.port);
        let _proxy = reverse_proxies::start(make, &upstream, ports).await;
        let client = caller(ports.1, "127.0.0.9");
        let url = format!("https://id.example.com:{}/page", ports.1);
        eventually("the proxy passes requests on", async || {
            claims(&client, url.clone()).await == 200
        })
        .await;
        let came = recorder.request("/page").unwrap();
        assert!(!came.contains(CLAIMED), "{came}");
        assert!(came.contains("\nx-forwarded-for: 127.0.0.9\r"), "{came}");
    }
}
