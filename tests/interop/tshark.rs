//! Recordings, dissected by tshark.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::process::Command as Process;

use bytes::Bytes;
use farlink::cotp::{Command, Config, Connection, Policy, Selector};
use farlink::record::{NoSnapshot, Recorded, Recorder, redact};
use farlink::{Ask, Hop, Instant, Limits, Link, Machine, Output, Path, Seed, Transmit};
use serde::{Deserialize, Serialize};

use crate::sink::Sink;

/// Sends the octets of its commands.
pub(crate) struct Talker<A>(Vec<(A, Bytes)>);

#[derive(Serialize, Deserialize)]
pub(crate) struct Say<A>(
    pub(crate) A,
    #[serde(with = "farlink::hex")] pub(crate) Bytes,
);

impl<A: farlink::Addr> Machine for Talker<A> {
    type Addr = A;
    type Command = Say<A>;
    type Event = ();
    type Error = Infallible;

    fn receive(&mut self, _: Instant, _: A, _: &[u8]) {}

    fn link(&mut self, _: Instant, _: A, _: Link) {}

    fn command(&mut self, _: Instant, Say(to, octets): Say<A>) -> Result<(), Infallible> {
        self.0.push((to, octets));
        Ok(())
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<A>) -> Output<A, ()> {
        tx.clear();
        let Some((to, octets)) = self.0.pop() else {
            return Output::Idle(None);
        };
        tx.push(to, octets.len(), |out| out.extend_from_slice(&octets));
        Output::Transmit
    }
}

impl<A: farlink::record::RecordAddr> Recorded for Talker<A> {
    const KIND: &'static str = "speaker";
    type Config = ();
    type ConfigError = Infallible;
    type Snapshot = NoSnapshot;
    type RestoreError = Infallible;

    fn make((): (), _: Seed) -> Result<Self, Infallible> {
        Ok(Self(Vec::new()))
    }

    fn restore((): (), _: Seed, none: NoSnapshot, _: Instant) -> Result<Self, Infallible> {
        match none {}
    }
}

/// Returns these fields of each packet.
pub(crate) fn tshark(name: &str, file: &[u8], fields: &[&str]) -> Vec<Vec<String>> {
    tshark_with(&[], name, file, fields)
}

/// Returns these fields of each packet, read with further arguments.
pub(crate) fn tshark_with(
    arguments: &[&str],
    name: &str,
    file: &[u8],
    fields: &[&str],
) -> Vec<Vec<String>> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcapng"));
    fs::write(&path, file).unwrap();
    let mut process = Process::new("tshark");
    // Checksums are checked only on request.
    process.args([
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "tcp.check_checksum:TRUE",
    ]);
    process.args([
        "-o",
        "ip.check_checksum:TRUE",
        "-T",
        "fields",
        "-E",
        "separator=|",
    ]);
    process.args(arguments);
    for field in fields {
        process.args(["-e", field]);
    }
    let output = process.arg("-r").arg(&path).output().expect("tshark runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let split = |line: &str| line.split('|').map(str::to_owned).collect();
    text.lines().map(split).collect()
}

fn udp(port: u16) -> Path {
    Path::udp(([10, 0, 0, 1], port).into(), ([10, 0, 0, 2], port).into())
}

#[test]
#[ignore = "needs tshark"]
fn ltp_and_stun_are_dissected_by_name() {
    let sink = Sink::default();
    let mut speaker = sink.recorder::<Talker<Path>>((), 1);
    let v6 = Path::udp(
        "[2001:db8::1]:1113".parse().unwrap(),
        "[2001:db8::2]:1113".parse().unwrap(),
    );
    // A red segment, checkpoint and end of block, of session 1.1 to client 1.
    let ltp = Bytes::from_static(&[3, 1, 1, 0, 1, 0, 3, 1, 0, b'a', b'b', b'c']);
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.extend([7; 12]);
    let now = Instant::from_nanos(5);
    for say in [
        Say(udp(1113), ltp.clone()),
        Say(v6, ltp),
        Say(udp(3478), stun.into()),
    ] {
        speaker.command(now, say).unwrap();
        let _ = speaker.poll(now, &mut Transmit::new(Limits::default()));
    }
    drop(speaker);

    let fields = [
        "frame.protocols",
        "ltp.session.number",
        "_ws.malformed",
        "udp.checksum.status",
    ];
    let packets = tshark("ltp_stun", &sink.octets(), &fields);

    let network: Vec<String> = packets
        .iter()
        .filter(|packet| packet[0].starts_with("raw"))
        .map(|packet| packet.join("|"))
        .collect();
    let expected = [
        "raw:ip:udp:ltp:data|1||1",
        "raw:ipv6:udp:ltp:data|1||1",
        "raw:ip:udp:stun|||1",
    ];
    assert_eq!(network, expected);
}

