//! `tessera health`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use api::base::config::Config;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, body::Bytes, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::print;

pub(crate) async fn run(config: &Config) -> Result<(), String> {
    let host = if config.host.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { config.host };
    let port = config.port;
    match timeout(Duration::from_secs(5), ask(host, port)).await {
        Ok(Ok(StatusCode::OK)) => {
            print::line("ready");
            Ok(())
        }
        Ok(Ok(status)) => Err(format!(
            "the server on port {port} is not ready (it answers {status}): see its log"
        )),
        Ok(Err(fault)) => {
            Err(format!("no server answers on port {port} ({fault}): is it running?"))
        }
        Err(_) => {
            Err(format!("the server on port {port} does not answer within 5 seconds: see its log"))
        }
    }
}

async fn ask(host: IpAddr, port: u16) -> Result<StatusCode, Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(SocketAddr::new(host, port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/health/ready")
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?.status())
}
