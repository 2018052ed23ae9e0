//! A connection in both roles under the laws of every machine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/bodies/cotp.rs"]
mod bodies;
#[path = "support/cotp_pair.rs"]
mod cotp_pair;
mod tries;

use arbitrary::{Arbitrary as _, Unstructured};
use bytes::Bytes;
use cotp_pair::Pair;
use farlink::cotp::{
    AfterHandshake, Command, Compat, Config, Connection, ConnectionLimits, DataTpdu,
    DisconnectReason, DisconnectRequest, Event, Expedited, NonTpkt, Policy, SendDisconnect, Tpdu,
    TpduCodec, TpduSize,
};
use farlink::laws::{self, Case, LawSubject as _, Step, codec};
use farlink::{Cause, Limits, Link, Machine as _, Output, Seed, Tag, Transmit};
use tries::tries;

#[test]
fn an_initiator_keeps_the_laws() {
    keeps_the_laws(bodies::End::Initiator);
}

#[test]
fn a_responder_keeps_the_laws() {
    keeps_the_laws(bodies::End::Responder);
}

/// Found by a script: octets that were offered to the application kept the end of the stream away.
#[test]
fn a_stream_that_breaks_under_an_offer_ends() {
    let reference = 1;
    let config = Config {
        compat: Compat {
            non_tpkt: NonTpkt::Offer,
            reference: Some(reference),
            ..Compat::default()
        },
        ..Config::default()
    };
    let receive = |octets: &[u8]| Step::Receive {
        from: (),
        octets: octets.to_vec(),
    };
    let link = |state| Step::Link { at: (), state };
    laws::check(Case::<Connection>::new(
        config,
        vec![
            link(Link::Up),
            Step::Drain,
            receive(b"\x03\0\0\x0b\x06\xd0\0\x01\0\x02\0stranger"),
            link(Link::Down(Cause::Reset)),
            Step::Command(Command::Detach(Tag(7))),
            link(Link::Up),
        ],
    ));
}

/// Found by a script: a DC that was read before our DR was sent let the stream close unfinished.
#[test]
fn a_confirm_read_too_early_changes_nothing() {
    let config = Config {
        after_handshake: AfterHandshake::Pause,
        compat: Compat {
            send_disconnect: SendDisconnect::CLOSE,
            ..Compat::default()
        },
        ..Config::responder(Policy::AcceptAny)
    };
    let octets = b"\x03\0\0\x0b\x06\xe0\0\0\0\x01\0\x03\0\0\x0a\x05\xc0\0\x01\0\x02";
    laws::check(Case::<Connection>::new(
        config,
        vec![
            Step::Link {
                at: (),
                state: Link::Up,
            },
            Step::Receive {
                from: (),
                octets: octets.to_vec(),
            },
            Step::Command(Command::Close),
        ],
    ));
}

/// Each of these messages takes 8 octets on the stream, and many times as much as an event.
#[test]
fn messages_of_one_octet_are_read_no_faster_than_their_events_are_taken() {
    let link = |state| Step::Link { at: (), state };
    let receive = |octets: Vec<u8>| Step::Receive { from: (), octets };
    let cr = b"\x03\0\0\x0b\x06\xe0\0\0\0\x01\0".to_vec();
    let mut script = vec![link(Link::Up), receive(cr), Step::Drain];
    for _ in 0..3 {
        script.push(receive(b"\x03\0\0\x08\x02\xf0\x80A".repeat(400)));
    }
    let config = Config::responder(Policy::AcceptAny);

    let summary = laws::try_check(&Case::<Connection>::new(config, script)).unwrap();

    assert_eq!(summary.events, 1 + 1200);
}

/// Scripts without a handshake.
#[test]
fn any_script_keeps_the_laws() {
    tries(6000, 32..=8000, |u| {
        laws::check(u.arbitrary::<Case<Connection>>()?);
        Ok(())
    });
}

#[test]
fn decoded_tpdus_encode_to_themselves() {
    tries(300, 32..=65_536, |u| {
        bodies::decode(u.peek_bytes(u.len()).unwrap_or_default());
        Ok(())
    });
}

#[test]
fn encoded_tpdus_decode_to_themselves() {
    tries(300, 32..=65_536, |u| {
        let variable = <&[u8]>::arbitrary(u)?;
        let user_data = <&[u8]>::arbitrary(u)?;
        let number = u.int_in_range(0..=0x7F)?;
        let tpdu = match u.int_in_range(0..=2)? {
            0 => Tpdu::Data(DataTpdu {
                is_last: u.arbitrary()?,
                number,
                wants_acknowledgement: u.arbitrary()?,
                user_data,
            }),
            1 => Tpdu::Expedited(Expedited {
                credit: number & 0x0F,
                is_last: u.arbitrary()?,
                number,
                user_data,
            }),
            _ => Tpdu::DisconnectRequest(DisconnectRequest {
                destination: u.arbitrary()?,
                source: u.arbitrary()?,
                reason: DisconnectReason(u.arbitrary()?),
                variable: variable.get(..248).unwrap_or(variable),
                user_data,
            }),
        };
        codec::check_item::<TpduCodec>(&tpdu);
        Ok(())
    });
}

