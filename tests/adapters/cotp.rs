//! COTP connections as an application holds them, on both runtimes and with both faces.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::cotp::{Arrival, ConnectionOptions, Error, Incoming};
use farlink::cotp::{
    AfterHandshake, Config, Disconnect, DisconnectReason, EndReason, Policy, Selector, TpduSize,
};
use socket2::{Domain, Socket, Type};

use crate::face::{Connection, Listener, Request};
use crate::loopback::here;
use crate::on::{On, on_all};

on_all! {
async fn both_ends_know_addresses_selectors_and_size(on: On) {
    let listener = on.server(Policy::AcceptAny);
    let mut config = client();
    config.tpdu_size = TpduSize::CLASS_0;

    let (near, far) = tokio::join!(on.connect(listener.local_addr(), config), listener.accept());

    let (near, far) = (near.unwrap(), far.unwrap());
    let (near, far) = (near.info(), far.info());
    assert_eq!(near.remote, listener.local_addr());
    assert_eq!((near.local, near.remote), (far.remote, far.local));
    assert_eq!(near.local_selector, Some(Selector::from(1)));
    assert_eq!(near.remote_selector, Some(Selector::from(2)));
    assert_eq!(far.local_selector, Some(Selector::from(2)));
    assert_eq!(far.remote_selector, Some(Selector::from(1)));
    assert_eq!((near.tpdu_size, far.tpdu_size), (2048, 2048));
}

async fn an_echo_that_sends_before_it_receives_does_not_wait_for_itself(on: On) {
    let (near, mut far) = on.pair(client()).await;
    let echo = on.spawn(async move {
        while let Some(message) = far.receive().await? {
            far.send(message).await?;
        }
        Ok::<_, Error>(())
    });
    let (sender, mut receiver) = near.split();

    // Several times what all queues and the buffers of the system hold.
    let sending = on.spawn(async move {
        for _ in 0..400 {
            sender.send(vec![7; 1 << 16]).await.unwrap();
        }
        sender
    });
    for _ in 0..400 {
        assert_eq!(receiver.receive().await.unwrap().unwrap().len(), 1 << 16);
    }

    sending.await.unwrap().close().await.unwrap();
    echo.await.unwrap().unwrap();
}

async fn messages_of_any_size_come_whole_and_in_order(on: On) {
    let (near, mut far) = on.pair(client()).await;
    let sizes = [1, 2045, 2046, 4090, 8189, 8190, 65_528, 65_529, 1_000_000];

    let sender = on.spawn(async move {
        for (number, size) in (0_u8..).zip(sizes) {
            near.send(vec![number; size]).await.unwrap();
        }
        near
    });

    for (number, size) in (0_u8..).zip(sizes) {
        let message = far.receive().await.unwrap().unwrap();
        assert!(message == vec![number; size], "message {number}");
    }
    sender.await.unwrap().close().await.unwrap();
    assert_eq!(far.receive().await.unwrap(), None);
}

async fn a_wrong_selector_is_refused_in_words_on_both_sides(on: On) {
    let policy = Policy::Selectors(vec![Selector::from(7)]);
    let listener = on.server(policy);

    let refused = on.connect(listener.local_addr(), client()).await.unwrap_err();
    let arrival = listener.next().await.unwrap();

    assert_eq!(
        refused.to_string(),
        "refused by the peer: selector unknown (3)"
    );
    let Arrival::Failed { error, .. } = arrival else {
        panic!("{arrival:?}");
    };
    assert_eq!(
        error.to_string(),
        "refused by this side: selector unknown (3)"
    );
}

async fn a_peer_that_closes_in_place_of_a_confirmation_is_told_in_words(on: On) {
    let listener = TcpListener::bind(here()).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 100]);
        drop(stream);
        listener.accept()
    });

    let error = on.connect(address, client()).await.unwrap_err();

    assert_eq!(
        error.to_string(),
        EndReason::ClosedBeforeConfirm.to_string()
    );
}

