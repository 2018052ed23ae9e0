//! The dissector of `farlink decode --dissector`, in tshark.

use std::fs;
use std::path::PathBuf;
use std::process::Command as Process;

use farlink::csp::carriers::{CanFrame, Cfp1Packet, Cfp2Packet};
use farlink::csp::{Flags, Packet, RdpFlags, SfpTrailer, SynOptions, Version, eack_numbers};
use farlink::dtp::{DataPacket, Request};
use farlink::{Instant, Limits, Machine as _, Path, Transmit};
use serde::Deserialize;

use crate::csp_captures::captures;
use crate::sink::Sink;
use crate::tshark::{Say, Talker, tshark_with};
use crate::vector_octets::Octets;

/// Link types of captures.
const ETHERNET: u32 = 1;
const CAN: u32 = 227;

const HEADER: [&str; 7] = [
    "csp.priority",
    "csp.source",
    "csp.source_port",
    "csp.destination",
    "csp.destination_port",
    "csp.flags",
    "csp.data",
];
const TRAILERS: [&str; 8] = [
    "csp.crc32.status",
    "csp.rdp.flags",
    "csp.rdp.sequence",
    "csp.rdp.acknowledgement",
    "csp.rdp.window",
    "csp.rdp.out_of_order",
    "csp.sfp.offset",
    "csp.sfp.total",
];
const DTP: [&str; 5] = [
    "dtp-csp.session",
    "dtp-csp.throughput",
    "dtp-csp.intervals",
    "dtp-csp.last",
    "dtp-csp.offset",
];

/// Reads a capture with the dissector that the tool prints.
fn read(name: &str, version: Version, capture: &[u8], fields: &[&str]) -> Vec<Vec<String>> {
    let script = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.lua"));
    let printed = Process::new(env!("CARGO_BIN_EXE_farlink"))
        .args(["decode", "--dissector"])
        .output()
        .unwrap();
    assert!(printed.status.success());
    fs::write(&script, printed.stdout).unwrap();
    let script = format!("lua_script:{}", script.display());
    let number = match version {
        Version::V1 => "csp.version:Version 1",
        Version::V2 => "csp.version:Version 2",
    };
    tshark_with(&["-X", &script, "-o", number], name, capture, fields)
}

/// Makes a capture of packets.
fn pcap(link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let words = [0xA1B2_C3D4, 0x0002_0004, 0, 0, 65_535, link];
    let mut file: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    for packet in packets {
        let len = u32::try_from(packet.len()).unwrap();
        let words = [0, 0, len, len];
        file.extend(words.into_iter().flat_map(u32::to_be_bytes));
        file.extend(packet);
    }
    file
}

fn hex(octets: &[u8]) -> String {
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]);
    let digits = digits.map(|digit| char::from_digit(digit.into(), 16).unwrap());
    digits.collect()
}

/// What our decoder reads of the header, with these octets as data.
fn header(packet: &Packet<'_>, data: &str) -> [String; 7] {
    let header = packet.header;
    [
        (header.priority as u8).to_string(),
        header.source.to_string(),
        header.source_port.to_string(),
        header.destination.to_string(),
        header.destination_port.to_string(),
        format!("0x{:02x}", header.flags.bits()),
        data.into(),
    ]
}

/// What our decoders read in a packet, in the order of [`HEADER`], [`TRAILERS`] and [`DTP`].
fn ours(version: Version, octets: &[u8]) -> Vec<String> {
    let whole = Packet::decode(version, octets).unwrap();
    let flags = whole.header.flags;
    let mut trailers = [const { String::new() }; 8];
    let mut packet = whole;
    if flags.contains(Flags::CRC32) {
        let rest = packet.split_crc32(version);
        trailers[0] = u8::from(rest.is_ok()).to_string();
        packet = rest.unwrap_or(Packet {
            data: &packet.data[..packet.data.len() - 4],
            ..packet
        });
    }
    if flags.contains(Flags::HMAC) {
        packet.data = &packet.data[..packet.data.len() - 4];
    }
    if flags.contains(Flags::RDP) {
        let (rdp, rest) = packet.split_rdp().unwrap();
        packet = rest;
        trailers[1] = format!("0x{:02x}", rdp.flags.bits());
        trailers[2] = rdp.sequence.0.to_string();
        trailers[3] = rdp.acknowledgement.0.to_string();
        if rdp.flags.contains(RdpFlags::SYN) && !packet.data.is_empty() {
            let options = SynOptions::decode(packet.data).unwrap();
            trailers[4] = options.window.to_string();
            packet.data = &[];
        } else if rdp.flags.contains(RdpFlags::EAK) {
            let numbers = eack_numbers(packet.data).map(|it| it.0.to_string());
            trailers[5] = numbers.collect::<Vec<_>>().join(",");
            packet.data = &[];
        }
    }
    // Control packets of a connection with fragments have the flag, and no trailer.
    if flags.contains(Flags::FRAG)
        && let Ok((SfpTrailer { offset, total }, rest)) = packet.split_sfp()
    {
        packet = rest;
        trailers[6] = offset.to_string();
        trailers[7] = total.to_string();
    }
    let dtp = dtp(&packet);
    let data = match dtp {
        Some(_) => String::new(),
        None => hex(packet.data),
    };
    let header = header(&whole, &data);
    let dtp = dtp.unwrap_or_default();
    [&header[..], &trailers, &dtp].concat()
}

