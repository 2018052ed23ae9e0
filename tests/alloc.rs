//! Budgets of memory: what a connection allocates, and what it holds.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/cotp_pair.rs"]
mod cotp_pair;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use cotp_pair::Pair;
use farlink::cotp::{Compat, Config, Connection, Event, Policy, Selector, TpduSize};
use farlink::{Limits, Machine as _, Output, Transmit};

const SMALL: usize = 64;
const ROUNDS: u64 = 1000;
const KIB: usize = 1 << 10;

#[test]
fn sending_small_messages_allocates_nothing() {
    let mut pair = warm_pair();
    let message = Bytes::from_static(&[0x5A; SMALL]);

    let info = measure(|| {
        for _ in 0..ROUNDS {
            pair.initiator.send(pair.now, message.clone()).unwrap();
            assert_eq!(
                pair.initiator.poll(pair.now, &mut pair.tx),
                Output::Transmit
            );
            assert_eq!(
                pair.initiator.poll(pair.now, &mut pair.tx),
                Output::Idle(None)
            );
        }
    });

    assert_eq!(info.count_total, 0, "{info:?}");
}

#[test]
fn receiving_small_messages_allocates_the_payload_alone() {
    let mut pair = warm_pair();
    let octets = sent(&mut pair, &[0x5A; SMALL]);

    let info = measure(|| {
        for _ in 0..ROUNDS {
            pair.responder.receive(pair.now, (), &octets);
            take(&mut pair, SMALL);
        }
    });

    assert_payloads_alone(&info, SMALL);
}

#[test]
fn many_small_messages_in_one_read_allocate_their_payloads_alone() {
    const MANY: usize = 8;
    let mut pair = warm_pair();
    let octets = sent(&mut pair, &[0x5A; SMALL]).repeat(MANY);
    let mut read = || {
        pair.responder.receive(pair.now, (), &octets);
        for _ in 0..MANY {
            let output = pair.responder.poll(pair.now, &mut pair.tx);
            assert!(matches!(output, Output::Event(Event::Received(_))));
        }
        assert_eq!(
            pair.responder.poll(pair.now, &mut pair.tx),
            Output::Idle(None)
        );
    };
    read();

    let info = measure(|| (0..ROUNDS / 8).for_each(|_| read()));

    assert_payloads_alone(&info, SMALL);
}

#[test]
fn a_small_message_cut_anywhere_allocates_its_payload_alone() {
    let mut pair = warm_pair();
    let octets = sent(&mut pair, &[0x5A; SMALL]);
    let mut cuts = (1..octets.len()).cycle();
    let mut read = || {
        let (head, tail) = octets.split_at(cuts.next().unwrap());
        pair.responder.receive(pair.now, (), head);
        let output = pair.responder.poll(pair.now, &mut pair.tx);
        assert!(matches!(output, Output::Idle(Some(_))), "{output:?}");
        pair.responder.receive(pair.now, (), tail);
        take(&mut pair, SMALL);
    };
    (1..octets.len()).for_each(|_| read());

    let info = measure(|| (0..ROUNDS).for_each(|_| read()));

    assert_payloads_alone(&info, SMALL);
}

#[test]
fn a_segmented_message_in_one_read_allocates_its_payload_alone() {
    const LEN: usize = 16 * KIB;
    let mut pair = warm_pair();
    let octets = sent(&mut pair, &[0x5A; LEN]);
    assert!(
        octets.len() > LEN + 7,
        "it takes more than one DT: {}",
        octets.len()
    );

    let info = measure(|| {
        for _ in 0..ROUNDS {
            pair.responder.receive(pair.now, (), &octets);
            take(&mut pair, LEN);
        }
    });

    assert_payloads_alone(&info, LEN);
}

#[test]
fn sending_segmented_messages_allocates_nothing() {
    let mut pair = warm_pair();
    let message = Bytes::from(vec![0x5A; 48 * KIB]);
    // The first clone of what was a vector makes it shareable.
    pair.initiator.send(pair.now, message.clone()).unwrap();
    while let Output::Transmit = pair.initiator.poll(pair.now, &mut pair.tx) {}

    let info = measure(|| {
        for _ in 0..ROUNDS {
            pair.initiator.send(pair.now, message.clone()).unwrap();
            while let Output::Transmit = pair.initiator.poll(pair.now, &mut pair.tx) {}
        }
    });

    assert_eq!(info.count_total, 0, "{info:?}");
}

