//! Octets in fragments: over connections, and without.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    Command, Config, Endpoint, Error, Event, Flags, Header, SendOptions, SfpFault, SfpTrailer,
    SocketOptions, Version,
};
use farlink::{Machine as _, Tag};

use crate::packets::{key, sealed, unsealed};
use crate::talk::{HOP, Talk, carry};

const V2: Version = Version::V2;

#[test]
fn fragments_over_a_connection_arrive_whole_before_it_closes() {
    let mut node = Talk::new(Config {
        hmac_key: Some(key()),
        ..Config::default()
    });
    let options = SocketOptions::HMAC_REQUIRED;
    node.command(Command::Bind { port: 12, options }).unwrap();
    let to = Endpoint {
        address: 1,
        port: 12,
    };
    let options = SendOptions {
        hmac: true,
        crc32: true,
        ..SendOptions::default()
    };
    let tag = Tag(1);
    node.command(Command::Connect { tag, to, options }).unwrap();
    let opened = |event: &Event| match event {
        Event::Connected { connection, .. } => Some(*connection),
        _ => None,
    };
    let connection = node.take_events().iter().find_map(opened).unwrap();
    let data = vec![7; 50_000];

    node.command(Command::SendFragments {
        connection,
        mtu: 200,
        data: Bytes::from(data.clone()),
    })
    .unwrap();
    node.command(Command::Close(connection)).unwrap();
    node.pass(Duration::from_secs(60));

    let mut got = Vec::new();
    let mut left = Vec::new();
    for event in node.take_events() {
        match event {
            Event::Fragment { data, .. } => got.extend_from_slice(&data),
            Event::Closed { unacknowledged, .. } => left.push(unacknowledged),
            _ => {}
        }
    }
    assert_eq!(got, data);
    assert_eq!(left, [0, 0]);
}

fn bound(config: Config) -> Talk {
    let mut talk = Talk::new(config);
    let options = SocketOptions::empty();
    talk.command(Command::Bind { port: 12, options }).unwrap();
    talk
}

fn fragment(source: u16, offset: u32, total: u32, data: &[u8]) -> Vec<u8> {
    let header = Header {
        source,
        destination: 1,
        destination_port: 12,
        source_port: 20,
        flags: Flags::FRAG,
        ..Header::default()
    };
    let data = [data, &SfpTrailer { offset, total }.encode()].concat();
    sealed(V2, header, &data)
}

fn from(address: u16) -> Endpoint {
    Endpoint { address, port: 20 }
}

fn came(address: u16, offset: u32, total: u32, data: &'static str) -> Event {
    Event::FragmentDatagram {
        port: 12,
        from: from(address),
        place: SfpTrailer { offset, total },
        data: Bytes::from(data),
    }
}

fn failed(address: u16, fault: SfpFault) -> Event {
    let from = from(address);
    Event::FragmentDatagramsFailed {
        port: 12,
        from,
        fault,
    }
}

#[test]
fn fragments_of_several_senders_are_told_apart() {
    let mut talk = bound(Config::default());
    for (address, data) in [(2, "ab"), (3, "cd")] {
        talk.receive(&fragment(address, 0, 4, data.as_bytes()));
    }
    for (address, data) in [(2, "ef"), (3, "gh")] {
        talk.receive(&fragment(address, 2, 4, data.as_bytes()));
    }
    let expected = [
        came(2, 0, 4, "ab"),
        came(3, 0, 4, "cd"),
        came(2, 2, 4, "ef"),
        came(3, 2, 4, "gh"),
    ];
    assert_eq!(talk.take_events(), expected);
}

#[test]
fn a_sender_that_is_silent_for_10_s_is_given_up() {
    let mut talk = bound(Config::default());
    talk.receive(&fragment(2, 0, 4, b"ab"));
    talk.take_events();
    talk.pass(Duration::from_millis(9999));
    assert_eq!(talk.take_events(), []);
    talk.pass(Duration::from_millis(1));
    assert_eq!(talk.take_events(), [failed(2, SfpFault::TimedOut)]);

    talk.receive(&fragment(2, 2, 4, b"cd"));
    assert_eq!(talk.take_events(), [], "it follows on nothing");
    assert_eq!(talk.node.stats().bad_fragment, 1);
    assert_eq!(talk.drain(), None);
}

