//! Wireshark's command line reads the segments of our engines as our decoder does.

use core::num::NonZeroU32;
use core::time::Duration;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use bytes::Bytes;
use farlink::ltp::{
    Auth, Block, Body, Color, Command, Config, Engine, Extensions, Flow, Key, Numbers, Peer,
    Reason, Red, Redundancy, Segment, Service, SessionId,
};
use farlink::record::{Capture, FlowEventKind, Flows, Recorder, redact};
use farlink::sim::{FaultRule, Host, Line, World};
use farlink::{Instant, Limits, Machine as _, Output, Path, Seed, Tag, Transmit};

use crate::sink::Sink;
use crate::tshark::tshark;

/// What is compared of each segment, and what must be silent: the last ones are complaints.
const FIELDS: [&str; 24] = [
    "ltp.type",
    "ltp.session.orig",
    "ltp.session.number",
    "ltp.hdr.extn.tag",
    "ltp.trl.extn.tag",
    "ltp.data.client.id",
    "ltp.data.offset",
    "ltp.data.length",
    "ltp.data.chkp",
    "ltp.data.rpt",
    "ltp.rpt.sno",
    "ltp.rpt.chkp",
    "ltp.rpt.ub",
    "ltp.rpt.lb",
    "ltp.rpt.clm.cnt",
    "ltp.rpt.clm.off",
    "ltp.rpt.clm.len",
    "ltp.rpt.ack.sno",
    "ltp.cancel.code",
    "_ws.malformed",
    "ltp.sdnv_length_invalid",
    "ltp.mal_reception_claim",
    "ltp.serial_number_too_large",
    "udp.checksum.status",
];

/// The fields as our decoder has them.
fn fields(segment: &Segment<'_>) -> Vec<String> {
    let tags = |extensions: &Extensions<'_>| {
        let tags = extensions.iter().map(|one| format!("0x{:02x}", one.tag.0));
        tags.collect::<Vec<_>>().join(",")
    };
    let mut row = vec![
        format!("0x{:02x}", segment.body.code()),
        segment.session.originator.to_string(),
        segment.session.number.to_string(),
        tags(&segment.header),
        tags(&segment.trailer),
    ];
    row.resize(FIELDS.len(), String::new());
    let mut set = |name: &str, value: String| {
        let place = FIELDS.iter().position(|field| *field == name).unwrap();
        row[place] = value;
    };
    match &segment.body {
        Body::Data(data) => {
            set("ltp.data.client.id", data.client.to_string());
            set("ltp.data.offset", data.offset.to_string());
            set("ltp.data.length", data.octets.len().to_string());
            if let Color::Red(Some(checkpoint)) = data.color {
                set("ltp.data.chkp", checkpoint.serial.to_string());
                set("ltp.data.rpt", checkpoint.report.to_string());
            }
        }
        Body::Report(report) => {
            let list = |of: &dyn Fn(&core::ops::Range<u64>) -> u64| {
                let claims = report.claims.iter().map(|claim| of(&claim).to_string());
                claims.collect::<Vec<_>>().join(",")
            };
            set("ltp.rpt.sno", report.serial.to_string());
            set("ltp.rpt.chkp", report.checkpoint.to_string());
            set("ltp.rpt.ub", report.scope.end.to_string());
            set("ltp.rpt.lb", report.scope.start.to_string());
            set("ltp.rpt.clm.cnt", report.claims.count().to_string());
            set(
                "ltp.rpt.clm.off",
                list(&|claim| claim.start - report.scope.start),
            );
            set("ltp.rpt.clm.len", list(&|claim| claim.end - claim.start));
        }
        Body::ReportAck(serial) => set("ltp.rpt.ack.sno", serial.to_string()),
        Body::CancelBySender(reason) | Body::CancelByReceiver(reason) => {
            set("ltp.cancel.code", format!("0x{:02x}", reason.0));
        }
        Body::CancelAckToSender | Body::CancelAckToReceiver => {}
    }
    set("udp.checksum.status", "1".into());
    row
}