async fn nobody_listening_is_an_error_of_the_system(on: On) {
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    deaf.bind(&here().into()).unwrap();
    let address = deaf.local_addr().unwrap().as_socket().unwrap();

    let error = io::Error::from(on.connect(address, client()).await.unwrap_err());

    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

async fn a_bad_configuration_is_refused_before_anything_is_sent(on: On) {
    let mut config = client();
    config.limits.receive_queue = 0;
    let unreachable = SocketAddr::from(([192, 0, 2, 1], 102));

    let error = on.connect(unreachable, config).await.unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    let error = on.listen(client()).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
}

async fn the_application_sees_the_selectors_and_accepts_or_refuses(on: On) {
    let listener = on.server(Policy::Ask);
    let address = listener.local_addr();

    let connecting = on.spawn(on.connect(address, client()));
    let asked = request(&listener).await;
    assert_eq!(asked.indication().calling, Some(Selector::from(1)));
    assert_eq!(asked.indication().called, Some(Selector::from(2)));
    assert_eq!(asked.local(), address);
    let mut far = asked.accept().await.unwrap();
    let near = connecting.await.unwrap().unwrap();
    near.send("welcome").await.unwrap();
    assert_eq!(far.receive().await.unwrap().unwrap(), "welcome");

    let connecting = on.spawn(on.connect(address, client()));
    let asked = request(&listener).await;
    asked.refuse(DisconnectReason::CONGESTION).await.unwrap();
    let Error::Ended(end) = connecting.await.unwrap().unwrap_err() else {
        panic!("not refused");
    };
    let EndReason::Refused(Disconnect { reason, .. }) = end.reason else {
        panic!("{end}");
    };
    assert_eq!(reason, DisconnectReason::CONGESTION);
}

async fn a_peer_that_says_nothing_keeps_nobody_waiting(on: On) {
    let listener = on.server(Policy::AcceptAny);
    let address = listener.local_addr();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(address).unwrap());
    }

    let (near, far) = tokio::join!(on.connect(address, client()), listener.accept());

    assert_eq!(near.unwrap().info().local, far.unwrap().info().remote);
}

async fn connections_that_nobody_takes_hold_up_further_ones_and_not_more(on: On) {
    let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
    options.arrivals = 2;
    let listener = on.listen(options).unwrap();
    let address = listener.local_addr();
    let _near = [
        on.connect(address, client()).await.unwrap(),
        on.connect(address, client()).await.unwrap(),
    ];

    let mut third = on.spawn(on.connect(address, client()));
    on.settle().await;
    assert!(third.try_recv().is_err());
    listener.accept().await.unwrap();

    third.await.unwrap().unwrap();
}

async fn send_waits_for_room_and_nothing_is_lost(on: On) {
    const COUNT: usize = 20_000;
    let mut config = client();
    config.limits.send_queue = 4096;
    let (near, mut far) = on.pair(config).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let sender = on.spawn(async move {
        for number in 0..COUNT {
            let mut message = vec![0; 1000];
            message[..8].copy_from_slice(&number.to_be_bytes());
            near.send(message).await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        }
        near.flush().await.unwrap();
        near
    });

    let taken = on.standstill(&sent).await;
    assert!(taken < COUNT, "all was taken although nobody received");

    for number in 0..COUNT {
        let message = far.receive().await.unwrap().unwrap();
        assert_eq!(message[..8], number.to_be_bytes());
    }
    sender.await.unwrap();
}