/// Runs a session of two connections in memory, and returns the recording of the initiator.
fn cotp_session() -> Vec<u8> {
    let sink = Sink::default();
    let config = Config::initiator(Some(Selector::from(1)), Some(Selector::from(2)));
    let mut near = sink.recorder::<Connection>(config, 1);
    let mut far = Connection::new(Config::responder(Policy::AcceptAny), &Seed::from(2)).unwrap();
    let now = Instant::from_nanos(1_000_000);
    near.link(now, (), Link::Up);
    far.link(now, (), Link::Up);
    talk(&mut near, &mut far);
    near.command(now, Command::Send(Bytes::from(vec![0xfe; 70_000])))
        .unwrap();
    far.command(now, Command::Send(Bytes::from_static(b"\xfe answer")))
        .unwrap();
    talk(&mut near, &mut far);
    near.command(now, Command::Close).unwrap();
    talk(&mut near, &mut far);
    drop(near);
    sink.octets()
}

fn talk(near: &mut Recorder<Connection>, far: &mut Connection) {
    for _ in 0..4 {
        carry(near, far);
        carry(far, near);
    }
}

fn carry(from: &mut impl Machine<Addr = ()>, to: &mut impl Machine<Addr = ()>) {
    let now = Instant::from_nanos(2_000_000);
    let mut tx = Transmit::new(Limits::stream(1 << 16));
    loop {
        match from.poll(now, &mut tx) {
            Output::Transmit => to.receive(now, (), tx.octets()),
            Output::Ask(Ask::Close(()) | Ask::Finish(())) => to.link(now, (), Link::Ended),
            Output::Event(_) | Output::Ask(_) | Output::Yield => {}
            Output::Idle(_) | Output::Done => return,
        }
    }
}

#[test]
#[ignore = "needs tshark"]
fn cotp_is_dissected_by_name_in_a_sound_tcp_stream() {
    let fields = [
        "frame.protocols",
        "cotp.type",
        "tcp.checksum.status",
        "tcp.analysis.flags",
        "_ws.malformed",
        "tcp.flags.str",
    ];

    let packets = tshark("cotp", &cotp_session(), &fields);

    let network = packets.iter().filter(|packet| packet[0].starts_with("raw"));
    let mut types = String::new();
    let mut flags = String::new();
    for packet in network {
        let [protocols, cotp, checksum, analysis, malformed, tcp] = &packet[..] else {
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
        let letter = tcp.chars().filter(|letter| "SF".contains(*letter));
        flags.extend(letter);
    }
    // CR, CC, then the DTs of both sides; SYN twice, FIN of both ends.
    assert!(types.starts_with("0e 0d 0f,0f,0f"), "{types}");
    assert_eq!(flags, "SSFF");
}

#[test]
#[ignore = "needs tshark"]
fn commands_and_events_are_dissected_as_json() {
    // The keys of what lies inside come first, so the last one is of the whole: a cue ends in `at`.
    let packets = tshark("json", &cotp_session(), &["frame.protocols", "json.key"]);

    let json: Vec<&str> = packets
        .iter()
        .filter(|packet| packet[0] == "exported_pdu:json")
        .map(|packet| packet[1].rsplit(',').next().unwrap())
        .collect();
    let expected = ["at", "event", "command", "event", "command", "ask"];
    assert_eq!(json[..expected.len()], expected, "{json:?}");
}

#[test]
#[ignore = "needs tshark"]
fn buses_are_interfaces_of_their_own() {
    let sink = Sink::default();
    let mut speaker = sink.recorder::<Talker<Hop>>((), 1);
    let now = Instant::ZERO;
    for interface in [2, 9] {
        let hop = Hop { interface, via: 5 };
        speaker
            .command(now, Say(hop, Bytes::from_static(b"frame")))
            .unwrap();
        let _ = speaker.poll(now, &mut Transmit::new(Limits::default()));
    }
    drop(speaker);

    let packets = tshark(
        "buses",
        &sink.octets(),
        &["frame.interface_name", "frame.len"],
    );

    let buses: Vec<String> = packets
        .iter()
        .filter(|packet| packet[0].starts_with("bus"))
        .map(|packet| packet.join(" "))
        .collect();
    assert_eq!(buses, ["bus 2 5", "bus 9 5"]);
}

#[test]
#[ignore = "needs tshark"]
fn a_redacted_recording_opens_too() {
    let file = cotp_session();
    let whole = tshark("whole", &file, &["frame.len", "tcp.len"]);

    let redacted = tshark(
        "redacted",
        &redact(&file).unwrap(),
        &["frame.len", "tcp.len"],
    );

    let network = |packets: &[Vec<String>]| -> Vec<Vec<String>> {
        let tcp = packets.iter().filter(|packet| !packet[1].is_empty());
        tcp.cloned().collect()
    };
    assert_eq!(network(&redacted), network(&whole));
}

#[test]
#[ignore = "needs tshark"]
fn the_kept_recordings_are_dissected_without_a_complaint() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/recordings");
    let mut dissected = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Messages of the stories look like upper protocols to analysers, and malformed.
        if path.is_dir() {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let file = fs::read(&path).unwrap();

        let packets = tshark(
            name,
            &file,
            &["frame.protocols", "_ws.malformed", "tcp.analysis.flags"],
        );

        for packet in &packets {
            let complaints = (packet[1].as_str(), packet[2].as_str());
            assert_eq!(complaints, ("", ""), "{name}: {}", packet[0]);
            dissected += usize::from(packet[0].contains("tpkt:cotp"));
        }
    }
    assert!(dissected > 50, "{dissected} packets of COTP");
}
