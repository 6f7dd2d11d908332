//! Background work of a server: it runs beside the requests, and ends after the last of them.

use std::pin::Pin;

use tokio::task::JoinHandle;

/// The work that was started, and what is left to do when the server stops.
pub(crate) struct Background {
    port: u16,
    running: Vec<JoinHandle<()>>,
    at_end: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Background {
    /// None yet, beside a server that listens on a port.
    pub(crate) fn of_server(port: u16) -> Self {
        Self { port, running: Vec::new(), at_end: Vec::new() }
    }

    /// The port that the server listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts work that goes on until the server stops, and may be cut off anywhere.
    pub(crate) fn start(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.running.push(tokio::spawn(work));
    }

    /// Has something done when the server has stopped and everything else has ended.
    pub(crate) fn at_end(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.at_end.push(Box::pin(work));
    }

    /// Ends everything.
    pub(crate) async fn end(self) {
        self.running.iter().for_each(JoinHandle::abort);
        for work in self.at_end {
            work.await;
        }
    }
}
