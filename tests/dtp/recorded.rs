//! A transfer in the simulator, recorded at both ends and replayed.

use core::time::Duration;

use bytes::Bytes;
use farlink::dtp::{Command, Config, Event, GetOptions, Node};
use farlink::record::{Recorder, replay};
use farlink::sim::{Line, World};
use farlink::{Instant, Tag};

use crate::sink::Sink;

#[test]
fn a_transfer_with_losses_replays_at_both_ends() {
    let sinks = [Sink::default(), Sink::default()];
    let node = |address: u16, sink: &Sink| -> Recorder<Node> {
        let mut config = Config::default();
        config.csp.address = address;
        sink.recorder(config, address.into())
    };
    let mut world = World::new(5);
    let server = world.host(1, node(1, &sinks[0]));
    let client = world.host(2, node(2, &sinks[1]));
    let line = Line {
        loss: 0.05,
        ..Line::delayed(Duration::from_millis(20))
    };
    world.wire((server, 0), (client, 0), line);
    let data = Bytes::from(vec![7; 9000]);
    let serve = Command::Serve { payload: 3, data };
    world.command(server, serve).unwrap();
    let get = Command::Get {
        tag: Tag(1),
        server: 1,
        payload: 3,
        options: GetOptions::default(),
    };
    world.command(client, get).unwrap();
    world.run_until(Instant::ZERO + Duration::from_secs(60));

    let events = world.events(client);
    let complete = |event: &Event| matches!(event, Event::Complete { .. });
    assert_eq!(events.filter(|(_, event)| complete(event)).count(), 1);
    drop(world);
    for sink in &sinks {
        let outcome = replay::<Node>(&sink.octets()).unwrap();
        assert!(outcome.matches(), "{outcome}");
    }
}
