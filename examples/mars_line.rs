//! A block on its way to Mars: twelve minutes of light time, every tenth segment lost, in milliseconds.
//!
//! `cargo run --features sim,ltp --example mars_line`

#![expect(
    clippy::std_instead_of_core,
    reason = "an example is read by people who write std"
)]

use std::time::Duration;

use farlink::ltp::{Block, Config, Engine, Event, Peer, Service};
use farlink::sim::{Line, World};
use farlink::{Hop, Tag};

const LIGHT_TIME: Duration = Duration::from_secs(12 * 60);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hop = |via| Hop { interface: 0, via };
    let mut world = World::new(7);
    let (one, two) = (world.seed("earth"), world.seed("mars"));
    let earth = world.host(1, Engine::new(Config::engine(1), one)?);
    let mars = world.host(2, Engine::new(Config::engine(2), two)?);
    let line = Line {
        loss: 0.1,
        rate: Some(1_000_000),
        ..Line::delayed(LIGHT_TIME)
    };
    world.wire((earth, 0), (mars, 0), line);

    world.with(earth, |engine, now| {
        let peer = Peer::at(hop(2)).radio(100_000, LIGHT_TIME);
        engine.add_peer(now, 2, peer)?;
        let block = Block::red(Tag(1), 2, 4, vec![7; 100_000].into());
        engine.send_block(now, block)
    })?;
    world.with(mars, |engine, now| {
        engine.add_peer(now, 1, Peer::at(hop(1)).at_distance(LIGHT_TIME))?;
        engine.open(now, 4, Service::Whole)
    })?;
    world.run_until_idle(Duration::from_secs(24 * 3600));

    for (time, event) in world.events(mars) {
        if let Event::Received { data, .. } = event {
            println!("{time} Mars has {} octets", data.len());
        }
    }
    for (time, event) in world.events(earth) {
        if let Event::Complete { .. } = event {
            println!("{time} Earth knows");
        }
    }
    println!("{}", world.statistics());
    Ok(())
}