/// How well tshark 4.0 knows a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grasp {
    Full,
    /// It gives up at trailers, tries again from the beginning, and has nothing or everything twice.
    Extended,
    /// It wants two octets behind the session number, of which acknowledgments of a cancellation have one:
    /// those of ION are malformed to it, too.
    Type,
}

impl Grasp {
    fn of(segment: &Segment<'_>) -> Self {
        match segment.body {
            Body::CancelAckToSender | Body::CancelAckToReceiver => Self::Type,
            _ if segment.header.count() + segment.trailer.count() > 0 => Self::Extended,
            _ => Self::Full,
        }
    }

    fn agree(self, field: &str, ours: &str, theirs: &str) -> bool {
        let twice = || theirs == format!("{ours},{ours}");
        ours == theirs
            || match self {
                Self::Full => false,
                Self::Extended => theirs.is_empty() || twice(),
                Self::Type => field != "ltp.type",
            }
    }
}

/// Compares what both read in a capture, and gives the types of all segments in it.
fn both_read(name: &str, file: &[u8]) -> BTreeSet<u8> {
    let mut ours = Vec::new();
    let mut types = BTreeSet::new();
    let mut capture = Capture::open(file).unwrap();
    let mut flows = Flows::new();
    while let Some(packet) = capture.next_packet().unwrap() {
        flows.packet(&packet, |arrival| {
            if let FlowEventKind::Datagram(octets) = arrival.kind {
                let segment = Segment::decode(octets).unwrap();
                types.insert(segment.body.code());
                ours.push((fields(&segment), Grasp::of(&segment)));
            }
        });
    }

    let mut asked = FIELDS.to_vec();
    asked.push("frame.protocols");
    let theirs: Vec<Vec<String>> = tshark(name, file, &asked)
        .into_iter()
        .filter(|row| row.last().unwrap().contains("udp"))
        .map(|row| row[..FIELDS.len()].to_vec())
        .collect();

    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (number, ((ours, grasp), theirs)) in ours.iter().zip(&theirs).enumerate() {
        let mut differences = String::new();
        for (field, (ours, theirs)) in FIELDS.iter().zip(ours.iter().zip(theirs)) {
            if !grasp.agree(field, ours, theirs) {
                writeln!(differences, "{field}: {ours} and tshark {theirs}").unwrap();
            }
        }
        assert_eq!(differences, "", "{name}, segment {number}");
    }
    types
}

const LIGHT: Duration = Duration::from_millis(1300);

fn block(to: u64, red: Red, len: usize) -> Command<u64> {
    let data = core::iter::once(0xfe).chain((0..=u8::MAX).cycle());
    Command::Send(Block {
        red,
        ..Block::red(Tag(len as u64), to, 4, data.take(len).collect())
    })
}

/// Two engines that see each other as `peer` has it, and a line in each direction.
fn joined(
    config: &Config,
    lines: [Line; 2],
    peer: impl Fn(u64) -> Peer<u64>,
) -> (World, [Host<Engine<u64>>; 2]) {
    let mut world = World::new(1);
    let hosts = [1, 2].map(|id| {
        let config = Config {
            engine: id,
            ..config.clone()
        };
        let engine = Engine::new(config, world.seed(&id.to_string())).unwrap();
        world.host(id, engine)
    });
    let [one, two] = hosts;
    let [there, back] = lines;
    world.line_from(one, two, there);
    world.line_from(two, one, back);
    for (host, id) in [(one, 2), (two, 1)] {
        world
            .command(host, Command::AddPeer(id, Box::new(peer(id))))
            .unwrap();
    }
    world
        .command(two, Command::Open(4, Service::Whole))
        .unwrap();
    (world, hosts)
}

fn near(id: u64) -> Peer<u64> {
    Peer::at(id).with_flow(Flow::Unlimited).at_distance(LIGHT)
}

fn run(mut world: World) -> Vec<u8> {
    assert!(world.run_until_idle(Duration::from_secs(24 * 3600)));
    world.trace().pcapng(1113)
}

