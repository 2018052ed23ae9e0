//! A client behind a NAT and a server, over a line that loses, in the simulator.

use alloc::collections::VecDeque;
use core::convert::Infallible;
use core::time::Duration;

use farlink::record::{Recorder, replay};
use farlink::sim::{Ip, Line, Nat, World};
use farlink::stun::{
    Attribute, Class, Client, Command, Config, Event, Message, MessageWriter, Method, Query,
    QueryFailure, TransactionId,
};
use farlink::{Addr as _, Instant, Link, Machine, Output, Path, Proto, Tag, Transmit};

use crate::sink::Sink;
use crate::talk::{addr, server};

/// A server that answers Binding requests and knows nothing else.
#[derive(Debug, Default)]
struct Responder(VecDeque<(Path, TransactionId)>);

impl Machine for Responder {
    type Addr = Path;
    type Command = Infallible;
    type Event = ();
    type Error = Infallible;

    fn receive(&mut self, _: Instant, from: Path, octets: &[u8]) {
        if let Ok(message) = Message::decode(octets) {
            self.0.push_back((from, message.id()));
        }
    }

    fn link(&mut self, _: Instant, _: Path, _: Link) {}

    fn command(&mut self, _: Instant, command: Infallible) -> Result<(), Infallible> {
        match command {}
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<Path>) -> Output<Path, ()> {
        tx.clear();
        let Some((to, id)) = self.0.pop_front() else {
            return Output::Idle(None);
        };
        let mut answer = Vec::new();
        let mut writer = MessageWriter::new(&mut answer, Method::BINDING, Class::Success, id);
        writer.attribute(&Attribute::XorMappedAddress(to.remote));
        assert!(tx.push(to, answer.len(), |out| out.extend(&answer)));
        assert_eq!(to.carrier(), Path::socket(Proto::Udp, server()));
        Output::Transmit
    }
}

/// Asks ten times over a line with this loss, and returns what the client was told and its recording.
fn asked(seed: u64, loss: f64) -> (Vec<Event>, Sink) {
    let sink = Sink::default();
    let client: Recorder<Client> = sink.recorder(Config::default(), seed);
    let mut world = World::new(seed);
    world.internet(Line {
        loss,
        ..Line::delayed(Duration::from_millis(30))
    });
    let nat = world.nat(Ip::at([198, 51, 100, 1]), Nat::port_restricted_cone());
    let responder = world.host(Ip::at([192, 0, 2, 1]), Responder::default());
    world.bind(responder, Proto::Udp, server());
    let client = world.host(Ip::at([10, 0, 0, 2]).behind(nat), client);
    for tag in 0..10 {
        let to = Path::udp(addr("10.0.0.2:0"), server());
        let query = Query::default();
        let tag = Tag(tag);
        world
            .command(client, Command::Query { tag, to, query })
            .unwrap();
    }
    world.run_for(Duration::from_secs(60));
    let events = world
        .events(client)
        .map(|(_, event)| event.clone())
        .collect();
    drop(world);
    (events, sink)
}

#[test]
fn a_client_behind_a_nat_learns_its_outer_address_and_its_recording_replays() {
    for seed in 0..30 {
        let (events, sink) = asked(seed, 0.1);
        assert_eq!(events.len(), 10, "seed {seed}");
        for event in &events {
            let Event::Answered { answer, .. } = event else {
                panic!("seed {seed}: {event:?}");
            };
            assert_eq!(answer.mapped.ip(), addr("198.51.100.1:0").ip());
            assert_eq!(answer.path.local.ip(), addr("10.0.0.2:0").ip());
            assert_ne!(answer.mapped, answer.path.local);
        }
        let outcome = replay::<Client>(&sink.octets()).unwrap();
        assert!(outcome.matches(), "seed {seed}: {outcome}");
    }
}

#[test]
fn over_a_line_that_loses_all_every_query_ends_in_silence() {
    let (events, _) = asked(1, 1.0);

    let silent = |event: &Event| {
        let Event::Failed { failure, .. } = event else {
            return false;
        };
        matches!(failure, QueryFailure::Silent(silence) if silence.sends == 7)
    };
    assert_eq!(events.iter().filter(|event| silent(event)).count(), 10);
}
