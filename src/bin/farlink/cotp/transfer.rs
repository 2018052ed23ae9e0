//! Octets in both directions of a connection, as streams: of a file, and into the output.

use core::cell::Cell;
use core::time::Duration;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use farlink::adapters::tokio::cotp::{Error, ReceiveHalf, SendHalf};
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Counters, MessageFile, received};
use crate::output::{self, OutputFormat};
use crate::{Failure, input};

/// Messages that are read from a file ahead of their sending.
const READ_AHEAD: usize = 4;
/// Octets that may wait for their echo.
const MAX_ECHO: usize = 64 << 20;

/// The messages that are sent. They are read in a thread of their own, as a pipe may block for ever.
pub(crate) struct Source {
    messages: mpsc::Receiver<io::Result<Bytes>>,
    size: usize,
    /// Octets in all, if that is known.
    pub(crate) len: Option<u64>,
}

impl Source {
    /// Opens a file, or standard input for `-`, that is sent in messages of `size` octets.
    pub(super) fn open(path: &Path, size: usize) -> Result<Self, Failure> {
        if input::is_stdin(path) {
            return Ok(Self::new(io::stdin(), None, size));
        }
        let opened = File::open(path).and_then(|file| file.metadata().map(|about| (file, about)));
        let (file, about) = opened.map_err(|error| Failure::file(path, error))?;
        if about.is_dir() {
            return Err(Failure::file(path, "a directory is not sent"));
        }
        // Pipes and devices have no length before their end.
        let len = about.is_file().then_some(about.len());
        Ok(Self::new(file, len, size))
    }

    pub(crate) fn new(mut file: impl Read + Send + 'static, len: Option<u64>, size: usize) -> Self {
        let (sender, messages) = mpsc::channel(READ_AHEAD);
        std::thread::spawn(move || {
            loop {
                let mut message = Vec::with_capacity(size);
                let read = file.by_ref().take(size as u64).read_to_end(&mut message);
                let is_last = read.as_ref().map_or(true, |&len| len < size);
                if read.is_ok() && message.is_empty() {
                    return;
                }
                let message = read.map(|_| Bytes::from(message));
                if sender.blocking_send(message).is_err() || is_last {
                    return;
                }
            }
        });
        Self {
            messages,
            size,
            len,
        }
    }

    /// Returns a queue in which sent messages wait for their echo.
    pub(crate) fn echoes(&self) -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
        mpsc::channel((MAX_ECHO / self.size).max(READ_AHEAD))
    }
}

/// How long nothing may move, and when something last did, in either direction.
pub(crate) struct Watch {
    span: Duration,
    moved: Cell<Instant>,
}

impl Watch {
    pub(crate) fn new(span: Duration) -> Self {
        Self {
            span,
            moved: Cell::new(Instant::now()),
        }
    }

    fn moves(&self) {
        self.moved.set(Instant::now());
    }

    fn deadline(&self) -> Instant {
        self.moved.get() + self.span
    }
}

/// Sends a file and flushes it. Fails if the peer reads nothing for `span`. What is sent goes into `echoes` as
/// well, if the echo is compared.
pub(crate) async fn send(
    sender: &SendHalf,
    mut source: Source,
    watch: &Watch,
    span: Duration,
    echoes: Option<mpsc::Sender<Bytes>>,
    progress: &ProgressBar,
) -> Result<(), Error> {
    let mut queued = 0;
    let stalled = |queued| {
        broken(format!(
            "the peer read nothing for {span:?}, {queued} octets were queued"
        ))
    };
    while let Some(message) = source.messages.recv().await {
        let message = message?;
        if let Some(echoes) = &echoes {
            // If nothing comes back, the receiving side tells so.
            let _ = echoes.send(message.clone()).await;
        }
        let len = message.len() as u64;
        let sending = timeout(span, sender.send(message));
        sending.await.map_err(|_| stalled(queued))??;
        watch.moves();
        queued += len;
        if echoes.is_none() {
            progress.inc(len);
        }
    }
    let flushing = timeout(span, sender.flush());
    flushing.await.map_err(|_| stalled(queued))??;
    watch.moves();
    Ok(())
}