fn dtp(packet: &Packet<'_>) -> Option<[String; 5]> {
    let (header, data) = (packet.header, packet.data);
    let mut fields = [const { String::new() }; 5];
    if header.flags.contains(Flags::RDP) {
        if header.destination_port == 7 && data.len() >= 80 {
            let request = Request::decode(data).unwrap();
            let lasts = request.intervals.as_slice().iter();
            fields[0] = format!("0x{:08x}", request.session);
            fields[1] = request.throughput.to_string();
            fields[2] = request.intervals.as_slice().len().to_string();
            fields[3] = lasts
                .map(|it| it.end.to_string())
                .collect::<Vec<_>>()
                .join(",");
            return Some(fields);
        }
        return (header.source_port == 7 && data.len() >= 8).then_some(fields);
    }
    if header.destination_port == 8 && data.len() >= 8 {
        let packet = DataPacket::decode(data).unwrap();
        fields[0] = format!("0x{:08x}", packet.session);
        fields[4] = packet.offset.to_string();
        return Some(fields);
    }
    None
}

/// Records packets on UDP.
fn recorded(packets: &[Vec<u8>]) -> Vec<u8> {
    let sink = Sink::default();
    let mut talker = sink.recorder::<Talker<Path>>((), 1);
    let path = Path::udp(([10, 0, 0, 1], 9600).into(), ([10, 0, 0, 2], 9601).into());
    for packet in packets {
        let say = Say(path, packet.clone().into());
        talker.command(Instant::ZERO, say).unwrap();
        let _ = talker.poll(Instant::ZERO, &mut Transmit::new(Limits::default()));
    }
    drop(talker);
    sink.octets()
}

#[test]
#[ignore = "needs tshark"]
fn the_dissector_reads_a_recording_as_we_do() {
    let fields = [&["udp.port"], &HEADER[..], &TRAILERS, &DTP].concat();
    for version in [Version::V1, Version::V2] {
        let all = captures("csp", "").into_iter().chain(captures("dtp", ""));
        let is_read = |name: &str| !name.starts_with("i2c") && !name.starts_with("vmem");
        let all = all.filter(|it| it.version() == version && is_read(&it.name));
        let packets: Vec<Vec<u8>> = all.flat_map(|it| it.packets()).collect();
        assert!(packets.len() > 100);

        let name = format!("csp_{version:?}");
        let theirs = read(&name, version, &recorded(&packets), &fields);

        let theirs: Vec<_> = theirs.iter().filter(|it| !it[0].is_empty()).collect();
        assert_eq!(theirs.len(), packets.len());
        let throughput = 1 + HEADER.len() + TRAILERS.len() + 1;
        let requests = theirs.iter().filter(|it| !it[throughput].is_empty());
        assert!(requests.count() > 0);
        for (packet, theirs) in packets.iter().zip(theirs) {
            assert_eq!(theirs[1..], ours(version, packet), "{}", hex(packet));
        }
    }
}

#[test]
#[ignore = "needs tshark"]
fn the_dissector_puts_frames_of_can_together() {
    for version in [Version::V1, Version::V2] {
        let packets: Vec<Vec<u8>> = captures("csp", "ping")
            .into_iter()
            .filter(|it| it.version() == version)
            .flat_map(|it| it.packets())
            .collect();
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for (packet, number) in packets.iter().zip(0..) {
            let encoded = |frame: CanFrame| {
                let mut octets = Vec::new();
                frame.encode(&mut octets);
                octets
            };
            match version {
                Version::V1 => {
                    let cfp = Cfp1Packet::new(packet, 3, number).unwrap();
                    frames.extend((0..).map_while(|place| cfp.frame(place)).map(encoded));
                }
                Version::V2 => {
                    let cfp = Cfp2Packet::new(packet, 5, number).unwrap();
                    frames.extend((0..).map_while(|place| cfp.frame(place)).map(encoded));
                }
            }
        }
        assert!(frames.len() > packets.len());

        let fields = [&HEADER[..], &TRAILERS, &DTP].concat();
        let name = format!("can_{version:?}");
        let theirs = read(&name, version, &pcap(CAN, &frames), &fields);

        let theirs: Vec<_> = theirs.iter().filter(|it| !it[0].is_empty()).collect();
        assert_eq!(theirs.len(), packets.len());
        for (packet, theirs) in packets.iter().zip(theirs) {
            assert_eq!(*theirs, ours(version, packet), "{}", hex(packet));
        }
    }
}

#[derive(Deserialize)]
struct Carried {
    packets: Vec<crate::csp_captures::Fields>,
    phases: Vec<CarriedPhase>,
}

#[derive(Deserialize)]
struct CarriedPhase {
    frames: Vec<CarriedFrame>,
}

#[derive(Deserialize)]
struct CarriedFrame {
    octets: Octets,
}

#[test]
#[ignore = "needs tshark"]
fn the_dissector_puts_segments_of_ethernet_together() {
    for (version, number) in [(Version::V1, 1), (Version::V2, 2)] {
        let path = format!("vectors/csp_carriers/eth_v{number}.toml");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
        let carried: Carried = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let frames = carried.phases.iter().flat_map(|it| &it.frames);
        let frames: Vec<Vec<u8>> = frames.map(|it| it.octets.to_vec()).collect();

        let name = format!("ethernet_{version:?}");
        let theirs = read(&name, version, &pcap(ETHERNET, &frames), &HEADER);

        let theirs: Vec<_> = theirs.iter().filter(|it| !it[0].is_empty()).collect();
        assert_eq!(theirs.len(), carried.packets.len());
        for (packet, theirs) in carried.packets.iter().zip(theirs) {
            let source = packet.source.to_string();
            let data = hex(&packet.data.to_vec());
            assert_eq!((&theirs[1], &theirs[6]), (&source, &data));
        }
    }
}
