//! The bodies of the fuzz targets of COTP, which tests run on the seeds.
#![allow(dead_code, reason = "each target uses one of them")]

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use farlink::cotp::{
    Acceptance, AfterHandshake, Command, Compat, Config, Connect, Connection, MAX_PACKET, Policy,
    Proposal, Refusal, Role, Selector, Tpdu, TpduCodec, Tpkt, TpktFault,
};
use farlink::laws::codec;
use farlink::laws::{self, Case, LawSubject as _, Step};
use farlink::{Framing as _, Limits, Link};

/// The first octet of a seed that holds a captured stream.
const CAPTURE: u8 = 0;
/// The most steps of a script after the handshake.
const MOST_STEPS: usize = 60;

/// Checks law 10 for octets as a TPDU, and as a stream of TPDUs.
pub(crate) fn decode(octets: &[u8]) {
    codec::check_octets::<TpduCodec>(octets);
    let mut framing = Tpkt::default();
    let mut rest = octets;
    while let Ok(Some(tpdu)) = framing.next(&mut rest) {
        codec::check_octets::<TpduCodec>(tpdu);
    }
}

/// Returns the seed of [`framing`] for a stream.
pub(crate) fn seed_of_stream(stream: &[u8]) -> Vec<u8> {
    let mut seed = vec![0xFF, 0xFF, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    seed.extend_from_slice(stream);
    seed
}

/// Checks that frames are independent of chunking, and that at most one packet is kept.
pub(crate) fn framing(octets: &[u8]) {
    let mut u = Unstructured::new(octets);
    let Ok((limit, is_strict, sizes)) = Arbitrary::arbitrary(&mut u) else {
        return;
    };
    let make = || Tpkt::new(limit, is_strict);
    let stream = u.take_rest();

    let whole = frames(make(), [stream]);
    assert_eq!(frames(make(), stream.chunks(1)), whole, "octet by octet");
    assert_eq!(frames(make(), chunks(stream, sizes)), whole, "in chunks");
}

/// Checks an initiator against the laws.
pub(crate) fn initiator(octets: &[u8]) {
    check(octets, End::Initiator);
}

/// Checks a responder against the laws.
pub(crate) fn responder(octets: &[u8]) {
    check(octets, End::Responder);
}

/// The role of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Initiator,
    Responder,
}

/// The first octet distinguishes a captured stream from a generated script, so that captures can be seeds.
fn check(octets: &[u8], end: End) {
    let case = match octets {
        [CAPTURE, octets @ ..] => capture(Unstructured::new(octets), end),
        _ => case(&mut Unstructured::new(octets), end),
    };
    if let Ok(case) = case {
        laws::check(case);
    }
}

/// Returns the seed for a captured stream.
pub(crate) fn seed_of_capture(reference: u16, stream: &[u8]) -> Vec<u8> {
    let [low, high] = reference.to_le_bytes();
    let mut seed = vec![CAPTURE, low, high, 1];
    seed.extend([0, 1, 7, 0, 3, 60, 0, 2]);
    seed.extend_from_slice(stream);
    seed
}

/// A stream in chunks with drains in between, to an end whose application accepts everything.
fn capture(mut u: Unstructured<'_>, end: End) -> Result<Case<Connection>> {
    let (reference, asks, sizes): (_, bool, _) = u.arbitrary()?;
    let role = match end {
        End::Initiator => Role::Initiator(Proposal::default()),
        End::Responder if asks => Role::Responder(Policy::Ask),
        End::Responder => Role::Responder(Policy::AcceptAny),
    };
    let config = Config {
        role,
        compat: Compat {
            reference: Some(reference).filter(|reference| *reference != 0),
            ..Compat::default()
        },
        ..Config::default()
    };
    let link = |state| Step::Link { at: (), state };
    let mut script = vec![link(Link::Up), Step::Drain];
    for chunk in chunks(u.take_rest(), sizes) {
        script.push(Step::Receive {
            from: (),
            octets: chunk.to_vec(),
        });
        script.push(Step::Drain);
        if asks && script.len() < 8 {
            script.push(Step::Command(Command::Accept(Acceptance::default())));
        }
    }
    script.push(Step::Command(Command::Send(Bytes::from_static(&[7; 300]))));
    script.push(link(Link::Ended));
    Ok(Case::new(config, script))
}