#[test]
fn frames_are_independent_of_chunking() {
    tries(300, 32..=65_536, |u| {
        bodies::framing(u.peek_bytes(u.len()).unwrap_or_default());
        Ok(())
    });
}

#[test]
fn messages_are_independent_of_chunking() {
    tries(350, 32..=65_536, |u| {
        let tpdu_size = u.arbitrary()?;
        let lengths: Vec<u16> = u.arbitrary()?;
        let messages: Vec<Bytes> = lengths.iter().map(|&length| pattern(length)).collect();
        let mut pair = open(tpdu_size);
        let stream = stream_of(&mut pair, &messages);

        let mut received = Vec::new();
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let most = 1 << u.int_in_range(0..=16)?;
            let size = u.int_in_range(1..=most)?;
            let (chunk, behind) = rest.split_at(size.min(rest.len()));
            if !pair.responder.wants(()) {
                take(&mut pair, &mut received);
            }
            pair.responder.receive(pair.now, (), chunk);
            if u.ratio(3, 4)? {
                take(&mut pair, &mut received);
            }
            rest = behind;
        }
        take(&mut pair, &mut received);

        assert_eq!(received, messages);
        Ok(())
    });
}

fn keeps_the_laws(end: bodies::End) {
    tries(5000, 32..=8000, |u| {
        laws::check(bodies::case(u, end)?);
        Ok(())
    });
}

/// The scripts of the tests above open connections and send messages.
#[test]
fn the_scripts_get_as_far_as_messages() {
    for end in [bodies::End::Initiator, bodies::End::Responder] {
        let mut rng = Seed::from(1).rng();
        let (tried, mut opened, mut talked) = (500, 0, 0);
        for _ in 0..tried {
            let mut octets = [0; 4000];
            rng.fill(&mut octets);
            let case = bodies::case(&mut Unstructured::new(&octets), end).unwrap();
            let progress = plain_run(&case);
            opened += usize::from(progress.is_open);
            talked += usize::from(progress.messages > 0);
        }
        assert!(
            opened * 3 > tried && talked * 10 > tried,
            "of {tried} {opened} open, {talked} receive a message"
        );
    }
}

#[derive(Default)]
struct Progress {
    is_open: bool,
    messages: usize,
}

/// Gives the inputs of a script in order and returns what they lead to.
fn plain_run(case: &Case<Connection>) -> Progress {
    let mut progress = Progress::default();
    let Some(mut machine) = Connection::make(&case.config, Seed::from(case.seed)) else {
        return progress;
    };
    let mut tx = Transmit::new(Limits::stream(1 << 16));
    let now = farlink::Instant::from_nanos(1);
    for step in &case.script {
        match step {
            Step::Receive { octets, .. } => machine.receive(now, (), octets),
            Step::Link {
                state: state @ (Link::Up | Link::Free),
                ..
            } => machine.link(now, (), *state),
            Step::Command(command) => drop(machine.command(now, command.clone())),
            _ => (),
        }
        loop {
            match machine.poll(now, &mut tx) {
                Output::Event(Event::Connected(_)) => progress.is_open = true,
                Output::Event(Event::Received(_)) => progress.messages += 1,
                Output::Yield => {}
                Output::Idle(_) | Output::Done => break,
                _ => (),
            }
        }
    }
    progress
}

fn open(tpdu_size: TpduSize) -> Pair {
    let config = |config: Config| Config {
        tpdu_size,
        limits: ConnectionLimits {
            receive_queue: 1 << 26,
            send_queue: 1 << 26,
            ..config.limits
        },
        ..config
    };
    Pair::open(
        config(Config::default()),
        config(Config::responder(Policy::AcceptAny)),
    )
}

/// Returns a message of this length that repeats nothing.
fn pattern(length: u16) -> Bytes {
    (0..=length)
        .flat_map(u16::to_be_bytes)
        .take(usize::from(length).max(1))
        .collect()
}

fn stream_of(pair: &mut Pair, messages: &[Bytes]) -> Vec<u8> {
    let mut stream = Vec::new();
    for message in messages {
        pair.initiator.send(pair.now, message.clone()).unwrap();
    }
    while let Output::Transmit = pair.initiator.poll(pair.now, &mut pair.tx) {
        stream.extend_from_slice(pair.tx.octets());
    }
    stream
}

fn take(pair: &mut Pair, received: &mut Vec<Bytes>) {
    loop {
        match pair.responder.poll(pair.now, &mut pair.tx) {
            Output::Event(Event::Received(message)) => received.push(message),
            Output::Yield => {}
            Output::Idle(_) => return,
            other => panic!("{other:?}"),
        }
    }
}