#[test]
fn an_idle_connection_holds_at_most_one_kibibyte() {
    let selector = || Some(Selector::from(b"SIMATIC-ROOT-HMI".as_slice()));
    let initiator = Config {
        compat: Compat {
            expedited: true,
            ..Compat::default()
        },
        ..Config::initiator(selector(), selector())
    };
    let responder = Config::responder(Policy::Selectors(selector().into_iter().collect()));
    let mut pair = None;

    let info = measure(|| {
        let fresh = pair.insert(Pair::open(initiator, responder));
        echo(fresh, &vec![0x5A; 200 * KIB]);
        echo(fresh, &[0x5A; SMALL]);
        fresh.tx = Transmit::new(Limits::default());
    });

    let heap = usize::try_from(info.bytes_current).unwrap();
    let each = size_of::<Connection>() + heap.div_ceil(2);
    assert!(
        each <= KIB,
        "{each} bytes: {} and {heap} on the heap of two",
        size_of::<Connection>()
    );
}

#[test]
fn five_thousand_live_connections_hold_at_most_one_kibibyte_each() {
    const PAIRS: usize = 2500;
    let mut pairs = Vec::with_capacity(PAIRS);
    let mut tx = Transmit::new(Limits::stream(1 << 16));

    let info = measure(|| {
        for number in 0..PAIRS {
            pairs.push(open_pair(u64::try_from(number).unwrap(), &mut tx));
        }
    });
    let heap = usize::try_from(info.bytes_current).unwrap() - tx.octets().len();

    let mut echoed = 0;
    for pair in &mut pairs {
        echo(pair, &[0x5A; SMALL]);
        echoed += 1;
    }
    let each = size_of::<Connection>() + heap.div_ceil(2 * PAIRS);
    assert_eq!(echoed, PAIRS, "all of them live");
    assert!(each <= KIB, "{each} bytes each");
}

/// A peer that sends a segment and then nothing costs what it sent and not what it claimed.
#[test]
fn a_claimed_length_allocates_nothing() {
    let mut pair = Pair::open(
        Config {
            tpdu_size: TpduSize::LARGEST,
            ..Config::default()
        },
        Config {
            tpdu_size: TpduSize::LARGEST,
            ..Config::responder(Policy::AcceptAny)
        },
    );

    let info = measure(|| {
        let claim = [3, 0, 0xFF, 0xFF, 2, 0xF0, 0x00, 0x5A];
        pair.responder.receive(pair.now, (), &claim);
    });

    assert!(info.bytes_max <= 512, "{info:?}");
}

/// A pair of which both ends have sent and received, so that every queue has the memory it keeps.
fn warm_pair() -> Pair {
    let mut pair = Pair::by_default();
    for _ in 0..10 {
        echo(&mut pair, &[0x5A; SMALL]);
    }
    pair
}

fn open_pair(number: u64, tx: &mut Transmit<()>) -> Pair {
    let mut pair = Pair {
        initiator: cotp_pair::connection(Config::default(), number),
        responder: cotp_pair::connection(Config::responder(Policy::AcceptAny), number),
        tx: Transmit::new(Limits::stream(1)),
        now: farlink::Instant::from_nanos(1),
    };
    core::mem::swap(&mut pair.tx, tx);
    pair.initiator.link(pair.now, (), farlink::Link::Up);
    pair.responder.link(pair.now, (), farlink::Link::Up);
    pair.pump(|_, event| assert!(matches!(event, Event::Connected(_)), "{event:?}"));
    core::mem::swap(&mut pair.tx, tx);
    pair.tx = Transmit::new(Limits::stream(1 << 16));
    pair
}

/// Sends `message` there and back.
fn echo(pair: &mut Pair, message: &[u8]) {
    let mut back = Vec::new();
    pair.initiator
        .send(pair.now, Bytes::copy_from_slice(message))
        .unwrap();
    pair.pump(|_, event| match event {
        Event::Received(message) => back.push(message),
        other => panic!("{other:?}"),
    });
    pair.responder.send(pair.now, back.pop().unwrap()).unwrap();
    let mut len = 0;
    pair.pump(|_, event| match event {
        Event::Received(message) => len = message.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(len, message.len());
}

/// Returns the octets that the initiator writes for one message.
fn sent(pair: &mut Pair, message: &[u8]) -> Vec<u8> {
    pair.initiator
        .send(pair.now, Bytes::copy_from_slice(message))
        .unwrap();
    assert_eq!(
        pair.initiator.poll(pair.now, &mut pair.tx),
        Output::Transmit
    );
    pair.tx.octets().to_vec()
}

/// Takes the one message that has come.
fn take(pair: &mut Pair, len: usize) {
    match pair.responder.poll(pair.now, &mut pair.tx) {
        Output::Event(Event::Received(message)) => assert_eq!(message.len(), len),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        pair.responder.poll(pair.now, &mut pair.tx),
        Output::Idle(None)
    );
}

fn assert_payloads_alone(info: &AllocationInfo, len: usize) {
    assert_eq!(info.count_total, ROUNDS, "{info:?}");
    assert_eq!(
        info.bytes_total,
        ROUNDS * u64::try_from(len).unwrap(),
        "{info:?}"
    );
    assert_eq!(info.count_current, 0, "{info:?}");
}