#[test]
fn a_whole_longer_than_the_limit_is_refused_at_its_first_fragment_and_costs_no_memory() {
    let mut talk = bound(Config {
        max_sfp: 100,
        ..Config::default()
    });
    let before = talk.node.memory_used();
    for total in [101, u32::MAX] {
        talk.receive(&fragment(2, 0, total, b"ab"));
        let fault = SfpFault::TooLong { total, limit: 100 };
        assert_eq!(talk.take_events(), [failed(2, fault)]);
    }
    talk.receive(&fragment(2, 0, 100, b"ab"));
    assert_eq!(talk.take_events(), [came(2, 0, 100, "ab")]);
    assert_eq!(talk.node.memory_used(), before);
    let send = |octets| Command::SendFragmentsTo {
        from: 20,
        to: from(2),
        options: SendOptions::default(),
        mtu: 50,
        data: Bytes::from(vec![0; octets]),
    };
    let (octets, limit) = (101, 100);
    let refused = Err(Error::TooMuchData { octets, limit });
    assert_eq!(talk.command(send(101)), refused);
    assert_eq!(talk.command(send(0)), Err(Error::Empty));
    assert_eq!(talk.command(send(100)), Ok(()));
    assert_eq!(talk.take_sent().len(), 2);
}

#[test]
fn a_gap_fails_with_both_offsets_and_another_whole_follows() {
    let mut talk = bound(Config::default());
    talk.receive(&fragment(2, 0, 9, b"ab"));
    talk.receive(&fragment(2, 4, 9, b"ef"));
    talk.receive(&fragment(2, 0, 2, b"xy"));
    let fault = SfpFault::OutOfOrder {
        expected: 2,
        offset: 4,
    };
    let expected = [came(2, 0, 9, "ab"), failed(2, fault), came(2, 0, 2, "xy")];
    assert_eq!(talk.take_events(), expected);
}

#[test]
fn a_first_fragment_within_a_whole_ends_it_and_begins_another() {
    let mut talk = bound(Config::default());
    talk.receive(&fragment(2, 0, 9, b"ab"));
    talk.receive(&fragment(2, 0, 3, b"xyz"));
    let fault = SfpFault::OutOfOrder {
        expected: 2,
        offset: 0,
    };
    let expected = [came(2, 0, 9, "ab"), failed(2, fault), came(2, 0, 3, "xyz")];
    assert_eq!(talk.take_events(), expected);
}

/// The command to send waits behind the fragments, which fill the queue of the connection again and again.
#[test]
fn a_packet_behind_fragments_is_refused_until_they_are_sent() {
    let mut talk = bound(Config::default());
    let to = Endpoint {
        address: 2,
        port: 12,
    };
    let (tag, options) = (Tag(1), SendOptions::default());
    let mut peer = bound(Config {
        address: 2,
        ..Config::default()
    });
    talk.command(Command::Connect { tag, to, options }).unwrap();
    carry(&mut talk, &mut peer);
    let Some(Event::Connected { connection, .. }) = talk.take_events().pop() else {
        panic!("connected");
    };
    let fragments = Command::SendFragments {
        connection,
        mtu: 10,
        data: Bytes::from(vec![0; 1000]),
    };
    let data = Bytes::from("x");
    let send = Command::Send { connection, data };
    talk.command(fragments).unwrap();
    let full = Err(Error::Full { limit: 32 });
    assert_eq!(talk.command(send.clone()), full);
    carry(&mut talk, &mut peer);

    let events = talk.take_events();
    assert!(events.contains(&Event::Room(connection)), "{events:?}");
    assert_eq!(talk.command(send), Ok(()));
}

