//! COTP connections as an application holds them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::blocking::cotp::{
    self, Arrival, Connection, ConnectionOptions, Error, Incoming, Listener, connect, connect_on,
    listen,
};
use farlink::cotp::{
    AfterHandshake, Config, DisconnectReason, EndReason, Policy, Selector, TpduSize,
};

use socket2::{Domain, Socket, Type};

use super::AT_LAST;
use super::loopback::here;

#[test]
fn both_ends_know_addresses_selectors_and_size() {
    let listener = server(Policy::AcceptAny);
    let mut config = client();
    config.tpdu_size = TpduSize::CLASS_0;

    let near = connect(listener.local_addr(), config).unwrap();
    let far = listener.accept().unwrap();

    let (near, far) = (near.info(), far.info());
    assert_eq!(near.remote, listener.local_addr());
    assert_eq!((near.local, near.remote), (far.remote, far.local));
    assert_eq!(near.local_selector, Some(Selector::from(1)));
    assert_eq!(near.remote_selector, Some(Selector::from(2)));
    assert_eq!(far.local_selector, Some(Selector::from(2)));
    assert_eq!(far.remote_selector, Some(Selector::from(1)));
    assert_eq!((near.tpdu_size, far.tpdu_size), (2048, 2048));
}

#[test]
fn an_echo_that_sends_before_it_receives_does_not_wait_for_itself() {
    let (near, mut far) = pair(client());
    let echo = thread::spawn(move || {
        while let Some(message) = far.receive()? {
            far.send(message)?;
        }
        Ok::<_, Error>(())
    });
    let (sender, mut receiver) = near.split();

    // Several times what all queues and the buffers of the system hold.
    let sending = thread::spawn(move || {
        for _ in 0..400 {
            sender.send(vec![7; 1 << 16]).unwrap();
        }
        sender
    });
    for _ in 0..400 {
        assert_eq!(receiver.receive().unwrap().unwrap().len(), 1 << 16);
    }

    sending.join().unwrap().close().unwrap();
    echo.join().unwrap().unwrap();
}

#[test]
fn messages_of_any_size_come_whole_and_in_order() {
    let (near, mut far) = pair(client());
    let sizes = [1, 2045, 2046, 4090, 8189, 8190, 65_528, 65_529, 1_000_000];

    let sender = thread::spawn(move || {
        for (number, size) in (0_u8..).zip(sizes) {
            near.send(vec![number; size]).unwrap();
        }
        near.close()
    });

    for (number, size) in (0_u8..).zip(sizes) {
        let message = far.receive().unwrap().unwrap();
        assert!(message == vec![number; size], "message {number}");
    }
    assert_eq!(far.receive().unwrap(), None);
    sender.join().unwrap().unwrap();
}

#[test]
fn two_hundred_messages_are_sent_back_to_back_before_any_answer_is_received() {
    let listener = server(Policy::AcceptAny);
    let mut near = connect(listener.local_addr(), client()).unwrap();
    let far = listener.accept().unwrap();
    let server = thread::spawn(move || echo(far));

    for number in 0..200_u8 {
        near.send(vec![number; 100]).unwrap();
    }
    for number in 0..200_u8 {
        assert_eq!(near.receive().unwrap().unwrap(), vec![number; 100]);
    }

    near.close().unwrap();
    server.join().unwrap().unwrap();
}

#[test]
fn a_wrong_selector_is_refused_in_words_on_both_sides() {
    let listener = server(Policy::Selectors(vec![Selector::from(7)]));

    let refused = connect(listener.local_addr(), client()).unwrap_err();
    let arrival = listener.next().unwrap();

    let refused = refused.to_string();
    assert!(
        refused.ends_with("by the peer: selector unknown (3)"),
        "{refused}"
    );
    let Arrival::Failed { error, .. } = arrival else {
        panic!("{arrival:?}");
    };
    assert_eq!(
        error.to_string(),
        "refused by this side: selector unknown (3)"
    );
}

#[test]
fn a_peer_that_closes_in_place_of_a_confirmation_is_told_in_words() {
    let (address, peer) = bare_server(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
    });

    let error = connect(address, client()).unwrap_err();

    assert_eq!(
        error.to_string(),
        EndReason::ClosedBeforeConfirm.to_string()
    );
    peer.join().unwrap();
}

