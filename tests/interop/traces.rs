//! Traces of the simulator, dissected by tshark.

use core::convert::Infallible;
use core::time::Duration;

use bytes::Bytes;
use farlink::cotp::{Command, Config, Connection, Policy};
use farlink::sim::{FaultRule, Host, Line, StreamLine, World};
use farlink::{Instant, Link, Machine, Output, Transmit};

use crate::tshark::tshark;

/// The fields that are dissected of each packet.
const FIELDS: [&str; 6] = [
    "frame.protocols",
    "cotp.type",
    "frame.comment",
    "tcp.checksum.status",
    "tcp.analysis.flags",
    "_ws.malformed",
];

fn joined(line: StreamLine) -> (World, [Host<Connection>; 2]) {
    let mut world = World::new(1);
    let configs = [Config::default(), Config::responder(Policy::AcceptAny)];
    let hosts = configs.map(|config| {
        let connection = Connection::new(config, &world.seed("cotp")).unwrap();
        world.host((), connection)
    });
    world.connect(hosts[0], hosts[1], line);
    world.run_until(Duration::from_secs(5));
    (world, hosts)
}

/// A message that no dissector takes for one of an upper protocol.
fn message(len: usize) -> Command {
    Command::Send(Bytes::from(vec![0xfe; len]))
}

#[test]
#[ignore = "needs tshark"]
fn cotp_of_a_world_is_dissected_by_name_in_a_sound_tcp_stream() {
    let (mut world, [one, two]) = joined(StreamLine::delayed(Duration::from_secs(1)));
    world.command(one, message(70_000)).unwrap();
    world.command(two, message(10)).unwrap();
    world.run_until(Duration::from_secs(10));
    world.command(one, Command::Close).unwrap();
    world.run_until(Duration::from_secs(20));

    let packets = tshark("world", &world.trace().pcapng(102), &FIELDS);

    let mut types = String::new();
    for packet in &packets {
        let [protocols, cotp, _, checksum, analysis, malformed] = &packet[..] else {
            panic!("{packet:?}");
        };
        assert_eq!(
            (checksum.as_str(), analysis.as_str(), malformed.as_str()),
            ("1", "", "")
        );
        if !cotp.is_empty() {
            assert!(protocols.contains("tcp:tpkt:cotp"), "{protocols}");
            types.push_str(&cotp.replace("0x", ""));
            types.push(' ');
        }
    }
    assert!(types.starts_with("0e 0d 0f,0f,0f"), "{types}");
    let comments: Vec<&str> = packets.iter().map(|packet| packet[2].as_str()).collect();
    assert!(comments[0].starts_with("made up: "), "{comments:?}");
    assert!(comments[1..].iter().all(|comment| comment.is_empty()));
}

#[test]
#[ignore = "needs tshark"]
fn what_was_cut_off_has_a_comment() {
    let (mut world, [one, two]) = joined(StreamLine::delayed(Duration::from_secs(1)));
    world.command(one, message(10)).unwrap();
    world.reset(two, ());
    world.run_until(Duration::from_secs(10));

    let packets = tshark("cut", &world.trace().pcapng(102), &FIELDS);

    let commented = packets.iter().filter(|packet| packet[2].contains("lost"));
    let commented: Vec<&[String]> = commented.map(|packet| &packet[1..3]).collect();
    assert_eq!(commented, [["0x0f", "lost after 1s: cut off"]]);
}

/// Sends the same datagram on each command.
#[derive(Default)]
struct Speaker(u32);

impl Machine for Speaker {
    type Addr = u8;
    type Command = ();
    type Event = ();
    type Error = Infallible;

    fn receive(&mut self, _: Instant, _: u8, _: &[u8]) {}

    fn link(&mut self, _: Instant, _: u8, _: Link) {}

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Infallible> {
        self.0 += 1;
        Ok(())
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<u8>) -> Output<u8, ()> {
        // A red segment, checkpoint and end of block, of session 1.1 to client 1.
        const LTP: [u8; 12] = [3, 1, 1, 0, 1, 0, 3, 1, 0, b'a', b'b', b'c'];
        tx.clear();
        if self.0 == 0 {
            return Output::Idle(None);
        }
        self.0 -= 1;
        tx.push(2, LTP.len(), |out| out.extend_from_slice(&LTP));
        Output::Transmit
    }
}

#[test]
#[ignore = "needs tshark"]
fn numbered_machines_are_dissected_by_their_port_and_losses_are_marked() {
    let mut world = World::new(1);
    let earth = world.host(1, Speaker::default());
    let mars = world.host(2, Speaker::default());
    let line = Line::delayed(Duration::from_secs(720)).with_rule(FaultRule::nth(2).lost());
    world.line(earth, mars, line);
    for _ in 0..3 {
        world.command(earth, ()).unwrap();
        world.run_for(Duration::from_secs(1000));
    }

    let fields = ["ltp.session.number", "udp.checksum.status", "frame.comment"];
    let packets = tshark("numbered", &world.trace().pcapng(1113), &fields);

    let lines: Vec<String> = packets.iter().map(|packet| packet.join(" ")).collect();
    assert_eq!(
        lines,
        [
            "1 1 ",
            "1 1 sent again, lost: lost by choice",
            "1 1 sent again"
        ]
    );
}