#[test]
#[ignore = "needs tshark"]
fn red_green_checkpoints_and_split_reports_have_the_same_bounds_and_claims() {
    let lossy = Line {
        loss: 0.3,
        ..Line::delayed(LIGHT)
    };
    let (mut world, [one, _]) = joined(&Config::default(), [lossy.clone(), lossy], |id| Peer {
        segment: 160,
        checkpoint_every: NonZeroU32::new(20),
        redundancy: Redundancy::Fixed(1),
        ..near(id)
    });
    for command in [
        block(2, Red::All, 20_000),
        block(2, Red::Octets(9_000), 15_000),
        block(2, Red::Octets(0), 1_000),
        block(2, Red::All, 1),
    ] {
        world.command(one, command).unwrap();
    }

    let types = both_read("ltp_lossy", &run(world));

    assert_eq!(types, BTreeSet::from([0, 1, 2, 3, 4, 7, 8, 9]));
}

#[test]
#[ignore = "needs tshark"]
fn cancels_of_both_sides_and_their_acknowledgments_are_read() {
    let plain = || [Line::delayed(LIGHT), Line::delayed(LIGHT)];
    let (mut world, [one, two]) = joined(&Config::default(), plain(), near);
    world.command(one, block(2, Red::All, 3_000)).unwrap();
    world.run_for(LIGHT / 2);
    world.command(one, Command::Cancel(Tag(3_000))).unwrap();
    world.run_for(10 * LIGHT);
    world.command(two, Command::Close(4)).unwrap();
    world.command(one, block(2, Red::All, 4_000)).unwrap();

    let types = both_read("ltp_cancels", &run(world));

    assert!(
        types.is_superset(&BTreeSet::from([12, 13, 14, 15])),
        "{types:?}"
    );
}

#[test]
#[ignore = "needs tshark"]
fn a_sender_that_gives_up_is_read() {
    let gone = Line::delayed(LIGHT).with_rule(FaultRule::every().lost());
    let (mut world, [one, _]) = joined(&Config::default(), [Line::delayed(LIGHT), gone], near);
    world.command(one, block(2, Red::All, 3_000)).unwrap();

    let types = both_read("ltp_silent", &run(world));

    assert_eq!(types, BTreeSet::from([0, 3, 8, 12, 13]));
}

#[test]
#[ignore = "needs tshark"]
fn long_numbers_and_authentication_are_read() {
    let key = Key {
        id: Bytes::from_static(b"k1"),
        secret: Bytes::from_static(b"between us"),
    };
    for (name, auth) in [("null", Auth::null()), ("hmac", Auth::hmac_sha1(key))] {
        let config = Config {
            numbers: Numbers::Bits64,
            ..Config::default()
        };
        let lines = [Line::delayed(LIGHT), Line::delayed(LIGHT)];
        let (mut world, [one, _]) = joined(&config, lines, |id| Peer {
            auth: auth.clone(),
            flow: Flow::rate(100_000).with_burst(1 << 16),
            ..near(id)
        });
        world
            .command(one, block(2, Red::Octets(5_000), 9_000))
            .unwrap();

        let types = both_read(&format!("ltp_auth_{name}"), &run(world));

        assert_eq!(types, BTreeSet::from([0, 2, 4, 7, 8, 9]));
    }
}

/// Sends a block between engines on IP, and gives what the sender recorded.
fn recording(ports: [u16; 2]) -> Vec<u8> {
    let [near, far] = ports;
    let (here, there) = (([10, 0, 0, 1], near).into(), ([10, 0, 0, 2], far).into());
    let (to_two, to_one) = (Path::udp(here, there), Path::udp(there, here));
    let sink = Sink::default();
    let now = Instant::from_nanos(1_000_000);
    let mut one: Recorder<Engine<Path>> = sink.recorder(Config::engine(1), 1);
    let mut two = Engine::new(Config::engine(2), Seed::from(2)).unwrap();
    one.command(
        now,
        Command::AddPeer(2, Box::new(Peer::at(to_two).with_flow(Flow::Unlimited))),
    )
    .unwrap();
    two.add_peer(now, 1, Peer::at(to_one).with_flow(Flow::Unlimited))
        .unwrap();
    two.open(now, 4, Service::Whole).unwrap();
    let block = Block::red(Tag(1), 2, 4, vec![0xfe; 9000].into());
    one.command(now, Command::Send(block)).unwrap();
    let mut tx = Transmit::new(Limits::default());
    let mut count = 0;
    for _ in 0..5 {
        while !matches!(one.poll(now, &mut tx), Output::Idle(_)) {
            for octets in tx.datagrams() {
                count += 1;
                if count != 3 {
                    two.receive(now, to_one, octets);
                }
            }
            tx.clear();
        }
        while !matches!(two.poll(now, &mut tx), Output::Idle(_)) {
            tx.datagrams()
                .for_each(|octets| one.receive(now, to_two, octets));
            tx.clear();
        }
    }
    drop(one);
    sink.octets()
}