#[test]
fn nobody_listening_is_an_error_of_the_system() {
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    deaf.bind(&here().into()).unwrap();
    let address = deaf.local_addr().unwrap().as_socket().unwrap();

    let error = io::Error::from(connect(address, client()).unwrap_err());

    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_bad_configuration_is_refused_before_anything_is_sent() {
    let mut config = client();
    config.receive_queue = 0;
    let unreachable = "192.0.2.1:102";

    let error = connect(unreachable, config).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    let error = listen(here(), client()).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
}

#[test]
fn the_application_sees_the_selectors_and_accepts_or_refuses() {
    let listener = server(Policy::Ask);
    let address = listener.local_addr();

    let connecting = thread::spawn(move || connect(address, client()));
    let request = request(&listener);
    assert_eq!(request.indication().calling, Some(Selector::from(1)));
    assert_eq!(request.indication().called, Some(Selector::from(2)));
    assert_eq!(request.local(), address);
    let mut far = request.accept().unwrap();
    let near = connecting.join().unwrap().unwrap();
    near.send("welcome").unwrap();
    assert_eq!(far.receive().unwrap().unwrap(), "welcome");

    let connecting = thread::spawn(move || connect(address, client()));
    let request = self::request(&listener);
    request.refuse(DisconnectReason::CONGESTION).unwrap();
    let Error::Ended(end) = connecting.join().unwrap().unwrap_err() else {
        panic!("not refused");
    };
    let EndReason::Refused(farlink::cotp::Disconnect { reason, .. }) = end.reason else {
        panic!("{end}");
    };
    assert_eq!(reason, DisconnectReason::CONGESTION);
}

#[test]
fn a_peer_that_says_nothing_keeps_nobody_waiting() {
    let listener = server(Policy::AcceptAny);
    let address = listener.local_addr();
    let silent = || TcpStream::connect(address).unwrap();
    let _silent: Vec<TcpStream> = (0..20).map(|_| silent()).collect();

    let near = connect(address, client()).unwrap();
    let far = listener.accept().unwrap();

    assert_eq!(near.info().local, far.info().remote);
}

#[test]
fn connections_that_nobody_takes_hold_up_further_ones_and_not_more() {
    let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
    options.arrivals = 2;
    let listener = listen(here(), options).unwrap();
    let address = listener.local_addr();
    let _near = [
        connect(address, client()).unwrap(),
        connect(address, client()).unwrap(),
    ];
    let mut impatient = client();
    impatient.answer_timeout = Some(Duration::from_millis(100));

    let error = connect(address, impatient).unwrap_err();
    let third = thread::spawn(move || connect(address, client()));
    listener.accept().unwrap();
    // One of the two that follow is what is left of the impatient one.
    listener.accept().unwrap();

    assert!(error.to_string().contains("no answer"), "{error}");
    third.join().unwrap().unwrap();
}

#[test]
fn dropping_a_listener_closes_what_was_not_taken_and_frees_the_port() {
    let listener = server(Policy::AcceptAny);
    let address = listener.local_addr();
    let open = connect(address, client()).unwrap();
    let mut taken = listener.accept().unwrap();
    let mut untaken = connect(address, client()).unwrap();
    let mut silent = TcpStream::connect(address).unwrap();

    drop(listener);

    assert!(untaken.receive().map_or(true, |message| message.is_none()));
    // The silent one may still have waited in the queue of the system, which resets it.
    let _ = silent.read_to_end(&mut Vec::new());
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    open.send("still there").unwrap();
    assert_eq!(taken.receive().unwrap().unwrap(), "still there");
}

#[test]
fn send_waits_for_room_and_nothing_is_lost() {
    const COUNT: usize = 20_000;
    let mut config = client();
    config.send_queue = 4096;
    let (near, mut far) = pair(config);
    let sent = AtomicUsize::new(0);

    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                let mut message = vec![0; 1000];
                message[..8].copy_from_slice(&number.to_be_bytes());
                near.send(message).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
            near.flush().unwrap();
        });
        let taken = standstill(&sent);
        assert!(taken < COUNT, "all was taken although nobody received");

        for number in 0..COUNT {
            let message = far.receive().unwrap().unwrap();
            assert_eq!(message[..8], number.to_be_bytes());
        }
    });
}