async fn two_ends_that_both_send_and_never_receive_stall_and_then_lose_nothing(on: On) {
    const COUNT: usize = 10_000;
    let (near, far) = on.pair(client()).await;
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    let sent = Arc::new(AtomicUsize::new(0));
    for end in [near, far] {
        let (sender, receiver) = end.split();
        receivers.push(receiver);
        let sent = Arc::clone(&sent);
        senders.push(on.spawn(async move {
            for _ in 0..COUNT {
                sender.send(vec![1; 4000]).await.unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
            sender
        }));
    }

    // What is between them holds less than they want to send.
    assert!(on.standstill(&sent).await < 2 * COUNT);

    let receivers = receivers.into_iter().map(|mut receiver| {
        on.spawn(async move {
            for _ in 0..COUNT {
                assert_eq!(receiver.receive().await.unwrap().unwrap().len(), 4000);
            }
            receiver
        })
    });
    let receivers: Vec<_> = receivers.collect();
    let mut halves = Vec::new();
    for receiver in receivers {
        halves.push(receiver.await.unwrap());
    }
    for sender in senders {
        sender.await.unwrap();
    }
}

async fn an_application_that_does_not_receive_makes_the_peer_stop(on: On) {
    let (near, _far) = on.pair(client()).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    on.spawn(async move {
        while near.send(vec![0; 100_000]).await.is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });

    let taken = on.standstill(&sent).await;

    // Socket buffers, both queues, and little else.
    assert!(taken < 200, "{taken} messages of 100,000 octets were taken");
}

async fn flush_waits_until_the_system_has_it_all(on: On) {
    let (near, mut raw) = on.raw_peer(client()).await;
    near.send(vec![7; 100_000]).await.unwrap();

    near.flush().await.unwrap();

    // What can be read at once is what the system had.
    raw.set_nonblocking(true).unwrap();
    let packets = 100_000_usize.div_ceil(2045);
    raw.read_exact(&mut vec![0; 100_000 + packets * 7]).unwrap();
    let more = raw.read(&mut [0]).unwrap_err();
    assert_eq!(more.kind(), io::ErrorKind::WouldBlock);
}

async fn a_flush_that_the_end_overtakes_says_so(on: On) {
    let (near, raw) = on.raw_peer(client()).await;
    let flood = on.spawn(async move {
        // More than the buffers of the system hold.
        for _ in 0..500 {
            near.send(vec![7; 200_000]).await?;
        }
        near.flush().await
    });
    on.settle().await;
    reset(raw);

    let error = flood.await.unwrap().unwrap_err();

    assert!(matches!(error, Error::Ended(_)), "{error}");
    assert!(error.to_string().contains("reset"), "{error}");
}

async fn a_flush_is_done_when_the_peer_closed_behind_the_last_message(on: On) {
    let (near, mut far) = on.pair(client()).await;
    near.send("all there is").await.unwrap();
    far.receive().await.unwrap();
    far.close().await.unwrap();

    near.flush().await.unwrap();

    let late = near.send("more").await.unwrap_err();
    assert!(matches!(late, Error::Ended(_)), "{late}");
}

async fn close_sends_everything_first_and_waits_for_the_peer(on: On) {
    let (near, mut far) = on.pair(client()).await;
    for _ in 0..100 {
        near.send(vec![5; 10_000]).await.unwrap();
    }
    let closing = on.spawn(near.close());

    for _ in 0..100 {
        assert_eq!(far.receive().await.unwrap().unwrap().len(), 10_000);
    }
    assert_eq!(far.receive().await.unwrap(), None);
    assert_eq!(far.receive().await.unwrap(), None);

    closing.await.unwrap().unwrap();
    let late = far.send("late").await.unwrap_err();
    assert!(matches!(late, Error::Ended(_)), "{late}");
}

async fn dropping_a_connection_sends_what_was_accepted_and_closes_it(on: On) {
    let (near, mut far) = on.pair(client()).await;
    for _ in 0..100 {
        near.send(vec![5; 10_000]).await.unwrap();
    }
    drop(near);

    for _ in 0..100 {
        assert_eq!(far.receive().await.unwrap().unwrap().len(), 10_000);
    }
    assert_eq!(far.receive().await.unwrap(), None);
}

async fn one_half_alone_keeps_the_connection(on: On) {
    let (near, far) = on.pair(client()).await;
    let (sender, receiver) = near.split();
    let (far_sender, mut far_receiver) = far.split();
    drop(receiver);
    drop(far_sender);

    sender.send("still there").await.unwrap();
    assert_eq!(
        far_receiver.receive().await.unwrap().unwrap(),
        "still there"
    );
    drop(sender);

    assert_eq!(far_receiver.receive().await.unwrap(), None);
}

async fn a_peer_that_takes_nothing_does_not_hold_a_closed_connection_for_ever(on: On) {
    let mut config = client();
    config.timers.drain_timeout = Duration::from_millis(50);
    config.limits.send_queue = 2 * TOO_MUCH;
    let (near, mut raw) = on.raw_peer(config).await;
    let (sender, _receiver) = near.split();
    sender.send(vec![7; TOO_MUCH]).await.unwrap();

    let error = sender.close().await.unwrap_err();

    let Error::Ended(end) = &error else {
        panic!("{error}");
    };
    assert!(matches!(end.reason, EndReason::SendStalled(_)), "{end}");
    assert!(end.unsent > 0);
    let mut all = Vec::new();
    let cut_off = raw.read_to_end(&mut all).unwrap_err();
    assert_eq!(cut_off.kind(), io::ErrorKind::ConnectionReset);
}

async fn a_message_that_is_refused_leaves_the_connection_as_it_was(on: On) {
    let (near, mut far) = on.pair(client()).await;

    let empty = near.send(Bytes::new()).await.unwrap_err();
    let long = near.send(vec![0; 1 << 21]).await.unwrap_err();
    let expedited = near.send_expedited("now").await.unwrap_err();
    near.send("after").await.unwrap();

    assert_eq!(empty.to_string(), "empty messages are disabled by the configuration");
    assert_eq!(
        long.to_string(),
        "message of 2097152 octets exceeds the limit of 2097088"
    );
    assert_eq!(
        expedited.to_string(),
        "the peer did not agree to expedited data"
    );
    assert_eq!(far.receive().await.unwrap().unwrap(), "after");
}

async fn expedited_data_can_be_told_apart(on: On) {
    let mut server = Config::responder(Policy::AcceptAny);
    server.compat.expedited = true;
    let listener = on.listen(server).unwrap();
    let mut config = client();
    config.compat.expedited = true;
    let address = listener.local_addr();
    let (near, far) = tokio::join!(on.connect(address, config), listener.accept());
    let (near, mut far) = (near.unwrap(), far.unwrap());

    near.send_expedited("hurry").await.unwrap();

    let incoming = far.incoming().await.unwrap().unwrap();
    assert_eq!(incoming, Incoming::Expedited(Bytes::from_static(b"hurry")));
}

async fn a_stream_is_taken_over_after_the_handshake_with_nothing_lost(on: On) {
    let mut server = Config::responder(Policy::AcceptAny);
    server.after_handshake = AfterHandshake::Pause;
    let listener = on.listen(server).unwrap();
    let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
    // The CR and what follows the handshake in one go, as a hasty peer may do.
    let mut hello = CR.to_vec();
    hello.extend_from_slice(b"\x16\x03\x01client hello");
    raw.write_all(&hello).unwrap();
    let mut connection = listener.accept().await.unwrap();

    let handed = connection.detach().await.unwrap();
    let mut stream = on.blocking_stream(handed.stream);
    raw.write_all(b", more").unwrap();
    let mut more = [0; 6];
    stream.read_exact(&mut more).unwrap();
    stream.write_all(b"server hello").unwrap();

    assert_eq!(&handed.early[..], b"\x16\x03\x01client hello");
    assert_eq!(&more, b", more");
    let mut answer = vec![0; 14 + 12];
    raw.read_exact(&mut answer).unwrap();
    assert_eq!(answer[5], 0xD0, "a CC");
    assert_eq!(&answer[14..], b"server hello");
    assert_eq!(connection.receive().await.unwrap(), None);
    assert!(connection.send("late").await.is_err());
}

async fn messages_that_came_before_a_take_over_can_still_be_received(on: On) {
    let mut server = Config::responder(Policy::AcceptAny);
    server.limits.receive_queue = 1000;
    let listener = on.listen(server).unwrap();
    let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
    raw.write_all(CR).unwrap();
    let mut connection = listener.accept().await.unwrap();
    for _ in 0..30 {
        raw.write_all(b"\x03\0\0\x0a\x02\xf0\x80abc").unwrap();
    }
    on.settle().await;

    let handed = connection.detach().await.unwrap();

    let mut received = 0;
    while let Some(message) = connection.receive().await.unwrap() {
        assert_eq!(message, "abc");
        received += 1;
    }
    let mut rest = handed.early.to_vec();
    let mut stream = on.blocking_stream(handed.stream);
    raw.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut rest).unwrap();
    assert!(received > 0);
    assert_eq!(received * 10 + rest.len(), 300);
}