/// The messages of the peer, and where they go.
pub(crate) struct Receiver<'a> {
    pub(crate) half: ReceiveHalf,
    pub(crate) number: u64,
    pub(crate) format: OutputFormat,
    /// Whether messages are printed as text too.
    pub(crate) is_printed: bool,
    pub(crate) out: Option<MessageFile>,
    pub(crate) counters: &'a mut Counters,
}

/// What came of waiting for a message.
enum Waited {
    Message(Bytes),
    /// The peer closed the connection.
    Closed,
    /// Nothing moved for the time of the watch.
    Stalled,
    /// Nobody reads the output any more.
    Unread,
}

impl Receiver<'_> {
    /// Waits for a message with octets, and takes those without on the way: they are no progress.
    async fn next(&mut self, watch: &Watch) -> Result<Waited, Error> {
        loop {
            let Ok(message) = timeout_at(watch.deadline(), self.half.receive()).await else {
                if watch.deadline() > Instant::now() {
                    continue;
                }
                return Ok(Waited::Stalled);
            };
            let Some(message) = message? else {
                return Ok(Waited::Closed);
            };
            self.counters.count(&message);
            if let Some(out) = &self.out {
                out.append(&message)?;
            }
            received(self.format, self.number, &message, self.is_printed);
            if self.is_printed && output::is_stdout_closed() {
                return Ok(Waited::Unread);
            }
            if !message.is_empty() {
                watch.moves();
                return Ok(Waited::Message(message));
            }
        }
    }

    /// Receives this number of messages, or as many as come before the end. Silence is a failure, unless it
    /// `may_pause`.
    pub(super) async fn receive(
        &mut self,
        count: Option<u64>,
        may_pause: bool,
        watch: &Watch,
    ) -> Result<(), Error> {
        let mut came = 0;
        let of = |came| match count {
            Some(count) => format!("{came} of {count} messages came"),
            None => format!("{came} messages came"),
        };
        while count.is_none_or(|count| came < count) {
            match self.next(watch).await? {
                Waited::Message(_) => came += 1,
                Waited::Closed if count.is_some() => {
                    return Err(broken(format!("closed by the peer, {}", of(came))));
                }
                Waited::Stalled if !may_pause => {
                    let span = watch.span;
                    return Err(broken(format!("no message for {span:?}, {}", of(came))));
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Receives until everything that was sent came back, and compares it.
    pub(crate) async fn compare(
        &mut self,
        mut echoes: mpsc::Receiver<Bytes>,
        watch: &Watch,
        progress: &ProgressBar,
    ) -> Result<(), Error> {
        let mut came = Bytes::new();
        let mut at: usize = 0;
        while let Some(mut sent) = echoes.recv().await {
            while !sent.is_empty() {
                if came.is_empty() {
                    came = match self.next(watch).await? {
                        Waited::Message(message) => message,
                        Waited::Closed => {
                            return Err(broken(format!(
                                "closed by the peer, {at} octets came back"
                            )));
                        }
                        Waited::Stalled | Waited::Unread => {
                            let span = watch.span;
                            return Err(broken(format!(
                                "no echo for {span:?}, {at} octets came back"
                            )));
                        }
                    };
                }
                let len = came.len().min(sent.len());
                let end = at + len;
                if came.split_to(len) != sent.split_to(len) {
                    return Err(broken(format!(
                        "the echo differs within octets {at} to {end}"
                    )));
                }
                progress.inc(len as u64);
                at = end;
            }
        }
        if came.is_empty() {
            return Ok(());
        }
        let len = came.len();
        Err(broken(format!(
            "{len} octets more came back than were sent"
        )))
    }
}

pub(super) fn broken(message: String) -> Error {
    Error::Io(io::Error::other(message))
}
