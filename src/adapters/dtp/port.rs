//! Who gets which event of a node, and who waits for what.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;
use core::task::Poll;
use core::time::Duration;
use std::io;

use super::{DownloadProgress, Error, NodeMachine, PayloadRun, ServedRequest};
use crate::adapters::driver::{Core, Port, ReceiveQueue, Rest, Wakes};
use crate::dtp::{self, Command, Event, FailReason, GetOptions};
use crate::kit::RangeSet;
use crate::{Tag, csp};

/// Requests of clients that are kept for the application. The oldest ones are forgotten.
const MAX_REQUESTS: usize = 64;

/// What the handles of a node wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    /// Octets of a download, or its end.
    Download(Tag),
    /// The answer to a ping.
    Ping(Tag),
    /// A request of a client.
    Request,
    /// The end of the node.
    End,
}

/// The state that the handles of a node share, beside the machine.
#[derive(Debug)]
pub(crate) struct NodePort {
    downloads: BTreeMap<Tag, DownloadState>,
    pings: BTreeMap<Tag, PingState>,
    requests: VecDeque<ServedRequest>,
    /// The last number that was given to a download or a ping.
    ids: u64,
    receive_octets: usize,
    is_closing: bool,
}

/// How a ping stands.
#[derive(Debug, Clone, Copy)]
enum PingState {
    Asked,
    Answered(Duration),
    Unanswered,
}

/// A download that has a handle.
#[derive(Debug)]
struct DownloadState {
    server: u16,
    payload: u8,
    runs: ReceiveQueue<PayloadRun>,
    received: RangeSet,
    size: Option<u32>,
    end: Option<Ended>,
}

/// How a download ended.
#[derive(Debug, Clone, Copy)]
enum Ended {
    Complete { requests: u32 },
    Failed(FailReason),
}

impl DownloadState {
    fn missing(&self) -> Option<u64> {
        let size = self.size?;
        Some(u64::from(size).saturating_sub(self.received.len()))
    }

    fn on_data(&mut self, offset: u32, data: bytes::Bytes) {
        let start = u64::from(offset);
        self.received.insert(start..start + data.len() as u64);
        let count = data.len();
        self.runs.put(PayloadRun { offset, data }, count);
    }
}

impl Port for NodePort {
    type Machine = NodeMachine;
    type Line = Line;

    fn deliver(&mut self, event: Event, wakes: &mut Wakes<Line>) {
        match event {
            Event::Started { tag, size, .. } => self.change(tag, wakes, |it| it.size = Some(size)),
            Event::Data { tag, offset, data } => {
                self.change(tag, wakes, |it| it.on_data(offset, data));
            }
            Event::Complete { tag, requests, .. } => {
                let end = Ended::Complete { requests };
                self.change(tag, wakes, |it| it.end = Some(end));
            }
            Event::Failed { tag, reason, .. } => {
                self.change(tag, wakes, |it| it.end = Some(Ended::Failed(reason)));
            }
            Event::Serving {
                client,
                payload,
                octets,
            } => {
                if self.requests.len() == MAX_REQUESTS {
                    self.requests.pop_front();
                }
                self.requests.push_back(ServedRequest {
                    client,
                    payload,
                    octets,
                });
                wakes.first(Line::Request);
            }
            Event::Csp(csp::Event::Pong { tag, time, .. }) => {
                self.answer(tag, PingState::Answered(time), wakes);
            }
            Event::Csp(csp::Event::PingEnded { tag, .. }) => {
                self.answer(tag, PingState::Unanswered, wakes);
            }
            Event::Csp(_) | Event::Need { .. } => {}
        }
    }

    fn has_room(&self) -> bool {
        self.downloads.values().all(|it| it.runs.has_room())
    }

    fn tend(core: &mut Core<Self>, is_idle: bool) -> Rest {
        if core.port.is_closing && is_idle {
            return Rest::Over;
        }
        Rest::Until(None)
    }

    fn end(&mut self, machine: &mut NodeMachine, _: io::Result<()>) {
        machine.finish();
    }
}

impl NodePort {
    pub(super) const fn new(receive_octets: usize) -> Self {
        Self {
            downloads: BTreeMap::new(),
            pings: BTreeMap::new(),
            requests: VecDeque::new(),
            ids: 0,
            receive_octets,
            is_closing: false,
        }
    }

    const fn draw_tag(&mut self) -> Tag {
        self.ids += 1;
        Tag(self.ids)
    }

    /// Changes what is known of a download, unless its handle is gone.
    fn change(
        &mut self,
        tag: Tag,
        wakes: &mut Wakes<Line>,
        change: impl FnOnce(&mut DownloadState),
    ) {
        if let Some(download) = self.downloads.get_mut(&tag) {
            change(download);
            wakes.all(Line::Download(tag));
        }
    }

    /// Keeps the first answer to a ping.
    fn answer(&mut self, tag: Tag, answer: PingState, wakes: &mut Wakes<Line>) {
        if let Some(state @ PingState::Asked) = self.pings.get_mut(&tag) {
            *state = answer;
            wakes.all(Line::Ping(tag));
        }
    }
}

