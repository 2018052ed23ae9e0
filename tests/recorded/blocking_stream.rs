//! Recorded connections under the blocking driver.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use bytes::Bytes;
use farlink::adapters::blocking::raw::{self, Events};
use farlink::adapters::blocking::runtime;
use farlink::adapters::raw::{DriverOptions, Notice};
use farlink::adapters::runtime::TcpIo;
use farlink::cotp::{Command, Config, Connection, Event, Policy};
use farlink::record::Recorder;

use crate::replayed;
use crate::sink::Sink;

type Heard = Events<Recorder<Connection>>;

#[test]
fn a_session_over_loopback_replays_at_both_ends() {
    let files = [Sink::default(), Sink::default()];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    let initiator = files[0].recorder(Config::default(), 1);
    let responder = files[1].recorder(Config::responder(Policy::AcceptAny), 2);
    let (near, mut near_events) = raw::stream(initiator, io(near), DriverOptions::default());
    let (far, mut far_events) = raw::stream(responder, io(far), DriverOptions::default());

    connected(&mut near_events);
    connected(&mut far_events);
    for size in [1, 100_000, 7, 300_000] {
        let message = Bytes::from(vec![0xa5; size]);
        near.command(Command::Send(message.clone())).unwrap();
        assert_eq!(received(&mut far_events), message);
        far.command(Command::Send(message.clone())).unwrap();
        assert_eq!(received(&mut near_events), message);
    }
    near.command(Command::Close).unwrap();
    closed(&mut near_events);
    closed(&mut far_events);

    for file in &files {
        assert!(replayed(file).calls > 20);
    }
}

fn io(stream: TcpStream) -> TcpIo {
    stream.set_nonblocking(true).unwrap();
    TcpIo::new(&*runtime(), stream.into()).unwrap()
}

fn event(events: &mut Heard) -> Event {
    match events.recv() {
        Some(Notice::Event(event)) => event,
        other => panic!("no event: {other:?}"),
    }
}

fn connected(events: &mut Heard) {
    let event = event(events);
    assert!(matches!(event, Event::Connected(_)), "{event:?}");
}

fn received(events: &mut Heard) -> Bytes {
    match event(events) {
        Event::Received(message) => message,
        other => panic!("no message: {other:?}"),
    }
}

fn closed(events: &mut Heard) {
    let event = event(events);
    assert!(matches!(event, Event::Closed(_)), "{event:?}");
}
