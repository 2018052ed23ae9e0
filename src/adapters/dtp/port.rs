//! Who gets which event of a node, and who waits for what.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;
use core::task::Poll;
use core::time::Duration;
use std::io;

use super::{DownloadProgress, Error, NodeMachine, PayloadRun};
use crate::adapters::csp::{self, CspCore, NodeState};
use crate::adapters::driver::{ClosePort, Core, Port, ReceiveQueue, Rest};
use crate::dtp::{
    self, Command, Event, FailReason, GetOptions, MemoryRequest, PayloadNeed, ServedRequest,
    Session, VmemStatus, VmemTransport,
};
use crate::kit::RangeSet;
use crate::{Tag, csp as machine};

/// Requests of clients that are kept for the application. The oldest ones are forgotten.
const MAX_REQUESTS: usize = 64;
/// Needs of payloads on demand that may wait for the application. Beyond it, the node reads nothing.
const MAX_NEEDS: usize = 64;

/// What the handles of a node wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    /// Octets of a download, or its end.
    Download(Tag),
    /// What a server of VMEM sends.
    Status(Tag),
    /// What the handles of CSP wait for.
    Csp(csp::Line),
    /// A request of a client.
    Request,
    /// Octets that a payload on demand needs.
    Need,
}

/// The state that the handles of a node share, beside the machine.
#[derive(Debug, Default)]
pub(crate) struct NodePort {
    downloads: BTreeMap<Tag, DownloadState>,
    /// Answers of servers of VMEM, once they are there.
    statuses: BTreeMap<Tag, Poll<Option<VmemStatus>>>,
    pub(in crate::adapters) csp: NodeState,
    requests: VecDeque<ServedRequest>,
    needs: VecDeque<PayloadNeed>,
    /// The last number that was given to a download.
    ids: u64,
    receive_octets: usize,
}

/// A download that has a handle.
#[derive(Debug)]
struct DownloadState {
    /// What is wanted of the payload.
    wanted: Range<u64>,
    runs: ReceiveQueue<PayloadRun>,
    received: RangeSet,
    /// The run that was taken last, which its taker still works on, and what came before it.
    taken: Option<PayloadRun>,
    session: Session,
    progress: DownloadProgress,
    end: Option<Result<(), FailReason>>,
}

impl DownloadState {
    /// Returns the octets that are wanted and have not come, if the size is known.
    fn missing(&self) -> Option<impl Iterator<Item = Range<u64>>> {
        let size = u64::from(self.progress.size?);
        let end = self.wanted.end.min(size);
        Some(self.received.gaps(self.wanted.start.min(end)..end))
    }

    /// The taker of a run has come back.
    fn settle(&mut self) {
        if let Some(run) = self.taken.take() {
            self.session.add(run.offset, &run.data);
        }
    }

    fn on_data(&mut self, offset: u32, data: bytes::Bytes) {
        let start = u64::from(offset);
        self.received.insert(start..start + data.len() as u64);
        self.progress.received = self.received.len();
        let count = data.len();
        self.runs.put(PayloadRun { offset, data }, count);
    }

    const fn end(&mut self, (rounds, asked_again): (u32, u64), end: Result<(), FailReason>) {
        self.progress.rounds = rounds;
        self.progress.asked_again = asked_again;
        self.end = Some(end);
    }
}

impl Port for NodePort {
    type Machine = NodeMachine;
    type Line = Line;

    fn deliver(core: &mut Core<Self>, event: Event) {
        match event {
            Event::Started {
                tag,
                size,
                session,
                identity,
            } => core.change(tag, |it| {
                it.progress.size = Some(size);
                it.session.size = size;
                it.session.id = session;
                it.session.identity = identity;
            }),
            Event::Data { tag, offset, data } => core.change(tag, |it| it.on_data(offset, data)),
            Event::Complete {
                tag,
                requests,
                rounds,
                asked_again,
                is_checked,
                ..
            } => core.change(tag, |it| {
                it.progress.requests = Some(requests);
                it.progress.is_checked = is_checked;
                it.end((rounds, asked_again), Ok(()));
            }),
            Event::Failed {
                tag,
                reason,
                rounds,
                asked_again,
                ..
            } => core.change(tag, |it| it.end((rounds, asked_again), Err(reason))),
            Event::Need(need) => {
                core.port.needs.push_back(need);
                core.wakes.first(Line::Need);
            }
            Event::Serving(request) => {
                if core.port.requests.len() == MAX_REQUESTS {
                    core.port.requests.pop_front();
                }
                core.port.requests.push_back(request);
                core.wakes.first(Line::Request);
            }
            Event::MemoryStatus { tag, status } => {
                if let Some(state @ Poll::Pending) = core.port.statuses.get_mut(&tag) {
                    *state = Poll::Ready(status);
                    core.wakes.all(Line::Status(tag));
                }
            }
            Event::Csp(event) => <dyn CspCore>::deliver(core, event),
        }
    }

