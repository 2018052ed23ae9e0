//! The body of the fuzz target of the carriers of CSP, which tests run on the seeds.

use core::time::Duration;

use arbitrary::{Arbitrary as _, Result, Unstructured};
use farlink::csp::carriers::{ByteOrder, CanFrameCodec, EtherAddress, EthernetFrameCodec, Pushed};
use farlink::csp::{Encapsulation, Flags, Header, InterfaceCodec, Version};
use farlink::laws::codec;
use farlink::{Hop, Instant, Limits, Transmit};

/// The most steps of a script.
const MOST_STEPS: usize = 100;
const TO: Hop = Hop {
    interface: 3,
    via: 2,
};

/// Any octets as frames; packets over carriers that lose, swap and repeat frames, and that bring foreign ones.
pub(crate) fn carriers(octets: &[u8]) {
    codec::check_octets::<CanFrameCodec>(octets);
    codec::check_octets::<EthernetFrameCodec>(octets);
    // That random octets are too short is no fault.
    let _: Result<()> = stream(Unstructured::new(octets));
    let _: Result<()> = talk(&mut Unstructured::new(octets));
}

/// Any stream, however cut, has the same packets.
fn stream(mut u: Unstructured<'_>) -> Result<()> {
    let (version, crc32, cut) = (
        Version::arbitrary(&mut u)?,
        u.arbitrary()?,
        u.int_in_range(1..=9)?,
    );
    let stream = u.take_rest();
    let packets = |size: usize| {
        let kiss = Encapsulation::Kiss { crc32 };
        let mut codec = InterfaceCodec::new(kiss, version, 1, 40);
        let mut packets = Vec::new();
        for mut chunk in stream.chunks(size) {
            while let Some(packet) = codec.next_packet(Instant::ZERO, &mut chunk) {
                assert!(packet.len() <= version.header_len() + 40);
                packets.push(packet.to_vec());
            }
            assert!(chunk.is_empty(), "all was taken");
        }
        (packets, codec.stats())
    };

    let whole = packets(stream.len().max(1));
    assert_eq!(packets(1), whole, "octet by octet");
    assert_eq!(packets(cut), whole, "in chunks");
    Ok(())
}

fn encapsulation(u: &mut Unstructured<'_>) -> Result<Encapsulation> {
    Ok(match u.int_in_range(0..=7)? {
        0 => Encapsulation::Packet,
        1 => Encapsulation::NextHop(ByteOrder::arbitrary(u)?),
        2 => Encapsulation::Kiss { crc32: true },
        3 => Encapsulation::I2c,
        4 => Encapsulation::Ethernet {
            address: EtherAddress([2, 0, 0, 0, 0, 1]),
            mtu: u.int_in_range(0..=80)?,
        },
        _ => Encapsulation::Can {
            promiscuous: u.arbitrary()?,
        },
    })
}

/// What an interface carried: datagrams, or the octets of a stream one by one.
fn carried(tx: &Transmit<Hop>) -> Vec<Vec<u8>> {
    if tx.is_stream() {
        return tx.octets().iter().map(|octet| vec![*octet]).collect();
    }
    tx.datagrams().map(<[u8]>::to_vec).collect()
}

/// Whatever is lost, swapped, repeated or foreign, only packets that were sent come, as long as no frame is forged.
fn talk(u: &mut Unstructured<'_>) -> Result<()> {
    let (kind, version) = (encapsulation(u)?, Version::arbitrary(u)?);
    let max_data = u.int_in_range(0..=60)?;
    let limits = Limits::new(
        u.int_in_range(1..=100)?,
        u.int_in_range(1..=4)?,
        u.int_in_range(1..=200)?,
    );
    let mut sender = InterfaceCodec::new(kind, version, 1, max_data);
    let mut receiver = InterfaceCodec::new(kind, version, 2, max_data);
    let mut tx = Transmit::new(limits);
    let mut line: Vec<Vec<u8>> = Vec::new();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let (mut now, mut is_forged, mut is_clean) = (Instant::ZERO, false, true);
    let mut came = 0;
    for _ in 0..MOST_STEPS {
        if u.is_empty() {
            break;
        }
        match u.int_in_range(0..=15)? {
            0 => now += Duration::from_millis(u.int_in_range(0..=1200)?),
            1 if !line.is_empty() => {
                drop(line.remove(u.choose_index(line.len())?));
                is_clean = false;
            }
            2 if line.len() > 1 => {
                let at = u.choose_index(line.len() - 1)?;
                line.swap(at, at + 1);
                is_clean = false;
            }
            3 if !line.is_empty() => {
                line.push(line[u.choose_index(line.len())?].clone());
                is_clean = false;
            }
            4 => {
                line.push(u.arbitrary::<[u8; 16]>()?.to_vec());
                (is_forged, is_clean) = (true, false);
            }
            5 => {
                receiver.clear();
                is_clean = false;
            }
            6..=10 => {
                for octets in line.drain(..) {
                    let mut octets = &octets[..];
                    while let Some(packet) = receiver.next_packet(now, &mut octets) {
                        assert!(packet.len() <= (version.header_len() + max_data).max(16));
                        let is_one = sent.iter().any(|it| it == packet);
                        let is_proven = !is_forged && (is_clean || is_checked(kind, version));
                        assert!(is_one || !is_proven, "{kind:?}: {packet:?}");
                        came += 1;
                    }
                }
            }
            _ => {
                let header = Header {
                    source: 1,
                    destination: 2,
                    destination_port: 10,
                    source_port: u.int_in_range(0..=63)?,
                    flags: Flags::empty(),
                    ..Header::default()
                };
                let mut octets = Vec::new();
                header.encode(version, &mut octets);
                let (head, len) = (octets.len(), u.int_in_range(0..=max_data)?);
                // Each packet has octets of its own.
                let own = u8::try_from(sent.len()).unwrap_or_default();
                octets.resize(head + len, own);
                tx.clear();
                let pushed = sender.push(&mut tx, TO, &octets[..head], &[&octets[head..]]);
                assert_ne!(pushed, Pushed::Later, "the transmit was empty");
                if pushed == Pushed::Done {
                    sent.push(octets);
                    line.extend(carried(&tx));
                    while sender.pending().is_some() {
                        tx.clear();
                        sender.flush(&mut tx);
                        line.extend(carried(&tx));
                    }
                }
            }
        }
    }
    if is_clean && line.is_empty() && limits.datagram.get() >= 100 && limits.octets.get() >= 100 {
        assert_eq!(came, sent.len(), "{kind:?}");
    }
    Ok(())
}

/// Tells whether swapped and lost frames cannot give a packet that was not sent. Segments of Ethernet have no place,
/// numbers of CFP2 go round after 8 frames of 4 packets, and the CRC32 of KISS leaves the header out.
fn is_checked(kind: Encapsulation, version: Version) -> bool {
    match kind {
        Encapsulation::Ethernet { .. } | Encapsulation::Kiss { .. } => false,
        Encapsulation::Can { .. } => version == Version::V1,
        _ => true,
    }
}
