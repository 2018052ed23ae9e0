//! Recorded LTP nodes replay octet by octet.

use std::net::{Ipv4Addr, SocketAddr};

use farlink::Path;
use farlink::adapters::ltp::{EngineFactory, EngineMachine, NodeOptions};
use farlink::ltp::{Config, Engine};
use farlink::record::{self, Recorder, RecordingEnd, replay};

use crate::sink::Sink;

const CLIENT: u64 = 4;
const SIZES: [usize; 4] = [1, 100_000, 7, 300_000];

#[cfg(feature = "blocking")]
#[test]
fn nodes_in_threads_replay_at_both_ends() {
    use farlink::adapters::blocking::ltp::Node;
    use farlink::ltp::Peer;

    let files = [Sink::default(), Sink::default()];
    {
        let earth = Node::bind(here(), recorded(1, &files[0])).unwrap();
        let mars = Node::bind(here(), recorded(2, &files[1])).unwrap();
        earth.add_peer(2, Peer::at(mars.local_addr())).unwrap();
        mars.add_peer(1, Peer::at(earth.local_addr())).unwrap();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        for size in SIZES {
            near.send(2, vec![0xa5; size]).unwrap();
            far.send(1, far.receive().unwrap().data).unwrap();
            assert_eq!(near.receive().unwrap().data, vec![0xa5; size]);
        }
    }

    assert_replays(&files);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn nodes_in_tasks_replay_at_both_ends() {
    use core::time::Duration;

    use farlink::adapters::tokio::ltp::Node;
    use farlink::ltp::Peer;

    let files = [Sink::default(), Sink::default()];
    let earth = Node::bind(here(), recorded(1, &files[0])).unwrap();
    let mars = Node::bind(here(), recorded(2, &files[1])).unwrap();
    earth.add_peer(2, Peer::at(mars.local_addr())).unwrap();
    mars.add_peer(1, Peer::at(earth.local_addr())).unwrap();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    for size in SIZES {
        near.send(2, vec![0xa5; size]).await.unwrap();
        let received = far.receive().await.unwrap();
        far.send(1, received.data).await.unwrap();
        assert_eq!(near.receive().await.unwrap().data, vec![0xa5; size]);
    }
    // The recordings are whole when it returns, though handles are left.
    earth.shutdown(Duration::from_secs(60)).await;
    mars.shutdown(Duration::from_secs(60)).await;

    assert_replays(&files);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_node_that_was_restored_replays() {
    use core::time::Duration;

    use farlink::adapters::tokio::ltp::Node;
    use farlink::ltp::{Peer, Red};

    let files = [Sink::default(), Sink::default()];
    let earth = Node::bind(here(), Config::engine(1)).unwrap();
    let mars = Node::bind(here(), recorded(2, &files[0])).unwrap();
    earth.add_peer(2, Peer::at(mars.local_addr())).unwrap();
    mars.add_peer(1, Peer::at(earth.local_addr())).unwrap();
    let (near, _far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    near.send(2, vec![0xa5; 1000]).await.unwrap();

    let saved = mars.suspend().await.unwrap();
    let mars = Node::restore(mars.local_addr(), recorded(2, &files[1]), saved).unwrap();
    let mut sending = near.start(2, vec![0xa5; 300_000], Red::All).await.unwrap();

    for size in [1000, 300_000] {
        let received = mars.points[0].receive().await.unwrap();
        assert_eq!(received.data.len(), size);
    }
    sending.wait().await.unwrap();
    mars.node.shutdown(Duration::from_secs(60)).await;
    for file in &files {
        let outcome = replay::<Engine<Path>>(&file.octets()).unwrap();
        assert!(outcome.matches(), "{outcome}");
    }
}

fn here() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn recorded(engine: u64, file: &Sink) -> NodeOptions {
    let mut config = Config::engine(engine);
    // So little that blocks which wait leave no room for more.
    config.limits.import_octets = 2_000_000;
    let file = file.clone();
    NodeOptions {
        factory: EngineFactory::new(move |setup| {
            let (config, seed, now) = (setup.config, setup.seed, setup.now);
            let options = record::RecordOptions::default();
            let recorder = match setup.saved {
                Some(saved) => {
                    let sink = record::single_part(file.clone());
                    Recorder::<Engine<Path>>::restore(config, seed, saved, now, sink, options)?
                }
                None => Recorder::new(config, seed, file.clone(), options)?,
            };
            Ok(EngineMachine::new(recorder))
        }),
        ..NodeOptions::from(config)
    }
}

fn assert_replays(files: &[Sink; 2]) {
    for file in files {
        let outcome = replay::<Engine<Path>>(&file.octets()).unwrap();
        assert!(outcome.matches(), "{outcome}");
        assert!(outcome.calls > 100, "{outcome}");
        assert_eq!(outcome.end, RecordingEnd::Finished);
    }
}
