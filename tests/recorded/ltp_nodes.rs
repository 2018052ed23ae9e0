//! Recorded LTP nodes: what the handles did to the engine replays octet by octet.

use std::net::{Ipv4Addr, SocketAddr};

use farlink::Path;
use farlink::adapters::ltp::{Maker, Options};
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
        earth.add_peer(2, Peer::new(mars.local_addr())).unwrap();
        mars.add_peer(1, Peer::new(earth.local_addr())).unwrap();
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
    earth.add_peer(2, Peer::new(mars.local_addr())).unwrap();
    mars.add_peer(1, Peer::new(earth.local_addr())).unwrap();
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

fn here() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn recorded(engine: u64, file: &Sink) -> Options {
    let mut config = Config::engine(engine);
    // So little that the engine hears of every block that waits.
    config.import_octets = 2_000_000;
    let mut options = Options::from(config);
    let file = file.clone();
    options.maker = Maker::new(move |config, seed, _| {
        let (file, options) = (file.clone(), record::RecordOptions::default());
        let recorder = Recorder::<Engine<Path>>::new(config, seed, file, options)?;
        Ok(Box::new(recorder))
    });
    options
}

fn assert_replays(files: &[Sink; 2]) {
    for file in files {
        let outcome = replay::<Engine<Path>>(&file.octets()).unwrap();
        assert!(outcome.matches(), "{outcome}");
        assert!(outcome.calls > 100, "{outcome}");
        assert_eq!(outcome.end, RecordingEnd::Finished);
    }
}
