//! Recorded connections under the tokio driver.

use bytes::Bytes;
use farlink::adapters::raw::{self, DriverOptions, Events, Notice};
use farlink::adapters::runtime::TcpIo;
use farlink::adapters::tokio::runtime;
use farlink::cotp::{Command, Config, Connection, Event, Policy};
use farlink::record::{Recorder, RecordingEnd};
use tokio::net::{TcpListener, TcpStream};

use crate::replayed;
use crate::sink::Sink;

type Heard = Events<Recorder<Connection>>;

#[tokio::test]
async fn a_session_over_loopback_replays_at_both_ends() {
    let files = [Sink::default(), Sink::default()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let near = TcpStream::connect(address).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let initiator = files[0].recorder(Config::default(), 1);
    let responder = files[1].recorder(Config::responder(Policy::AcceptAny), 2);
    let (runtime, options) = (runtime(), DriverOptions::default);
    let (near, mut near_events) = raw::stream(&runtime, initiator, io(near), options());
    let (far, mut far_events) = raw::stream(&runtime, responder, io(far), options());

    connected(&mut near_events).await;
    connected(&mut far_events).await;
    for size in [1, 100_000, 7, 300_000] {
        let message = Bytes::from(vec![0xa5; size]);
        near.command(Command::Send(message.clone())).await.unwrap();
        assert_eq!(received(&mut far_events).await, message);
        far.command(Command::Send(message.clone())).await.unwrap();
        assert_eq!(received(&mut near_events).await, message);
    }
    near.command(Command::Close).await.unwrap();
    closed(&mut near_events).await;
    closed(&mut far_events).await;
    near.closed().await.unwrap();
    far.closed().await.unwrap();
    drop((near, near_events, far, far_events));

    for file in &files {
        // A recording is finished when its machine is dropped, by its driver.
        let outcome = loop {
            let outcome = replayed(file);
            if outcome.end == RecordingEnd::Finished {
                break outcome;
            }
            tokio::task::yield_now().await;
        };
        assert!(outcome.calls > 20);
    }
}

fn io(stream: TcpStream) -> TcpIo {
    TcpIo::new(&*runtime(), stream.into_std().unwrap().into()).unwrap()
}

async fn event(events: &mut Heard) -> Event {
    match events.recv().await {
        Some(Notice::Event(event)) => event,
        other => panic!("no event: {other:?}"),
    }
}

async fn connected(events: &mut Heard) {
    let event = event(events).await;
    assert!(matches!(event, Event::Connected(_)), "{event:?}");
}

async fn received(events: &mut Heard) -> Bytes {
    match event(events).await {
        Event::Received(message) => message,
        other => panic!("no message: {other:?}"),
    }
}

async fn closed(events: &mut Heard) {
    let event = event(events).await;
    assert!(matches!(event, Event::Closed(_)), "{event:?}");
}