#[test]
#[ignore = "needs tshark"]
fn the_recording_of_an_engine_is_read() {
    let file = recording([1113; 2]);

    let types = both_read("ltp_recording", &file);
    let redacted = tshark(
        "ltp_redacted",
        &redact(&file).unwrap(),
        &["frame.protocols", "udp.length"],
    );

    assert_eq!(types, BTreeSet::from([0, 1, 3, 8, 9]));
    let sizes = redacted.iter().filter(|row| row[0].contains("udp"));
    assert!(sizes.clone().all(|row| !row[1].is_empty()));
    assert!(sizes.count() > 10);
}

#[test]
#[ignore = "needs tshark"]
fn the_recording_of_an_engine_on_other_ports_is_read_as_well() {
    let read = |name: &str, ports: [u16; 2]| {
        let mut asked: Vec<&str> = FIELDS
            .into_iter()
            .filter(|it| it.starts_with("ltp."))
            .collect();
        asked.extend(["_ws.malformed", "_ws.col.Source"]);
        let rows = tshark(name, &recording(ports), &asked).into_iter();
        rows.filter(|row| !row[0].is_empty()).collect::<Vec<_>>()
    };

    let known = read("ltp_known_ports", [1113; 2]);
    let others = read("ltp_other_ports", [4000, 5000]);

    assert!(known.len() > 10);
    assert_eq!(others, known);
}

/// Over real sockets, with a segment that got lost.
#[cfg(feature = "cli")]
#[test]
#[ignore = "needs tshark"]
fn the_recording_of_the_demo_is_read() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tshark_demo");
    let mut demo = std::process::Command::new(env!("CARGO_BIN_EXE_farlink"));
    let output = demo
        .args(["demo", "--size", "1", "--out"])
        .arg(&folder)
        .output();
    assert!(output.unwrap().status.success());

    let types = both_read("demo", &std::fs::read(folder.join("ltp.pcapng")).unwrap());

    assert_eq!(types, BTreeSet::from([0, 1, 2, 4, 7, 8, 9]));
}

#[test]
#[ignore = "needs tshark"]
fn every_reason_is_read_in_sessions_of_long_names() {
    let mut world = World::new(1);
    let sayer = world.host(1, Sayer::default());
    let listener = world.host(2, Sayer::default());
    world.line(sayer, listener, Line::default());
    let session = SessionId {
        originator: 1 << 40,
        number: u64::MAX >> 1,
    };
    for reason in 0..7 {
        let mut octets = Vec::new();
        Segment::new(session, Body::CancelByReceiver(Reason(reason))).encode(&mut octets);
        world.command(sayer, octets).unwrap();
    }

    let types = both_read("ltp_reasons", &run(world));

    assert_eq!(types, BTreeSet::from([14]));
}

/// Says what it is told to say to host 2.
#[derive(Default)]
struct Sayer(Vec<Vec<u8>>);

impl farlink::Machine for Sayer {
    type Addr = u64;
    type Command = Vec<u8>;
    type Event = ();
    type Error = core::convert::Infallible;

    fn receive(&mut self, _: Instant, _: u64, _: &[u8]) {}

    fn link(&mut self, _: Instant, _: u64, _: farlink::Link) {}

    fn command(&mut self, _: Instant, octets: Vec<u8>) -> Result<(), Self::Error> {
        self.0.push(octets);
        Ok(())
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<u64>) -> Output<u64, ()> {
        tx.clear();
        let Some(octets) = self.0.pop() else {
            return Output::Idle(None);
        };
        tx.push(2, octets.len(), |out| out.extend_from_slice(&octets));
        Output::Transmit
    }
}