async fn a_take_over_in_the_middle_of_a_message_is_refused_and_the_connection_goes_on(on: On) {
    let listener = on.server(Policy::AcceptAny);
    let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
    raw.write_all(CR).unwrap();
    let mut connection = listener.accept().await.unwrap();
    raw.write_all(b"\x03\0\0\x0a\x02\xf0\x00abc").unwrap();
    on.settle().await;

    let error = connection.detach().await.unwrap_err();
    raw.write_all(b"\x03\0\0\x0a\x02\xf0\x80def").unwrap();

    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert_eq!(connection.receive().await.unwrap().unwrap(), "abcdef");
}

async fn a_stream_that_breaks_off_inside_a_message_is_no_clean_end(on: On) {
    let listener = on.server(Policy::AcceptAny);
    let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
    raw.write_all(CR).unwrap();
    let mut connection = listener.accept().await.unwrap();
    raw.write_all(b"\x03\0\0\x0a\x02\xf0\x80ab").unwrap();
    drop(raw);

    let error = connection.receive().await.unwrap_err();

    let Error::Ended(end) = &error else {
        panic!("{error}");
    };
    assert!(end.incomplete > 0, "{error}");
}

async fn many_connections_live_on_one_listener(on: On) {
    const COUNT: usize = 100;
    let listener = on.server(Policy::AcceptAny);
    let address = listener.local_addr();
    let far = on.clone();
    let serving = on.spawn(async move {
        for _ in 0..COUNT {
            drop(far.spawn(echo(listener.accept().await.unwrap())));
        }
    });
    let mut clients = Vec::new();
    for number in 0..COUNT {
        let connecting = on.connect(address, client());
        clients.push(on.spawn(async move {
            let mut connection = connecting.await.unwrap();
            for round in 0..3 {
                let message = format!("{number} {round}");
                connection.send(message.clone()).await.unwrap();
                assert_eq!(connection.receive().await.unwrap().unwrap(), message);
            }
            connection.close().await.unwrap();
        }));
    }

    for client in clients {
        client.await.unwrap();
    }
    serving.await.unwrap();
}