    fn has_room(&self) -> bool {
        self.needs.len() < MAX_NEEDS && self.downloads.values().all(|it| it.runs.has_room())
    }

    fn tend(core: &mut Core<Self>, is_idle: bool) -> Rest {
        let now = core.now;
        <dyn CspCore>::tend(core, now, is_idle)
    }

    fn end(&mut self, machine: &mut NodeMachine, _: io::Result<()>) {
        machine.finish();
    }
}

impl NodePort {
    pub(super) fn new(receive_octets: usize) -> Self {
        Self {
            csp: NodeState::new(receive_octets),
            receive_octets,
            ..Self::default()
        }
    }
}

impl ClosePort for NodePort {
    type Error = Error;
    const END: Line = Line::Csp(csp::Line::End);

    fn is_closing(&self) -> bool {
        self.csp.is_closing()
    }

    /// Ends all transfers, closes all connections, and ends once the peers were told.
    fn close(core: &mut Core<Self>) {
        if !core.port.is_closing() && !core.is_over() {
            // It refuses nothing.
            let _ = core.give(Command::Shutdown);
        }
        let now = core.now;
        <dyn CspCore>::close(core, now);
        core.touch();
    }
}

impl CspCore for Core<NodePort> {
    fn state(&mut self) -> &mut NodeState {
        &mut self.port.csp
    }

    fn give_csp(&mut self, command: machine::Command) -> Result<(), csp::Error> {
        self.give(Command::Csp(command))
            .map_err(|error| match error {
                dtp::Error::Csp(error) => csp::Error::Refused(error),
                // The handles use no tag of a transfer.
                _ => csp::Error::Closed,
            })
    }

    fn csp(&self) -> &machine::Node {
        self.peek().csp()
    }

    fn wake(&mut self, line: csp::Line) {
        self.wakes.all(Line::Csp(line));
    }

    fn is_over(&self) -> bool {
        self.is_over()
    }
}

/// What handles wait for.
type Polled<T> = Poll<Result<T, Error>>;

/// What handles do under the lock.
impl Core<NodePort> {
    const fn draw_tag(&mut self) -> Tag {
        self.port.ids += 1;
        Tag(self.port.ids)
    }

    /// Changes what is known of a download, unless its handle is gone.
    fn change(&mut self, tag: Tag, change: impl FnOnce(&mut DownloadState)) {
        if let Some(download) = self.port.downloads.get_mut(&tag) {
            change(download);
            self.wakes.all(Line::Download(tag));
        }
    }

    /// Begins a download, or goes on with one that has this session.
    pub(super) fn get(
        &mut self,
        (server, payload): (u16, u8),
        session: Option<Session>,
        options: GetOptions,
    ) -> Result<Tag, Error> {
        let tag = self.draw_tag();
        let command = match session.clone() {
            Some(session) => Command::GetRest {
                tag,
                session,
                options,
            },
            None => Command::Get {
                tag,
                server,
                payload,
                options,
            },
        };
        let begun = Session::new((server, payload), options, 0, 0);
        self.begin(tag, command, session, (begun, options))
    }

    /// Begins to get memory of a server, or goes on with what has this session.
    pub(super) fn get_memory(
        &mut self,
        request: MemoryRequest,
        session: Option<Session>,
        options: GetOptions,
    ) -> Result<Tag, Error> {
        let tag = self.draw_tag();
        let (from, address) = ((request.server, 0), Some(request.address));
        let begun = Session {
            address,
            ..Session::new(from, options, 0, request.size)
        };
        let command = Command::GetMemory {
            tag,
            request,
            session: session.clone(),
            options,
        };
        let session = session.map(|session| Session { address, ..session });
        self.begin(tag, command, session, (begun, options))
    }

