//! Recorded connections under the tokio driver.

use bytes::Bytes;
use farlink::adapters::raw::{self, DriverOptions, Handle, Notice};
use farlink::adapters::runtime::TcpIo;
use farlink::adapters::tokio::runtime;
use farlink::cotp::{Command, Config, Connection, Event, Policy};
use farlink::record::{Recorder, RecordingEnd};
use tokio::net::{TcpListener, TcpStream};

use crate::replayed;
use crate::sink::Sink;

type Held = Handle<Recorder<Connection>>;

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
    let mut near = raw::stream(&runtime, initiator, io(near), options());
    let mut far = raw::stream(&runtime, responder, io(far), options());

    connected(&mut near).await;
    connected(&mut far).await;
    for size in [1, 100_000, 7, 300_000] {
        let message = Bytes::from(vec![0xa5; size]);
        near.command(Command::Send(message.clone())).await.unwrap();
        assert_eq!(received(&mut far).await, message);
        far.command(Command::Send(message.clone())).await.unwrap();
        assert_eq!(received(&mut near).await, message);
    }
    near.command(Command::Close).await.unwrap();
    closed(&mut near).await;
    closed(&mut far).await;
    near.commands().closed().await.unwrap();
    far.commands().closed().await.unwrap();

    for file in &files {
        let outcome = replayed(file);
        assert!(outcome.calls > 20);
        assert_eq!(outcome.end, RecordingEnd::Finished);
    }
}

fn io(stream: TcpStream) -> TcpIo {
    TcpIo::new(&*runtime(), stream.into_std().unwrap().into()).unwrap()
}

async fn event(handle: &mut Held) -> Event {
    match handle.next().await {
        Some(Notice::Event(event)) => event,
        other => panic!("no event: {other:?}"),
    }
}

async fn connected(handle: &mut Held) {
    let event = event(handle).await;
    assert!(matches!(event, Event::Connected(_)), "{event:?}");
}

async fn received(handle: &mut Held) -> Bytes {
    match event(handle).await {
        Event::Received(message) => message,
        other => panic!("no message: {other:?}"),
    }
}

async fn closed(handle: &mut Held) {
    let event = event(handle).await;
    assert!(matches!(event, Event::Closed(_)), "{event:?}");
}