async fn two_hundred_messages_are_sent_back_to_back_before_any_answer_is_received(on: On) {
    let (mut near, far) = on.pair(client()).await;
    let server = on.spawn(echo(far));

    for number in 0..200_u8 {
        near.send(vec![number; 100]).await.unwrap();
    }
    for number in 0..200_u8 {
        assert_eq!(near.receive().await.unwrap().unwrap(), vec![number; 100]);
    }

    near.close().await.unwrap();
    server.await.unwrap().unwrap();
}

async fn an_initiator_detaches_a_stream_while_nothing_comes(on: On) {
    let (mut near, mut raw) = on.raw_peer(client()).await;

    let detached = near.detach().await.unwrap();
    let mut stream = on.blocking_stream(detached.stream);
    stream.write_all(b"client hello").unwrap();
    let mut hello = [0; 12];
    raw.read_exact(&mut hello).unwrap();
    raw.write_all(b"server hello").unwrap();
    stream.read_exact(&mut hello).unwrap();

    assert!(detached.early.is_empty());
    assert_eq!(&hello, b"server hello");
}

async fn dropping_a_listener_closes_what_was_not_taken_and_frees_the_port(on: On) {
    let listener = on.server(Policy::AcceptAny);
    let address = listener.local_addr();
    let open = on.connect(address, client()).await.unwrap();
    let mut taken = listener.accept().await.unwrap();
    let mut untaken = on.connect(address, client()).await.unwrap();
    let mut silent = TcpStream::connect(address).unwrap();

    drop(listener);

    assert!(untaken.receive().await.map_or(true, |message| message.is_none()));
    // The silent one may still have waited in the queue of the system, which resets it.
    let _ = silent.read_to_end(&mut Vec::new());
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    open.send("still there").await.unwrap();
    assert_eq!(taken.receive().await.unwrap().unwrap(), "still there");
}