#[test]
fn two_ends_that_both_send_and_never_receive_stall_and_then_lose_nothing() {
    const COUNT: usize = 10_000;
    let (near, far) = pair(client());
    let sent = AtomicUsize::new(0);
    let (one, mut first) = near.split();
    let (other, mut second) = far.split();

    thread::scope(|scope| {
        for sender in [&one, &other] {
            scope.spawn(|| {
                for _ in 0..COUNT {
                    sender.send(vec![1; 4000]).unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // What is between them holds less than they want to send.
        assert!(standstill(&sent) < 2 * COUNT);

        for receiver in [&mut first, &mut second] {
            scope.spawn(|| {
                for _ in 0..COUNT {
                    assert_eq!(receiver.receive().unwrap().unwrap().len(), 4000);
                }
            });
        }
    });
}

#[test]
fn an_application_that_does_not_receive_makes_the_peer_stop() {
    let (near, far) = pair(client());
    let sent = AtomicUsize::new(0);

    thread::scope(|scope| {
        scope.spawn(|| {
            while near.send(vec![0; 100_000]).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        let taken = standstill(&sent);

        // Socket buffers, both queues, and little else.
        assert!(taken < 200, "{taken} messages of 100,000 octets were taken");
        drop(far);
    });
}

#[test]
fn flush_waits_until_the_system_has_it_all() {
    let (near, mut raw) = raw_peer(client());
    near.send(vec![7; 100_000]).unwrap();

    near.flush().unwrap();

    // What can be read at once is what the system had.
    raw.set_nonblocking(true).unwrap();
    let packets = 100_000_usize.div_ceil(8189);
    raw.read_exact(&mut vec![0; 100_000 + packets * 7]).unwrap();
    let more = raw.read(&mut [0]).unwrap_err();
    assert_eq!(more.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn many_threads_flush_at_once() {
    let (near, mut far) = pair(client());
    let (sender, _receiver) = near.split();

    thread::scope(|scope| {
        for number in 0..8_u8 {
            let sender = sender.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    sender.send(vec![number; 5000]).unwrap();
                    sender.flush().unwrap();
                }
            });
        }
        for _ in 0..400 {
            assert_eq!(far.receive().unwrap().unwrap().len(), 5000);
        }
    });
}

#[test]
fn a_flush_that_the_end_overtakes_says_so() {
    let (near, raw) = raw_peer(client());
    let flood = thread::spawn(move || {
        // More than the buffers of the system hold.
        for _ in 0..500 {
            near.send(vec![7; 200_000])?;
        }
        near.flush()
    });
    reset(raw);

    let error = flood.join().unwrap().unwrap_err();

    assert!(matches!(error, Error::Ended(_)), "{error}");
    assert!(error.to_string().contains("reset"), "{error}");
}

#[test]
fn close_sends_everything_first_and_waits_for_the_peer() {
    let (near, mut far) = pair(client());
    for _ in 0..100 {
        near.send(vec![5; 10_000]).unwrap();
    }
    let closing = thread::spawn(move || near.close());

    for _ in 0..100 {
        assert_eq!(far.receive().unwrap().unwrap().len(), 10_000);
    }
    assert_eq!(far.receive().unwrap(), None);
    assert_eq!(far.receive().unwrap(), None);

    closing.join().unwrap().unwrap();
    let late = far.send("late").unwrap_err();
    assert!(matches!(late, Error::Ended(_)), "{late}");
}

#[test]
fn dropping_a_connection_sends_what_was_accepted_and_closes_it() {
    let (near, mut far) = pair(client());
    for _ in 0..100 {
        near.send(vec![5; 10_000]).unwrap();
    }
    drop(near);

    for _ in 0..100 {
        assert_eq!(far.receive().unwrap().unwrap().len(), 10_000);
    }
    assert_eq!(far.receive().unwrap(), None);
}

#[test]
fn one_half_alone_keeps_the_connection() {
    let (near, far) = pair(client());
    let (sender, receiver) = near.split();
    let (far_sender, mut far_receiver) = far.split();
    drop(receiver);
    drop(far_sender);

    sender.send("still there").unwrap();
    assert_eq!(far_receiver.receive().unwrap().unwrap(), "still there");
    drop(sender);

    assert_eq!(far_receiver.receive().unwrap(), None);
}

#[test]
fn a_peer_that_takes_nothing_does_not_hold_a_closed_connection_for_ever() {
    let mut config = client();
    config.drain_timeout = Duration::from_millis(50);
    config.send_queue = 2 * TOO_MUCH;
    let (near, mut raw) = raw_peer(config);
    let (sender, _receiver) = near.split();
    sender.send(vec![7; TOO_MUCH]).unwrap();

    let error = sender.close().unwrap_err();

    let Error::Ended(end) = &error else {
        panic!("{error}");
    };
    assert!(matches!(end.reason, EndReason::SendStalled(_)), "{end}");
    assert!(end.unsent > 0);
    let cut_off = raw.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(cut_off.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_message_that_is_refused_leaves_the_connection_as_it_was() {
    let (near, mut far) = pair(client());

    let empty = near.send(Bytes::new()).unwrap_err();
    let long = near.send(vec![0; 1 << 21]).unwrap_err();
    let expedited = near.send_expedited("now").unwrap_err();
    near.send("after").unwrap();

    assert_eq!(
        empty.to_string(),
        "empty messages are disabled by the configuration"
    );
    assert_eq!(
        long.to_string(),
        "message of 2097152 octets exceeds the limit of 2097088"
    );
    assert_eq!(
        expedited.to_string(),
        "the peer did not agree to expedited data"
    );
    assert_eq!(far.receive().unwrap().unwrap(), "after");
}

#[test]
fn expedited_data_can_be_told_apart() {
    let mut server = Config::responder(Policy::AcceptAny);
    server.expedited = true;
    let listener = listen(here(), server).unwrap();
    let mut config = client();
    config.expedited = true;
    let near = connect(listener.local_addr(), config).unwrap();
    let mut far = listener.accept().unwrap();

    near.send_expedited("hurry").unwrap();

    let incoming = far.incoming().unwrap().unwrap();
    assert_eq!(incoming, Incoming::Expedited(Bytes::from_static(b"hurry")));
}

#[test]
fn receiving_can_be_given_up_and_taken_up_again() {
    let (near, mut far) = pair(client());

    let late = far.receive_timeout(Duration::from_millis(5)).unwrap_err();
    near.send("at last").unwrap();
    let message = far.receive_timeout(AT_LAST).unwrap();
    near.close().unwrap();

    assert_eq!(io::Error::from(late).kind(), io::ErrorKind::TimedOut);
    assert_eq!(message.unwrap(), "at last");
    assert_eq!(far.receive_timeout(AT_LAST).unwrap(), None);
}

#[test]
fn a_stream_is_taken_over_after_the_handshake_with_nothing_lost() {
    let mut server = Config::responder(Policy::AcceptAny);
    server.after_handshake = AfterHandshake::Pause;
    let listener = listen(here(), server).unwrap();
    let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
    // The CR and what follows the handshake in one go, as a hasty peer may do.
    let mut hello = CR.to_vec();
    hello.extend_from_slice(b"\x16\x03\x01client hello");
    raw.write_all(&hello).unwrap();
    let mut connection = listener.accept().unwrap();

    let mut handed = connection.detach().unwrap();
    raw.write_all(b", more").unwrap();
    let mut all = vec![0; 15 + 6];
    let early = handed.early.len();
    all[..early].copy_from_slice(&handed.early);
    handed.stream.read_exact(&mut all[early..]).unwrap();
    handed.stream.write_all(b"server hello").unwrap();

    assert_eq!(all, b"\x16\x03\x01client hello, more");
    let mut answer = vec![0; 14 + 12];
    raw.read_exact(&mut answer).unwrap();
    assert_eq!(answer[5], 0xD0, "a CC");
    assert_eq!(&answer[14..], b"server hello");
    assert_eq!(connection.receive().unwrap(), None);
    assert!(connection.send("late").is_err());
}

#[test]
fn an_initiator_takes_a_stream_over_while_its_reader_waits_for_the_peer() {
    let (mut near, mut raw) = raw_peer(client());

    let mut handed = near.detach().unwrap();
    handed.stream.write_all(b"client hello").unwrap();
    let mut hello = [0; 12];
    raw.read_exact(&mut hello).unwrap();
    raw.write_all(b"server hello").unwrap();
    handed.stream.read_exact(&mut hello).unwrap();

    assert!(handed.early.is_empty());
    assert_eq!(&hello, b"server hello");
}

#[test]
fn messages_that_came_before_a_take_over_can_still_be_received() {
    let mut server = Config::responder(Policy::AcceptAny);
    server.receive_queue = 1000;
    let listener = listen(here(), server).unwrap();
    let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
    raw.write_all(CR).unwrap();
    let mut connection = listener.accept().unwrap();
    for _ in 0..30 {
        raw.write_all(b"\x03\0\0\x0a\x02\xf0\x80abc").unwrap();
    }

    let handed = connection.detach().unwrap();

    let mut received = 0;
    while let Some(message) = connection.receive().unwrap() {
        assert_eq!(message, "abc");
        received += 1;
    }
    let mut rest = handed.early.to_vec();
    let mut stream = handed.stream;
    raw.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(received * 10 + rest.len(), 300);
}

#[test]
fn a_take_over_in_the_middle_of_a_message_is_refused_and_the_connection_goes_on() {
    let listener = server(Policy::AcceptAny);
    let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
    raw.write_all(CR).unwrap();
    let mut connection = listener.accept().unwrap();
    // The whole message and the part of one come together.
    raw.write_all(b"\x03\0\0\x08\x02\xf0\x80!\x03\0\0\x0a\x02\xf0\x00abc")
        .unwrap();
    assert_eq!(connection.receive().unwrap().unwrap(), "!");

    let error = connection.detach().unwrap_err();
    raw.write_all(b"\x03\0\0\x0a\x02\xf0\x80def").unwrap();

    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert_eq!(connection.receive().unwrap().unwrap(), "abcdef");
}

#[test]
fn a_stream_that_breaks_off_inside_a_message_is_no_clean_end() {
    let listener = server(Policy::AcceptAny);
    let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
    raw.write_all(CR).unwrap();
    let mut connection = listener.accept().unwrap();
    raw.write_all(b"\x03\0\0\x0a\x02\xf0\x80ab").unwrap();
    drop(raw);

    let error = connection.receive().unwrap_err();

    let Error::Ended(end) = &error else {
        panic!("{error}");
    };
    assert!(end.incomplete > 0, "{error}");
}

#[test]
fn many_connections_live_on_one_listener() {
    const COUNT: usize = 100;
    let listener = server(Policy::AcceptAny);
    let address = listener.local_addr();
    let talk = move |number: usize| {
        let mut connection = connect(address, client()).unwrap();
        for round in 0..3 {
            let message = format!("{number} {round}");
            connection.send(message.clone()).unwrap();
            assert_eq!(connection.receive().unwrap().unwrap(), message);
        }
        connection.close().unwrap();
    };

    thread::scope(|scope| {
        for number in 0..COUNT {
            scope.spawn(move || talk(number));
        }
        for _ in 0..COUNT {
            let connection = listener.accept().unwrap();
            scope.spawn(|| echo(connection).unwrap());
        }
    });
}

#[test]
fn a_connection_opens_on_a_stream_that_is_there_already() {
    let listener = server(Policy::AcceptAny);
    let stream = TcpStream::connect(listener.local_addr()).unwrap();

    let near = connect_on(stream, client()).unwrap();
    let mut far = listener.accept().unwrap();
    near.send("hello").unwrap();

    assert_eq!(far.receive().unwrap().unwrap(), "hello");
}

/// More octets than fit the buffers of the system.
const TOO_MUCH: usize = 1 << 26;

/// A CR without parameters.
const CR: &[u8] = b"\x03\0\0\x0b\x06\xe0\0\0\x12\x34\0";

fn client() -> Config {
    Config::initiator(Some(Selector::from(1)), Some(Selector::from(2)))
}

fn server(policy: Policy) -> Listener {
    listen(here(), Config::responder(policy)).unwrap()
}

fn pair(config: Config) -> (Connection, Connection) {
    let listener = server(Policy::AcceptAny);
    let near = connect(listener.local_addr(), config).unwrap();
    (near, listener.accept().unwrap())
}

/// Serves one bare stream in a thread.
fn bare_server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, thread::JoinHandle<T>) {
    let listener = TcpListener::bind(here()).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || serve(listener.accept().unwrap().0));
    (address, thread)
}

/// An open connection and the bare stream at its other end.
fn raw_peer(config: Config) -> (Connection, TcpStream) {
    let (address, answering) = bare_server(|mut stream| {
        let mut request = [0; 100];
        let count = stream.read(&mut request).unwrap();
        assert!(count > 10);
        let mut confirm = *b"\x03\0\0\x0b\x06\xd0\0\0\0\x01\0";
        confirm[6..8].copy_from_slice(&request[8..10]);
        stream.write_all(&confirm).unwrap();
        stream
    });
    let connection = connect(address, config).unwrap();
    (connection, answering.join().unwrap())
}

fn request(listener: &Listener) -> cotp::Request {
    match listener.next().unwrap() {
        Arrival::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn echo(mut connection: Connection) -> Result<(), Error> {
    while let Some(message) = connection.receive()? {
        connection.send(message)?;
    }
    Ok(())
}

fn reset(stream: TcpStream) {
    let linger = Some(Duration::ZERO);
    socket2::SockRef::from(&stream).set_linger(linger).unwrap();
    drop(stream);
}

/// Waits until the count moves no more, and returns it.
fn standstill(count: &AtomicUsize) -> usize {
    let mut last = usize::MAX;
    loop {
        thread::park_timeout(Duration::from_millis(300));
        let now = count.load(Ordering::Relaxed);
        if now == last {
            return now;
        }
        last = now;
    }
}