/// What handles do under the lock.
impl Core<NodePort> {
    /// Gives the machine a command, as long as the node begins anything.
    pub(super) fn command(&mut self, command: Command) -> Result<(), Error> {
        if self.is_over() || self.port.is_closing {
            return Err(Error::Closed);
        }
        Ok(self.give(command)?)
    }

    /// Begins a download.
    pub(super) fn get(
        &mut self,
        (server, payload): (u16, u8),
        options: GetOptions,
    ) -> Result<Tag, Error> {
        let tag = self.port.draw_tag();
        self.command(Command::Get {
            tag,
            server,
            payload,
            options,
        })?;
        let download = DownloadState {
            server,
            payload,
            runs: ReceiveQueue::new(self.port.receive_octets.max(1)),
            received: RangeSet::new(),
            size: None,
            end: None,
        };
        self.port.downloads.insert(tag, download);
        Ok(tag)
    }

    /// Takes what has come of a download, in the order in which it came, then its end.
    pub(super) fn next_run(&mut self, tag: Tag) -> Poll<Result<Option<PayloadRun>, Error>> {
        let is_over = self.is_over();
        let Some(download) = self.port.downloads.get_mut(&tag) else {
            return Poll::Ready(Err(Error::Closed));
        };
        if let Some(run) = download.runs.take() {
            return Poll::Ready(Ok(Some(run)));
        }
        match download.end {
            Some(Ended::Complete { .. }) => Poll::Ready(Ok(None)),
            Some(Ended::Failed(reason)) => Poll::Ready(Err(Error::Failed {
                server: download.server,
                payload: download.payload,
                reason,
                missing: download.missing(),
            })),
            None if is_over => Poll::Ready(Err(Error::Closed)),
            None => Poll::Pending,
        }
    }

    pub(super) fn progress(&self, tag: Tag) -> DownloadProgress {
        let download = self.port.downloads.get(&tag);
        download.map_or_else(DownloadProgress::default, |download| DownloadProgress {
            size: download.size,
            received: download.received.len(),
            requests: match download.end {
                Some(Ended::Complete { requests }) => Some(requests),
                _ => None,
            },
        })
    }

    /// Returns the octets of a download that have not come, if its size is known.
    pub(super) fn missing(&self, tag: Tag) -> Option<Vec<Range<u64>>> {
        let download = self.port.downloads.get(&tag)?;
        let size = download.size?;
        Some(download.received.gaps(0..size.into()).collect())
    }

    /// Ends a download. It is told so, unless it is over.
    pub(super) fn cancel(&mut self, tag: Tag) {
        // Refused when it is over, which is just as well.
        let _ = self.command(Command::Cancel(tag));
    }

    /// Ends a download whose handle is gone.
    pub(super) fn forget(&mut self, tag: Tag) {
        self.cancel(tag);
        self.port.downloads.remove(&tag);
    }

    /// Asks a node whether it answers.
    pub(super) fn ping(
        &mut self,
        destination: u16,
        octets: u16,
        timeout: Duration,
    ) -> Result<Tag, Error> {
        let tag = self.port.draw_tag();
        self.command(Command::Csp(csp::Command::Ping {
            tag,
            destination,
            octets,
            timeout,
        }))?;
        self.port.pings.insert(tag, PingState::Asked);
        Ok(tag)
    }

    /// Returns the time of the answer to a ping; `None` if there was none.
    pub(super) fn pong(&self, tag: Tag) -> Poll<Result<Option<Duration>, Error>> {
        match self.port.pings.get(&tag) {
            Some(PingState::Answered(time)) => Poll::Ready(Ok(Some(*time))),
            Some(PingState::Unanswered) => Poll::Ready(Ok(None)),
            Some(PingState::Asked) if !self.is_over() => Poll::Pending,
            _ => Poll::Ready(Err(Error::Closed)),
        }
    }

    pub(super) fn forget_ping(&mut self, tag: Tag) {
        self.port.pings.remove(&tag);
    }

    /// Takes the oldest request of a client that the application does not know of.
    pub(super) fn next_request(&mut self) -> Poll<Result<ServedRequest, Error>> {
        match self.port.requests.pop_front() {
            Some(request) => Poll::Ready(Ok(request)),
            None if self.is_over() => Poll::Ready(Err(Error::Closed)),
            None => Poll::Pending,
        }
    }

    /// Begins nothing any more, cancels all downloads, and ends once the servers were told.
    pub(super) fn close(&mut self) {
        if self.port.is_closing || self.is_over() {
            return;
        }
        let tags: Vec<Tag> = self.port.downloads.keys().copied().collect();
        for tag in tags {
            self.cancel(tag);
        }
        self.port.is_closing = true;
        self.touch();
    }

    pub(super) fn stats(&self) -> (dtp::Stats, csp::Stats) {
        (self.peek().stats(), self.peek().csp().stats())
    }
}