#[test]
fn fragments_that_a_closed_connection_did_not_send_are_counted() {
    let mut talk = bound(Config::default());
    let to = Endpoint {
        address: 2,
        port: 12,
    };
    let (tag, options) = (Tag(1), SendOptions::default());
    talk.command(Command::Connect { tag, to, options }).unwrap();
    let mut peer = bound(Config {
        address: 2,
        ..Config::default()
    });
    for _ in 0..2 {
        peer.receive_all(&talk.take_sent());
        talk.receive_all(&peer.take_sent());
    }
    let Some(Event::Connected { connection, .. }) = talk.take_events().pop() else {
        panic!("connected");
    };
    talk.command(Command::SendFragments {
        connection,
        mtu: 10,
        data: Bytes::from(vec![0; 1000]),
    })
    .unwrap();
    talk.pass(Duration::from_secs(20));

    let events = talk.take_events();
    let Some(Event::Closed { unacknowledged, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(*unacknowledged, 100);
}

/// What strangers can do to others.
mod strangers {
    use super::*;

    #[test]
    fn first_fragments_alone_keep_no_place_from_others() {
        let mut talk = bound(Config::default());
        talk.receive(&fragment(2, 0, 9, b"ab"));
        talk.receive(&fragment(2, 2, 9, b"cd"));
        talk.take_events();
        for address in 10..30 {
            talk.pass(Duration::from_millis(1));
            talk.receive(&fragment(address, 0, 9, b"ab"));
        }
        let events = talk.take_events();
        assert_eq!(events[2], came(12, 0, 9, "ab"));
        let gave_way = failed(10, SfpFault::GaveWay);
        assert_eq!(events[3..5], [gave_way, came(13, 0, 9, "ab")]);
        assert_eq!(talk.node.stats().fragments_full, 17);

        talk.receive(&fragment(2, 4, 9, b"efghi"));
        assert_eq!(talk.take_events(), [came(2, 4, 9, "efghi")], "it goes on");
    }

    #[test]
    fn a_sender_of_several_fragments_gives_way_once_it_is_silent_for_a_second() {
        let mut talk = bound(Config::default());
        for address in 10..14 {
            talk.receive(&fragment(address, 0, 9, b"ab"));
            talk.receive(&fragment(address, 2, 9, b"cd"));
        }
        talk.take_events();
        talk.receive(&fragment(20, 0, 9, b"ab"));
        assert_eq!(talk.take_events(), []);
        assert_eq!(talk.node.stats().fragments_full, 1);

        talk.pass(Duration::from_millis(999));
        talk.receive(&fragment(20, 0, 9, b"ab"));
        assert_eq!(talk.take_events(), []);
        talk.pass(Duration::from_millis(1));
        talk.receive(&fragment(20, 0, 9, b"ab"));
        let gave_way = failed(10, SfpFault::GaveWay);
        assert_eq!(talk.take_events(), [gave_way, came(20, 0, 9, "ab")]);
    }

    /// A fragment that is the whole needs no place.
    #[test]
    fn a_whole_of_one_fragment_takes_no_place() {
        let mut talk = bound(Config {
            sfp_senders: 0,
            ..Config::default()
        });
        talk.receive(&fragment(2, 0, 2, b"ab"));
        assert_eq!(talk.take_events(), [came(2, 0, 2, "ab")]);
        talk.receive(&fragment(2, 0, 4, b"ab"));
        assert_eq!(talk.take_events(), []);
        assert_eq!(talk.node.stats().fragments_full, 1);
    }

    #[test]
    fn fragments_are_bounded_by_the_queue_of_packets_without_connection() {
        let mut talk = bound(Config::default());
        for address in 10..40 {
            let octets = fragment(address, 0, u32::MAX, b"ab");
            talk.node.receive(talk.now, HOP, &octets);
        }
        talk.drain();
        assert_eq!(talk.take_events().len(), 16);
        assert_eq!(talk.node.stats().queue_full, 14);
    }
}

#[test]
fn fragments_have_the_trailers_of_their_options_in_order() {
    let mut talk = Talk::new(Config {
        hmac_key: Some(key()),
        ..Config::default()
    });
    talk.command(Command::SendFragmentsTo {
        from: 20,
        to: from(2),
        options: SendOptions {
            crc32: true,
            hmac: true,
            ..SendOptions::default()
        },
        mtu: 3,
        data: Bytes::from("abcd"),
    })
    .unwrap();
    let sent = talk.take_sent();
    let fragments: Vec<_> = sent
        .iter()
        .map(|octets| {
            let (place, packet) = unsealed(V2, octets).split_sfp().unwrap();
            (place.offset, place.total, packet.data)
        })
        .collect();
    assert_eq!(fragments, [(0, 4, &b"abc"[..]), (3, 4, &b"d"[..])]);
}
