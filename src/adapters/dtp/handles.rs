//! The handles of DTP nodes: [`Node`] and [`Download`].

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use bytes::Bytes;

use super::port::{Line, NodePort};
use super::{
    DownloadProgress, DtpOptions, DtpStats, Error, PayloadNeed, PayloadRun, ServedRequest,
};
use crate::Tag;
#[cfg(feature = "blocking")]
use crate::adapters::blocking::dtp as blocking;
use crate::adapters::driver::{ClosePort as _, NodeRef};
use crate::adapters::interfaces::Interfaces;
use crate::adapters::runtime::Runtime;
use crate::dtp::{Command, GetOptions, NeedId, PayloadIdentity, Session};

/// A DTP node on numbered interfaces: a server, a client, and a node of CSP that answers pings.
///
/// Clones are the same node. It lives as long as any of them, or a [`Download`] of it: then its interfaces are closed.
/// Should the runtime end before, everything ends with [`Error::Closed`].
#[derive(Debug, Clone)]
pub struct Node(Arc<NodeRef<NodePort>>);

/// A payload that is being got. Dropping it cancels what is under way.
#[derive(Debug)]
pub struct Download {
    node: Arc<NodeRef<NodePort>>,
    tag: Tag,
}

starts! {
    /// Starts a node on these interfaces.
    ///
    /// # Errors
    ///
    /// An interface cannot be watched, or the configuration is refused.
    pub fn Node::start, start_on(runtime, interfaces: Interfaces, options: impl Into<DtpOptions>) -> Result<Node, Error> as Result<blocking::Node, Error> {
        let options = options.into();
        let port = NodePort::new(options.receive_octets);
        options.start(runtime, interfaces, port).map(Self)
    }
}

faces! {
    impl Node {
        /// Serves a payload, in place of one of the same number. Transfers of that go on with it.
        ///
        /// # Errors
        ///
        /// The payload exceeds 4 GiB - 1, or the limit of payloads is reached.
        pub fn serve(&self, payload: u8, data: impl Into<Bytes>) -> Result<(), Error> {
            let data = data.into();
            self.0.command(Command::Serve { payload, data })
        }

        /// Serves a payload of so many octets that are not in memory, in place of one of the same number, whose
        /// transfers end: [`next_need`](Self::next_need) tells which are needed.
        ///
        /// # Errors
        ///
        /// The payload exceeds 4 GiB - 1, or the limit of payloads is reached.
        pub fn serve_on_demand(&self, payload: u8, size: u64, identity: PayloadIdentity) -> Result<(), Error> {
            self.0.command(Command::ServeOnDemand { payload, size, identity })
        }

        /// Waits for the next octets that payloads on demand need. While 64 of them wait, the node reads nothing.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`] when the node has ended.
        pub async fn next_need[next_need_timeout](&self) -> Result<PayloadNeed, Error> {
            self.0.until(Line::Need, |core, _| core.next_need()).await
        }

        /// Gives octets that a payload on demand needs. Any other number of octets says that they cannot be had: the
        /// transfer ends.
        ///
        /// # Errors
        ///
        /// They are needed no longer: their transfer has ended.
        pub fn feed(&self, need: NeedId, data: impl Into<Bytes>) -> Result<(), Error> {
            let data = data.into();
            self.0.command(Command::Feed { need, data })
        }

        /// Serves a payload no longer. Transfers of it go on.
        ///
        /// # Errors
        ///
        /// No such payload is served.
        pub fn withdraw(&self, payload: u8) -> Result<(), Error> {
            self.0.command(Command::Withdraw(payload))
        }

        /// Begins to get a payload from a server.
        ///
        /// # Errors
        ///
        /// The options or the address are out of their range, no route leads there, or the limit of transfers is
        /// reached.
        pub fn get(&self, server: u16, payload: u8, options: GetOptions) -> Result<Download, Error> as Result<blocking::Download, Error> {
            let tag = self.0.with(|core| core.get((server, payload), None, options))?;
            Ok(Download { node: Arc::clone(&self.0), tag })
        }

        /// Begins to get what a session lacks of its payload, with its MTU and throughput.
        ///
        /// # Errors
        ///
        /// As of [`get`](Self::get).
        pub fn get_rest(&self, session: Session, options: GetOptions) -> Result<Download, Error> as Result<blocking::Download, Error> {
            let from = (session.server, session.payload);
            let tag = self.0.with(|core| core.get(from, Some(session), options))?;
            Ok(Download { node: Arc::clone(&self.0), tag })
        }

        /// Waits for the next request of a client that is answered. The last 64 are kept.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`] when the node has ended.
        pub async fn next_request[next_request_timeout](&self) -> Result<ServedRequest, Error> {
            self.0.until(Line::Request, |core, _| core.next_request()).await
        }

        /// Asks a node to send a packet of so many octets back, at most 256, and returns how long it took.
        ///
        /// # Errors
        ///
        /// [`Error::Silent`] when no answer came within `timeout`; no route leads there, or the limit of pings is reached.
        pub async fn ping(&self, destination: u16, octets: u16, timeout: Duration) -> Result<Duration, Error> {
            let tag = self.0.with(|core| core.ping(destination, octets, timeout))?;
            let _guard = self.0.on_drop(|core| core.forget_ping(tag));
            let time = self.0.until(Line::Ping(tag), |core, _| core.pong(tag)).await?;
            time.ok_or(Error::Silent { node: destination, after: timeout })
        }

        /// Returns what was counted.
        pub fn stats(&self) -> DtpStats {
            let (dtp, csp) = self.0.with_or_default(|core| core.stats());
            DtpStats { dtp, csp, udp: self.0.udp_stats() }
        }

        /// Ends the node: downloads and transfers to clients end, servers and clients are told so once, and the
        /// interfaces are closed when it returns.
        pub async fn shutdown(&self) -> () {
            self.0.with_or_default(NodePort::close);
            self.0.ended().await;
        }
    }
}