async fn many_flush_at_once(on: On) {
    let (near, mut far) = on.pair(client()).await;
    let (sender, _receiver) = near.split();

    for number in 0..100_u8 {
        let sender = sender.clone();
        drop(on.spawn(async move {
            for _ in 0..4 {
                sender.send(vec![number; 5000]).await.unwrap();
                sender.flush().await.unwrap();
            }
        }));
    }

    for _ in 0..400 {
        assert_eq!(far.receive().await.unwrap().unwrap().len(), 5000);
    }
}

async fn a_connection_opens_on_a_stream_that_is_there_already(on: On) {
    let listener = on.server(Policy::AcceptAny);
    let stream = TcpStream::connect(listener.local_addr()).unwrap();

    let near = on.connect_on(stream, client()).await.unwrap();
    let mut far = listener.accept().await.unwrap();
    near.send("hello").await.unwrap();

    assert_eq!(far.receive().await.unwrap().unwrap(), "hello");
}
}

/// More octets than fit the buffers of the system.
pub(super) const TOO_MUCH: usize = 1 << 26;

/// A CR without parameters.
const CR: &[u8] = b"\x03\0\0\x0b\x06\xe0\0\0\x12\x34\0";

pub(super) fn client() -> Config {
    Config::initiator(Some(Selector::from(1)), Some(Selector::from(2)))
}

async fn echo(mut connection: Connection) -> Result<(), Error> {
    while let Some(message) = connection.receive().await? {
        connection.send(message).await?;
    }
    Ok(())
}

async fn request(listener: &Listener) -> Request {
    match listener.next().await.unwrap() {
        Arrival::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn reset(stream: TcpStream) {
    let linger = Some(Duration::ZERO);
    socket2::SockRef::from(&stream).set_linger(linger).unwrap();
    drop(stream);
}

impl On {
    /// A stream that was detached, to be read and written by the test.
    pub(super) fn blocking_stream(&self, stream: TcpStream) -> TcpStream {
        if let Self::Tokio(_) = self {
            stream.set_nonblocking(false).unwrap();
        }
        stream
    }

    /// An open connection and the bare stream at its other end.
    pub(super) async fn raw_peer(&self, config: Config) -> (Connection, TcpStream) {
        let listener = TcpListener::bind(here()).unwrap();
        let address = listener.local_addr().unwrap();
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 100];
            let count = stream.read(&mut request).unwrap();
            assert!(count > 10);
            let mut confirm = *b"\x03\0\0\x0b\x06\xd0\0\0\0\x01\0";
            confirm[6..8].copy_from_slice(&request[8..10]);
            stream.write_all(&confirm).unwrap();
            stream
        });
        let connection = self.connect(address, config).await.unwrap();
        (connection, answering.join().unwrap())
    }
}
