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
use crate::adapters::blocking::{csp as blocking_csp, dtp as blocking};
use crate::adapters::csp::{self, SharedNode};
use crate::adapters::driver::{NodeRef, OnDrop};
use crate::adapters::interfaces::Interfaces;
use crate::adapters::runtime::Runtime;
use crate::csp::{Endpoint, SendOptions, SocketOptions};
use crate::dtp::{
    Command, GetOptions, MemoryRequest, NeedId, PayloadIdentity, Session, VmemStatus, VmemTransport,
};

/// A DTP node on numbered interfaces: a server, a client, and a node of CSP that answers pings.
///
/// Clones are the same node. It lives as long as any of them, or a [`Download`], connection or bound port of it: then
/// its interfaces are closed. Should the runtime end before, everything ends with [`Error::Closed`].
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

impl Node {
    /// Returns the node of CSP inside, with all that its handles do.
    #[must_use]
    pub fn csp(&self) -> csp::Node {
        csp::Node(SharedNode::Dtp(Arc::clone(&self.0)))
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

        /// Begins to get memory of a server by VMEM, or what a session lacks of it: then with its MTU and throughput.
        ///
        /// # Errors
        ///
        /// As of [`get`](Self::get), or messages of VMEM are off, or the session has another size.
        pub fn get_memory(&self, request: MemoryRequest, session: Option<Session>, options: GetOptions) -> Result<Download, Error> as Result<blocking::Download, Error> {
            let tag = self.0.with(|core| core.get_memory(request, session, options))?;
            Ok(Download { node: Arc::clone(&self.0), tag })
        }

        /// Gives a payload that is served an address in the memory that clients get by VMEM.
        ///
        /// # Errors
        ///
        /// No such payload is served, or messages of VMEM are off.
        pub fn serve_memory(&self, payload: u8, address: u64) -> Result<(), Error> {
            self.0.command(Command::ServeMemory { payload, address })
        }

        /// Asks a server by VMEM what it sends.
        ///
        /// # Errors
        ///
        /// [`Error::Silent`] when no answer came within `timeout`; no route leads there, messages of VMEM are off, or so
        /// many are under way.
        pub async fn memory_status(&self, server: u16, transport: VmemTransport, timeout: Duration) -> Result<VmemStatus, Error> {
            let tag = self.0.with(|core| core.ask_status((server, transport), timeout))?;
            let _guard = OnDrop(|| self.0.with_or_default(|core| core.forget_status(tag)));
            let status = self.0.until(Line::Status(tag), |core, _| core.status(tag)).await?;
            status.ok_or(Error::Silent { node: server, after: timeout })
        }

        /// Waits for the next request of a client that is answered. The last 64 are kept.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`] when the node has ended.
        pub async fn next_request[next_request_timeout](&self) -> Result<ServedRequest, Error> {
            self.0.until(Line::Request, |core, _| core.next_request()).await
        }

        /// Opens a connection to a port of another node.
        ///
        /// # Errors
        ///
        /// As of [`connect`](csp::Node::connect) of a node of CSP.
        pub async fn connect[connect_timeout](&self, to: Endpoint, options: SendOptions) -> Result<csp::Connection, csp::Error> as Result<blocking_csp::Connection, csp::Error> {
            self.csp().connect(to, options).await
        }

        /// Takes connections and packets at a port, but for ports 7 and 8 of DTP.
        ///
        /// # Errors
        ///
        /// The port is above 63, or in use, or HMAC is to be required without a key.
        pub fn bind(&self, port: u8, options: SocketOptions) -> Result<csp::BoundPort, csp::Error> as Result<blocking_csp::BoundPort, csp::Error> {
            self.csp().bind(port, options)
        }

        /// Asks a node to send a packet of so many octets back, at most 256, and returns how long it took.
        ///
        /// # Errors
        ///
        /// As of [`ping`](csp::Node::ping) of a node of CSP.
        pub async fn ping(&self, destination: u16, octets: u16, timeout: Duration) -> Result<Duration, csp::Error> {
            self.csp().ping(destination, octets, timeout).await
        }

        /// Returns what was counted.
        pub fn stats(&self) -> DtpStats {
            let (dtp, csp) = self.0.with_or_default(|core| (core.peek().stats(), core.peek().csp().stats()));
            DtpStats { dtp, csp, udp: self.0.udp_stats() }
        }

        /// Ends the node: downloads and transfers to clients end, servers and clients are told so once, connections are
        /// closed as by that of a [node of CSP](csp::Node::shutdown), and the interfaces are closed when it returns.
        pub async fn shutdown(&self) -> () {
            self.0.shutdown().await;
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
