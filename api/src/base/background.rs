//! The background work of a server. It runs beside the requests, and ends after the last of them.

use std::pin::Pin;

use tokio::task::JoinHandle;

/// The background work that was started, and the work to do when the server stops.
pub(crate) struct Background {
    port: u16,
    running: Vec<JoinHandle<()>>,
    at_end: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Background {
    /// Makes an empty list for a server that listens on this port.
    pub(crate) fn of_server(port: u16) -> Self {
        Self { port, running: Vec::new(), at_end: Vec::new() }
    }

    /// The port that the server listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts work that runs until the server stops. It can be interrupted at any point.
    pub(crate) fn start(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.running.push(tokio::spawn(work));
    }

    /// Adds work to do when the server has stopped and all other work has ended.
    pub(crate) fn at_end(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.at_end.push(Box::pin(work));
    }

    /// Ends the background work, and does the work for the end.
    pub(crate) async fn end(self) {
        self.running.iter().for_each(JoinHandle::abort);
        for work in self.at_end {
            work.await;
        }
    }
}