    fn begin(
        &mut self,
        tag: Tag,
        command: Command,
        session: Option<Session>,
        (begun, options): (Session, GetOptions),
    ) -> Result<Tag, Error> {
        self.command(command)?;
        let (mut received, mut progress) = (RangeSet::new(), DownloadProgress::default());
        if let Some(session) = &session {
            session.ranges().for_each(|it| _ = received.insert(it));
            progress.size = Some(session.size);
            progress.received = received.len();
        }
        let session = session.unwrap_or(begun);
        let download = DownloadState {
            wanted: options.first.into()..u64::from(options.last) + 1,
            runs: ReceiveQueue::new(self.port.receive_octets.max(1)),
            received,
            taken: None,
            session,
            progress,
            end: None,
        };
        self.port.downloads.insert(tag, download);
        Ok(tag)
    }

    /// Takes what has come of a download, in the order in which it came, then its end.
    pub(super) fn next_run(&mut self, tag: Tag) -> Polled<Option<PayloadRun>> {
        let Some(download) = self.port.downloads.get_mut(&tag) else {
            return Poll::Ready(Err(Error::Closed));
        };
        download.settle();
        if let Some(run) = download.runs.take() {
            download.taken = Some(run.clone());
            return Poll::Ready(Ok(Some(run)));
        }
        match download.end {
            Some(Ok(())) => Poll::Ready(Ok(None)),
            Some(Err(reason)) => Poll::Ready(Err(Error::Failed {
                server: download.session.server,
                payload: download.session.payload,
                reason,
                missing: download
                    .missing()
                    .map(|gaps| gaps.map(|it| it.end - it.start).sum()),
            })),
            None => self.found(None),
        }
    }

    pub(super) fn progress(&self, tag: Tag) -> DownloadProgress {
        let download = self.port.downloads.get(&tag);
        download.map_or_else(DownloadProgress::default, |it| it.progress)
    }

    /// Tells whether all octets of a range have come.
    pub(super) fn has(&self, tag: Tag, range: &Range<u64>) -> bool {
        let download = self.port.downloads.get(&tag);
        range.is_empty() || download.is_some_and(|it| it.received.covers(range))
    }

    /// Returns what the application has of a download, if its size is known.
    pub(super) fn session(&self, tag: Tag) -> Option<Session> {
        let download = self.port.downloads.get(&tag)?;
        download.progress.size?;
        Some(download.session.clone())
    }

    /// Returns the octets of a download that have not come, if its size is known.
    pub(super) fn missing(&self, tag: Tag) -> Option<Vec<Range<u64>>> {
        Some(self.port.downloads.get(&tag)?.missing()?.collect())
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

    pub(super) fn forget_status(&mut self, tag: Tag) {
        self.port.statuses.remove(&tag);
    }

    /// Asks a server of VMEM what it sends.
    pub(super) fn ask_status(
        &mut self,
        (server, transport): (u16, VmemTransport),
        timeout: Duration,
    ) -> Result<Tag, Error> {
        let tag = self.draw_tag();
        self.command(Command::MemoryStatus {
            tag,
            server,
            transport,
            timeout,
        })?;
        self.port.statuses.insert(tag, Poll::Pending);
        Ok(tag)
    }

    /// Returns what a server of VMEM sends; `None` if it did not answer.
    pub(super) fn status(&self, tag: Tag) -> Polled<Option<VmemStatus>> {
        match self.port.statuses.get(&tag) {
            Some(Poll::Ready(status)) => Poll::Ready(Ok(*status)),
            _ => self.found(None),
        }
    }

    /// Takes the oldest request of a client that the application does not know of.
    pub(super) fn next_request(&mut self) -> Polled<ServedRequest> {
        let request = self.port.requests.pop_front();
        self.found(request)
    }

    /// Takes the oldest need of a payload on demand.
    pub(super) fn next_need(&mut self) -> Polled<PayloadNeed> {
        self.touch();
        let need = self.port.needs.pop_front();
        self.found(need)
    }
}