/// Generates a script that mostly begins with a handshake.
pub(crate) fn case(u: &mut Unstructured<'_>, end: End) -> Result<Case<Connection>> {
    let role = match end {
        End::Initiator => Role::Initiator(u.arbitrary()?),
        End::Responder => Role::Responder(u.arbitrary()?),
    };
    let config = Config {
        role,
        ..u.arbitrary()?
    };
    let seed = u.arbitrary()?;
    let limits = match u.int_in_range(0..=2)? {
        0 => Limits::default(),
        1 => Limits::stream(u.int_in_range(1..=64)?),
        _ => Limits::stream(u.int_in_range(1..=4000)?),
    };
    let mut script = vec![Step::Link {
        at: (),
        state: Link::Up,
    }];
    if u.ratio(7, 8)? {
        handshake(&config, u, &mut script)?;
    }
    while script.len() < MOST_STEPS && !u.is_empty() {
        script.push(step(&config, u)?);
    }
    Ok(Case {
        config,
        seed,
        limits,
        script,
    })
}

/// Generates one step, with octets that are often valid.
fn step(config: &Config, u: &mut Unstructured<'_>) -> Result<Step<(), Command>> {
    Ok(match u.arbitrary()? {
        Step::Receive { from, .. } => Step::Receive {
            from,
            octets: Connection::arbitrary_octets(config, u)?,
        },
        Step::Flood { from, .. } => Step::Flood {
            from,
            octets: Connection::arbitrary_octets(config, u)?,
        },
        other => other,
    })
}

fn handshake(
    config: &Config,
    u: &mut Unstructured<'_>,
    script: &mut Vec<Step<(), Command>>,
) -> Result<()> {
    script.push(Step::Drain);
    let tpdu = Connect {
        source: u.arbitrary()?,
        ..Connect::default()
    };
    let mut variable = Vec::new();
    let tpdu = match &config.role {
        Role::Initiator(_) => Tpdu::ConnectionConfirm(Connect {
            destination: config.compat.reference.map_or(1, u16::from),
            ..tpdu
        }),
        Role::Responder(policy) => {
            if let Policy::Selectors(selectors) = policy
                && let Some(called) = selectors.first()
            {
                parameter(0xC2, called, &mut variable);
            }
            Tpdu::ConnectionRequest(Connect {
                variable: &variable,
                ..tpdu
            })
        }
    };
    let mut octets = Vec::new();
    packet(&tpdu, &mut octets);
    script.push(Step::Receive { from: (), octets });
    script.push(Step::Drain);
    if matches!(config.role, Role::Responder(Policy::Ask)) {
        script.push(Step::Command(if u.ratio(7, 8)? {
            Command::Accept(Acceptance::default())
        } else {
            Command::Refuse(Refusal {
                reason: u.arbitrary()?,
                information: Bytes::new(),
            })
        }));
    }
    if config.after_handshake == AfterHandshake::Pause && u.ratio(3, 4)? {
        script.push(Step::Command(Command::Resume));
    }
    Ok(())
}

/// Writes a parameter, unless the selector is too long for a CR.
fn parameter(code: u8, value: &Selector, out: &mut Vec<u8>) {
    if let Ok(length @ ..=200) = u8::try_from(value.octets().len()) {
        out.extend_from_slice(&[code, length]);
        out.extend_from_slice(value.octets());
    }
}

fn packet(tpdu: &Tpdu<'_>, out: &mut Vec<u8>) {
    let length = u16::try_from(4 + tpdu.wire_len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    out.extend_from_slice(&[3, 0, high, low]);
    tpdu.encode(out);
}

/// The frames of a stream, and how it ended.
type Framed = (Vec<Vec<u8>>, Option<TpktFault>, Vec<u8>);

fn frames<'c>(mut framing: Tpkt, chunks: impl IntoIterator<Item = &'c [u8]>) -> Framed {
    let mut frames = Vec::new();
    for chunk in chunks {
        let mut rest = chunk;
        loop {
            match framing.next(&mut rest) {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(broken) => {
                    assert_eq!(framing.next(&mut rest), Err(broken), "it latches");
                    return (frames, framing.fault(), Vec::new());
                }
            }
        }
        assert!(rest.is_empty(), "the chunk is used up");
        assert!(framing.unfinished().len() < MAX_PACKET, "part of a packet");
    }
    let unfinished = framing.unfinished().to_vec();
    (frames, None, unfinished)
}

/// Divides `stream` into chunks of these sizes in turn; 0 counts as 256.
fn chunks(stream: &[u8], sizes: [u8; 8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let size = usize::from(size.wrapping_sub(1)) + 1;
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        chunks.push(chunk);
        rest = behind;
    }
    chunks
}