faces! {
    impl Download {
        /// Waits for octets of the payload, which come in any order, some perhaps twice. `None` says that all have come.
        ///
        /// # Errors
        ///
        /// [`Error::Failed`], with the reason and what is missing, when the download ended before. What has come until
        /// then is returned first.
        pub async fn next_run[next_run_timeout](&mut self) -> Result<Option<PayloadRun>, Error> {
            self.node.until(Line::Download(self.tag), |core, _| core.next_run(self.tag)).await
        }

        /// Returns how far the download has got.
        pub fn progress(&self) -> DownloadProgress {
            self.node.with_or_default(|core| core.progress(self.tag))
        }

        /// Returns the octets that have not come; `None` as long as the server has not told the size.
        pub fn missing(&self) -> Option<Vec<Range<u64>>> {
            self.node.with_or_default(|core| core.missing(self.tag))
        }

        /// Tells whether all octets of a range have come.
        pub fn has(&self, range: Range<u64>) -> bool {
            self.node.with_or_default(|core| core.has(self.tag, &range))
        }

        /// Returns the session with which [`Node::get_rest`] goes on later; `None` as long as the server has not told the
        /// size. It has the octets of all runs that were returned but the last, which counts once
        /// [`next_run`](Self::next_run) is called again.
        pub fn session(&self) -> Option<Session> {
            self.node.with_or_default(|core| core.session(self.tag))
        }

        /// Pauses the download: the server is told to stop.
        ///
        /// # Errors
        ///
        /// It is paused already, or over.
        pub fn pause(&self) -> Result<(), Error> {
            self.node.command(Command::Pause(self.tag))
        }

        /// Goes on with a download that is paused.
        ///
        /// # Errors
        ///
        /// It is not paused.
        pub fn resume(&self) -> Result<(), Error> {
            self.node.command(Command::Resume(self.tag))
        }

        /// Ends the download, unless it is over: [`next_run`](Self::next_run) fails with
        /// [`FailReason::Cancelled`](crate::dtp::FailReason::Cancelled).
        pub fn cancel(&self) -> () {
            self.node.with_or_default(|core| core.cancel(self.tag));
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.node.with_or_default(|core| core.forget(self.tag));
    }
}
