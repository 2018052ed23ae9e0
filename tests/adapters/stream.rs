//! One machine on one byte stream.

use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::raw::{self, Commands, DriverOptions, Events, Notice};
use farlink::adapters::runtime::{ByteStream, Runtime, TcpIo};
use farlink::adapters::tokio::TokioIo;
use farlink::adapters::{CommandError, Detached};
use farlink::{Ask, Cause, Instant, Link, Machine, Output, Tag, Transmit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

use crate::loopback::here;
use crate::puppet::{Do, Heard, Puppet, Refusal};

/// Both ends of a puppet.
struct Held {
    commands: Commands<Puppet<()>>,
    events: Events<Puppet<()>>,
}

impl Held {
    async fn command(&self, what: Do<()>) -> Result<(), CommandError<Refusal>> {
        self.commands.command(what).await
    }

    async fn next(&mut self) -> Option<Notice<Heard<()>>> {
        self.events.recv().await
    }
}

async fn up_comes_first_and_octets_go_both_ways(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = tcp(&runtime).await;
    far.write_all(b"early bird").await.unwrap();
    let mut handle = drive(&runtime, near);

    assert_eq!(cue(&mut handle).await, Link::Up);
    assert_eq!(octets(&mut handle, 10).await, b"early bird");

    say(&handle, Do::Write((), Bytes::from_static(b"worm"))).await;
    assert_eq!(exactly(&mut far, 4).await, b"worm");
}

async fn any_byte_stream_will_do(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = duplex(16);
    let mut handle = drive(&runtime, near);
    let long: Vec<u8> = (0..=255).collect();

    say(&handle, Do::Write((), Bytes::from(long.clone()))).await;
    assert_eq!(exactly(&mut far, 256).await, long);
    far.write_all(b"answer").await.unwrap();

    assert_eq!(octets(&mut handle, 6).await, b"answer");
}

async fn the_peers_fin_is_ended_and_writing_goes_on(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = tcp(&runtime).await;
    let mut handle = drive(&runtime, near);
    far.write_all(b"last").await.unwrap();
    far.shutdown().await.unwrap();

    assert_eq!(cue(&mut handle).await, Link::Up);
    assert_eq!(octets(&mut handle, 4).await, b"last");
    assert_eq!(cue(&mut handle).await, Link::Ended);
    say(&handle, Do::Write((), Bytes::from_static(b"still here"))).await;

    assert_eq!(exactly(&mut far, 10).await, b"still here");
}

async fn finish_sends_fin_behind_what_was_written_and_reading_goes_on(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = tcp(&runtime).await;
    let mut handle = drive(&runtime, near);
    say(&handle, Do::Write((), Bytes::from(vec![7; 1 << 22]))).await;
    say(&handle, Do::Ask(Ask::Finish(()))).await;

    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    far.write_all(b"heard you").await.unwrap();

    assert_eq!(all, vec![7; 1 << 22]);
    assert_eq!(octets(&mut handle, 9).await, b"heard you");
}

async fn abort_sends_rst(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = tcp(&runtime).await;
    let handle = drive(&runtime, near);
    say(&handle, Do::Ask(Ask::Abort(()))).await;

    let error = far.read_u8().await.unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn an_rst_of_the_peer_is_down_and_nothing_follows(runtime: Arc<dyn Runtime>) {
    let (near, far) = tcp(&runtime).await;
    let mut handle = drive(&runtime, near);
    assert_eq!(cue(&mut handle).await, Link::Up);
    far.set_zero_linger().unwrap();
    drop(far);

    assert_eq!(cue(&mut handle).await, Link::Down(Cause::Reset));
    say(&handle, Do::Done).await;

    assert!(handle.next().await.is_none());
    let broken = handle.commands.closed().await.unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
}

async fn what_the_peer_said_before_it_reset_is_heard_first(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = tcp(&runtime).await;
    let mut handle = drive(&runtime, near);
    assert_eq!(cue(&mut handle).await, Link::Up);
    say(&handle, Do::Want((), false)).await;
    far.write_all(b"wrong selector").await.unwrap();
    // Unread octets make the peer's close an RST.
    say(&handle, Do::Write((), Bytes::from_static(b"hello"))).await;
    far.readable().await.unwrap();
    drop(far);
    // This write meets the RST, and what fails is known to the machine as full.
    say(&handle, Do::Write((), Bytes::from_static(b"more"))).await;
    assert_eq!(cue(&mut handle).await, Link::Full);

    say(&handle, Do::Want((), true)).await;

    assert_eq!(octets(&mut handle, 14).await, b"wrong selector");
    assert_eq!(cue(&mut handle).await, Link::Down(Cause::Reset));
}

async fn there_is_nothing_to_open_on_a_stream(runtime: Arc<dyn Runtime>) {
    let (near, _far) = duplex(16);
    let mut handle = drive(&runtime, near);
    let (tag, path) = (Tag(7), ());
    assert_eq!(cue(&mut handle).await, Link::Up);

    say(&handle, Do::Ask(Ask::Open { tag, path })).await;

    let answer = Link::Failed(tag, Cause::Unreachable);
    assert_eq!(cue(&mut handle).await, answer);
}

async fn a_stream_is_detached_with_what_was_read_too_far_and_goes_on_working(
    runtime: Arc<dyn Runtime>,
) {
    let (near, mut far) = tcp(&runtime).await;
    let local = near.socket().local_addr().unwrap().as_socket().unwrap();
    let mut handle = drive(&runtime, near);
    assert_eq!(cue(&mut handle).await, Link::Up);
    say(&handle, Do::Want((), false)).await;
    far.write_all(b"to the application").await.unwrap();
    say(
        &handle,
        Do::Write((), Bytes::from_static(b"from the machine, ")),
    )
    .await;
    let ask = Ask::Detach {
        tag: Tag(3),
        path: (),
        early: Bytes::from_static(b"read too far"),
    };
    say(&handle, Do::Ask(ask)).await;

    let Detached { tag, stream, early } = detached(&mut handle).await.into_tcp().unwrap();
    let mut stream = TcpStream::from_std(stream).unwrap();
    let theirs = exactly(&mut stream, 18).await;
    stream.write_all(b"from the application").await.unwrap();

    assert_eq!(tag, Tag(3));
    assert_eq!(&early[..], b"read too far");
    assert_eq!(stream.local_addr().unwrap(), local);
    assert_eq!(theirs, b"to the application");
    let ours = exactly(&mut far, 38).await;
    assert_eq!(ours, b"from the machine, from the application");
    assert!(handle.next().await.is_none());
    handle.commands.closed().await.unwrap();
}

async fn detaching_waits_for_what_was_written(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = duplex(64);
    let mut handle = drive(&runtime, near);
    say(&handle, Do::Write((), Bytes::from(vec![1; 100_000]))).await;
    let ask = Ask::Detach {
        tag: Tag(3),
        path: (),
        early: Bytes::new(),
    };
    say(&handle, Do::Ask(ask)).await;
    // Done at once: the flush, and the hand-over behind it, still come.
    say(&handle, Do::Done).await;

    let reader = tokio::spawn(async move { exactly(&mut far, 100_001).await });
    let detached = detached(&mut handle).await;
    let mut stream = detached.downcast::<DuplexStream>().unwrap().stream;
    stream.write_all(&[2]).await.unwrap();

    let all = reader.await.unwrap();
    assert_eq!(all[..100_000], vec![1; 100_000]);
    assert_eq!(all[100_000], 2);
}

async fn a_stream_that_blocks_is_full_and_later_free(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = duplex(64);
    let mut handle = drive(&runtime, near);
    assert_eq!(cue(&mut handle).await, Link::Up);

    say(&handle, Do::Write((), Bytes::from(vec![9; 200_000]))).await;
    assert_eq!(cue(&mut handle).await, Link::Full);
    let all = tokio::spawn(async move { exactly(&mut far, 200_000).await });

    assert_eq!(cue(&mut handle).await, Link::Free);
    assert_eq!(all.await.unwrap(), vec![9; 200_000]);
}

#[tokio::test]
async fn two_peers_that_send_and_never_read_stall_and_then_lose_nothing() {
    const MOST: usize = 3_000;
    let runtime = farlink::adapters::tokio::runtime();
    let (near, far) = duplex(1 << 12);
    let [one, other] = [near, TokioIo(far)].map(|stream| {
        let handle = held(&runtime, stream, few_events());
        (handle.commands, handle.events)
    });
    let sent: [Arc<AtomicUsize>; 2] = Default::default();
    let senders = [(&one.0, &sent[0]), (&other.0, &sent[1])].map(|(commands, sent)| {
        let (commands, sent) = (commands.clone(), Arc::clone(sent));
        tokio::spawn(async move {
            while sent.load(Ordering::Relaxed) < MOST {
                let write = Do::Write((), Bytes::from(vec![5; 1000]));
                match commands.command(write).await {
                    Ok(()) => sent.fetch_add(1, Ordering::Relaxed),
                    Err(CommandError::Refused(Refusal::Full)) => 0,
                    Err(error) => panic!("{error}"),
                };
                tokio::task::yield_now().await;
            }
        })
    });

    // Nothing but these tasks runs here, so what does not move in all that time never will.
    settle().await;
    let stalled = [0, 1].map(|side: usize| sent[side].load(Ordering::Relaxed));
    assert!(stalled.iter().all(|&count| count < MOST / 2), "{stalled:?}");

    let readers = [one.1, other.1].map(|mut events| {
        tokio::spawn(async move {
            let mut got = 0;
            while got < MOST * 1000 {
                match events.recv().await {
                    Some(Notice::Event(Heard::Octets((), octets))) => got += octets.len(),
                    Some(_) => {}
                    None => panic!("ended after {got} octets"),
                }
            }
        })
    });
    for task in senders.into_iter().chain(readers) {
        task.await.unwrap();
    }
}

async fn two_peers_that_send_at_once_over_tcp_do_not_deadlock(runtime: Arc<dyn Runtime>) {
    const ALL: usize = 1 << 25;
    let (near, far) = tcp(&runtime).await;
    let far = far.into_std().unwrap();
    let far = TcpIo::new(&*runtime, far.into()).unwrap();
    let sides = [near, far].map(|stream| {
        let handle = held(&runtime, stream, DriverOptions::default());
        let Held {
            commands,
            mut events,
        } = handle;
        let sender = tokio::spawn(async move {
            let part = Bytes::from(vec![3; 1 << 16]);
            let mut sent = 0;
            while sent < ALL {
                match commands.command(Do::Write((), part.clone())).await {
                    Ok(()) => sent += part.len(),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
            commands
        });
        let reader = tokio::spawn(async move {
            let mut got = 0;
            while got < ALL {
                if let Some(Notice::Event(Heard::Octets((), octets))) = events.recv().await {
                    got += octets.len();
                }
            }
        });
        (sender, reader)
    });

    for (sender, reader) in sides {
        let _commands = sender.await.unwrap();
        reader.await.unwrap();
    }
}

async fn timers_fire(runtime: Arc<dyn Runtime>) {
    let (near, _far) = duplex(16);
    let mut handle = drive(&runtime, near);
    assert_eq!(cue(&mut handle).await, Link::Up);

    say(&handle, Do::Wake(Duration::from_micros(1500), 3)).await;

    for left in [2, 1, 0] {
        assert_eq!(heard(&mut handle).await, Heard::Woken(left));
    }
}

#[tokio::test(start_paused = true)]
async fn timers_follow_a_clock_that_a_test_pauses() {
    let runtime = farlink::adapters::tokio::runtime();
    let (near, _far) = duplex(16);
    let mut handle = drive(&runtime, near);
    assert_eq!(cue(&mut handle).await, Link::Up);

    say(&handle, Do::Wake(Duration::from_secs(86_400), 3)).await;

    for left in [2, 1, 0] {
        assert_eq!(heard(&mut handle).await, Heard::Woken(left));
    }
}

async fn a_full_event_channel_stops_neither_timers_nor_sends(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = duplex(16);
    let mut handle = held(&runtime, near, few_events());
    say(&handle, Do::Beat((), Duration::from_millis(1), 20)).await;

    // Nobody takes an event, and yet every beat is written.
    assert_eq!(exactly(&mut far, 20).await, [b'.'; 20]);

    assert_eq!(cue(&mut handle).await, Link::Up);
    for left in (0..20).rev() {
        assert_eq!(heard(&mut handle).await, Heard::Woken(left));
    }
}

#[tokio::test]
async fn while_events_wait_nothing_is_read_and_no_command_is_taken() {
    let runtime = farlink::adapters::tokio::runtime();
    let (near, mut far) = duplex(8);
    let handle = held(&runtime, near, few_events());
    let Held {
        commands,
        mut events,
    } = handle;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    tokio::spawn(async move {
        while far.write_all(b"x").await.is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    settle().await;
    let stalled = sent.load(Ordering::Relaxed);
    assert!(stalled < 100, "{stalled} octets were taken");

    let mut answer = Box::pin(commands.command(Do::Want((), true)));
    settle().await;
    assert!(is_pending(&mut answer).await);
    assert_eq!(sent.load(Ordering::Relaxed), stalled);

    while sent.load(Ordering::Relaxed) == stalled {
        events.recv().await;
    }
    assert_eq!(answer.await, Ok(()));
}

#[tokio::test]
async fn events_count_as_much_as_they_weigh() {
    let runtime = farlink::adapters::tokio::runtime();
    let (near, mut far) = duplex(1 << 20);
    let options = DriverOptions {
        events: 1000,
        weigh: |heard| match heard {
            Heard::Octets((), octets) => octets.len(),
            Heard::Link(..) | Heard::Woken(_) => 1,
        },
        ..DriverOptions::default()
    };
    let handle = held(&runtime, near, options);
    let Held {
        commands,
        mut events,
    } = handle;
    far.write_all(&[7; 5000]).await.unwrap();
    settle().await;

    // One event of 5000 octets is more than fits, so the command waits until it is taken.
    let mut answer = Box::pin(commands.command(Do::Want((), true)));
    settle().await;
    assert!(is_pending(&mut answer).await);
    while !matches!(
        events.recv().await,
        Some(Notice::Event(Heard::Octets((), _)))
    ) {}

    assert_eq!(answer.await, Ok(()));
}

async fn a_refused_command_comes_back_to_its_sender(runtime: Arc<dyn Runtime>) {
    let (near, _far) = duplex(8);
    let handle = drive(&runtime, near);
    let Held {
        commands,
        events: _events,
    } = handle;

    let good = commands.command(Do::Want((), true));
    let bad = commands.try_command(Do::Fail).unwrap();

    assert_eq!(bad, Err(CommandError::Refused(Refusal::Told)));
    assert_eq!(good.await, Ok(()));
}

async fn commands_after_the_end_are_told_so(runtime: Arc<dyn Runtime>) {
    let (near, far) = duplex(8);
    let handle = drive(&runtime, near);
    say(&handle, Do::Done).await;
    drop(far);
    handle.commands.closed().await.unwrap();

    let late = handle.command(Do::Fail).await;

    assert_eq!(late, Err(CommandError::Gone));
}

async fn events_are_discarded_once_nobody_takes_them(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = duplex(1 << 10);
    let handle = held(&runtime, near, few_events());
    let Held { commands, events } = handle;
    drop(events);

    far.write_all(&vec![0; 1 << 20]).await.unwrap();
    commands
        .command(Do::Write((), Bytes::from_static(b"done")))
        .await
        .unwrap();

    assert_eq!(exactly(&mut far, 4).await, b"done");
}

async fn dropping_every_handle_gives_the_machine_the_chosen_command(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = duplex(64);
    let options = DriverOptions {
        on_drop: Some(Do::Done),
        ..DriverOptions::default()
    };
    let handle = held(&runtime, near, options);
    let Held { commands, events } = handle;
    let probe = commands.with_machine(Puppet::probe).unwrap();
    let write = Do::Write((), Bytes::from_static(b"sent before the end"));
    commands.command(write).await.unwrap();
    let clone = commands.clone();
    drop(commands);
    drop(clone);

    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();

    assert_eq!(all, b"sent before the end");
    drop((far, events));
    until_dropped(&probe).await;
}

async fn without_a_command_for_it_dropped_handles_change_nothing(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = duplex(64);
    let handle = drive(&runtime, near);
    say(&handle, Do::Beat((), Duration::from_millis(1), 5)).await;
    let probe = handle.commands.with_machine(Puppet::probe).unwrap();
    drop(handle);

    assert_eq!(exactly(&mut far, 5).await, b".....");

    // Behind the peer's end nothing can reach the machine: the driver must not stay for ever.
    drop(far);
    until_dropped(&probe).await;
}

async fn done_flushes_and_closes_even_while_the_peer_keeps_sending(runtime: Arc<dyn Runtime>) {
    let (near, far) = tcp(&runtime).await;
    let handle = drive(&runtime, near);
    let (mut from, mut to) = far.into_split();
    let flood = tokio::spawn(async move { while to.write_all(&[0; 4096]).await.is_ok() {} });
    say(&handle, Do::Write((), Bytes::from(vec![8; 1 << 23]))).await;
    say(&handle, Do::Done).await;
    let Held { commands, events } = handle;
    drop(events);

    let mut all = Vec::new();
    from.read_to_end(&mut all).await.unwrap();

    assert_eq!(all.len(), 1 << 23);
    flood.abort();
    let _ = flood.await;
    commands.closed().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_holds_up_the_end_only_for_a_while() {
    let runtime = farlink::adapters::tokio::runtime();
    let (near, _far) = duplex(8);
    let handle = drive(&runtime, near);
    say(&handle, Do::Write((), Bytes::from(vec![8; 50_000]))).await;
    say(&handle, Do::Ask(Ask::Close(()))).await;
    say(&handle, Do::Done).await;

    let error = handle.commands.closed().await.unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn an_unwanted_stream_is_left_unread() {
    let runtime = farlink::adapters::tokio::runtime();
    let (near, mut far) = duplex(8);
    let mut handle = drive(&runtime, near);
    assert_eq!(cue(&mut handle).await, Link::Up);
    say(&handle, Do::Want((), false)).await;
    far.write_all(b"12345678").await.unwrap();

    // The buffer stays full, so the ninth octet must wait.
    let mut more = Box::pin(far.write_u8(b'9'));
    settle().await;
    assert!(is_pending(&mut more).await);
    say(&handle, Do::Want((), true)).await;

    more.await.unwrap();
    assert_eq!(octets(&mut handle, 9).await, b"123456789");
}

async fn after_64_sends_the_inputs_are_looked_at(runtime: Arc<dyn Runtime>) {
    let longest = Arc::new(AtomicUsize::new(0));
    let chatterbox = Chatterbox {
        in_a_row: 0,
        heard: 0,
        longest: Arc::clone(&longest),
    };
    let options = DriverOptions {
        linger: Duration::ZERO,
        ..DriverOptions::default()
    };
    let (commands, _events) = raw::stream(&runtime, chatterbox, Bottomless, options);

    commands.closed().await.unwrap();

    assert_eq!(longest.load(Ordering::Relaxed), 64);
}

/// A machine that always has something to send, and is done when it heard a hundred times.
struct Chatterbox {
    in_a_row: usize,
    heard: usize,
    longest: Arc<AtomicUsize>,
}

impl Machine for Chatterbox {
    type Addr = ();
    type Command = ();
    type Event = ();
    type Error = std::convert::Infallible;

    fn receive(&mut self, _: Instant, (): (), _: &[u8]) {
        self.longest.fetch_max(self.in_a_row, Ordering::Relaxed);
        self.in_a_row = 0;
        self.heard += 1;
    }

    fn link(&mut self, _: Instant, (): (), state: Link) {
        assert_ne!(state, Link::Full, "the stream takes everything");
    }

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Self::Error> {
        Ok(())
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<()>) -> Output<(), ()> {
        tx.clear();
        if self.heard == 100 {
            return Output::Done;
        }
        self.in_a_row += 1;
        tx.append((), 1, |out| out.push(0));
        Output::Transmit
    }
}

/// A stream that takes everything and always has an octet to read, until it is shut down.
struct Bottomless;

impl ByteStream for Bottomless {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        buffer[0] = b'x';
        Poll::Ready(Ok(1))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

fn held(
    runtime: &Arc<dyn Runtime>,
    stream: impl ByteStream,
    options: DriverOptions<Puppet<()>>,
) -> Held {
    let (commands, events) = raw::stream(runtime, Puppet::new(), stream, options);
    Held { commands, events }
}

fn drive(runtime: &Arc<dyn Runtime>, stream: impl ByteStream) -> Held {
    held(runtime, stream, DriverOptions::default())
}

fn duplex(size: usize) -> (TokioIo<DuplexStream>, DuplexStream) {
    let (near, far) = tokio::io::duplex(size);
    (TokioIo(near), far)
}

fn few_events() -> DriverOptions<Puppet<()>> {
    DriverOptions {
        events: 4,
        ..DriverOptions::default()
    }
}

async fn tcp(runtime: &Arc<dyn Runtime>) -> (TcpIo, TcpStream) {
    let listener = TcpListener::bind(here()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let near = near.unwrap().into_std().unwrap();
    let near = TcpIo::new(&**runtime, near.into()).unwrap();
    (near, far.unwrap().0)
}

async fn say(handle: &Held, what: Do<()>) {
    handle.command(what).await.unwrap();
    // The driver may be a task of this thread.
    tokio::task::yield_now().await;
}

async fn heard(handle: &mut Held) -> Heard<()> {
    match handle.next().await {
        Some(Notice::Event(event)) => event,
        Some(Notice::Detached(_)) => panic!("detached"),
        None => panic!("ended"),
    }
}

async fn cue(handle: &mut Held) -> Link {
    match heard(handle).await {
        Heard::Link((), link) => link,
        other => panic!("{other:?}"),
    }
}

/// Collects octets; cues of a full stream in between do not matter.
async fn octets(handle: &mut Held, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        if let Heard::Octets((), octets) = heard(handle).await {
            all.extend_from_slice(&octets);
        }
    }
    all
}

async fn until_dropped(probe: &Weak<()>) {
    while probe.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

async fn detached(handle: &mut Held) -> Detached<Box<dyn ByteStream>> {
    loop {
        match handle.next().await {
            Some(Notice::Event(_)) => {}
            Some(Notice::Detached(detached)) => return detached,
            None => panic!("ended"),
        }
    }
}

async fn exactly(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut all = vec![0; count];
    stream.read_exact(&mut all).await.unwrap();
    all
}

/// Lets every other task of this thread run until none of them can.
async fn settle() {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
}

async fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await
}

on_both_runtimes!(
    up_comes_first_and_octets_go_both_ways,
    any_byte_stream_will_do,
    the_peers_fin_is_ended_and_writing_goes_on,
    finish_sends_fin_behind_what_was_written_and_reading_goes_on,
    abort_sends_rst,
    an_rst_of_the_peer_is_down_and_nothing_follows,
    what_the_peer_said_before_it_reset_is_heard_first,
    there_is_nothing_to_open_on_a_stream,
    a_stream_is_detached_with_what_was_read_too_far_and_goes_on_working,
    detaching_waits_for_what_was_written,
    a_stream_that_blocks_is_full_and_later_free,
    two_peers_that_send_at_once_over_tcp_do_not_deadlock,
    timers_fire,
    a_full_event_channel_stops_neither_timers_nor_sends,
    a_refused_command_comes_back_to_its_sender,
    commands_after_the_end_are_told_so,
    events_are_discarded_once_nobody_takes_them,
    dropping_every_handle_gives_the_machine_the_chosen_command,
    without_a_command_for_it_dropped_handles_change_nothing,
    done_flushes_and_closes_even_while_the_peer_keeps_sending,
    after_64_sends_the_inputs_are_looked_at,
);
