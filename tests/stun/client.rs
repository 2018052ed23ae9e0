//! Queries without credentials.

use core::time::Duration;

use farlink::stun::{
    Attribute, AttributeType, AttributeTypes, ChangeRequest, Class, Command, Config, Credentials,
    Error, Event, Message, Query, QueryFailure, TransactionId,
};
use farlink::{Ask, Cause, Link, Machine as _, Path, Proto, Tag};

use crate::talk::{TAG, Talk, addr, local, mapped, message, ms, server};

#[test]
fn udp_requests_leave_at_the_times_of_rfc_8489_section_6_2_1() {
    let mut talk = Talk::new(Config::default());

    talk.ask();
    talk.wait(ms(39_499));
    assert_eq!(talk.events, []);
    talk.wait(ms(1));

    assert_eq!(talk.times(), [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    assert!(
        talk.sent
            .iter()
            .all(|sent| sent.octets == talk.sent[0].octets)
    );
    let silence = talk.silence();
    assert_eq!((silence.sends, silence.after), (7, ms(39_500)));
    assert_eq!(
        talk.failure().to_string(),
        "no answer to 7 requests within 39.5 s"
    );
}

#[test]
fn requests_of_rfc_3489_leave_at_the_times_of_its_section_9_3() {
    let mut talk = Talk::new(Config::default());
    let classic = Query {
        classic: true,
        ..Query::default()
    };

    talk.query(1, talk.udp(), classic);
    talk.wait(ms(9500));

    let times = [0, 100, 300, 700, 1500, 3100, 4700, 6300, 7900];
    assert_eq!(talk.times(), times);
    assert_eq!(talk.silence().after, ms(9500));
    assert!(talk.sent[0].id().is_classic());
    assert_eq!(talk.sent[0].octets.len(), 20, "no attributes");
}

#[test]
fn a_request_over_tcp_is_sent_once_and_fails_after_39_5_s() {
    let mut talk = Talk::new(Config::default());

    talk.query(1, talk.tcp(), Query::default());
    talk.wait(ms(39_500));

    assert_eq!(talk.times(), [0]);
    assert_eq!(talk.silence().after, ms(39_500));
}

#[test]
fn a_query_ends_at_its_limit() {
    let mut talk = Talk::new(Config::default());
    let limit = Some(ms(600));

    talk.query(
        1,
        talk.udp(),
        Query {
            limit,
            ..Query::default()
        },
    );
    talk.wait(ms(600));

    let silence = talk.silence();
    assert_eq!((silence.sends, silence.after), (2, ms(600)));
}

#[test]
fn an_answer_tells_all_that_the_server_says() {
    let mut talk = Talk::new(Config::default());
    talk.ask();
    talk.wait(ms(20));
    let (clear, origin, other) = (addr("10.9.9.9:1"), server(), addr("192.0.2.2:3479"));

    talk.answer(
        Class::Success,
        &[
            Attribute::MappedAddress(clear),
            mapped(),
            Attribute::ResponseOrigin(origin),
            Attribute::OtherAddress(other),
            Attribute::Software(b"test vector\0"),
        ],
    );

    let [Event::Answered { tag: TAG, answer }] = &talk.events[..] else {
        panic!("{:?}", talk.events);
    };
    assert_eq!(answer.mapped, addr("203.0.113.9:7"));
    assert_eq!(answer.path, Path::udp(local(), server()));
    assert_eq!(answer.mapped_in_clear, Some(clear));
    assert_eq!((answer.origin, answer.other), (Some(origin), Some(other)));
    assert_eq!(answer.software.as_deref(), Some("test vector"));
    assert_eq!((answer.sends, answer.round_trip), (1, ms(20)));
    assert!(!answer.is_verified);
}

/// RFC 8489 section 6.3.3, and servers of drafts and of RFC 3489.
#[test]
fn the_mapped_address_is_taken_in_whatever_form_it_comes() {
    let (clear, hidden) = (addr("10.9.9.9:1"), addr("203.0.113.9:7"));
    let unusable = Attribute::Unknown(AttributeType::XOR_MAPPED_ADDRESS, &[0, 9, 0, 0, 0, 0, 0, 0]);
    for (attributes, expected) in [
        (vec![Attribute::MappedAddress(clear)], clear),
        (
            vec![
                Attribute::MappedAddress(clear),
                Attribute::XorMappedAddressDraft(hidden),
            ],
            hidden,
        ),
        (vec![unusable, Attribute::MappedAddress(clear)], clear),
    ] {
        let mut talk = Talk::new(Config::default());
        talk.ask();
        talk.answer(Class::Success, &attributes);
        assert_eq!(talk.mapped(), expected);
    }
    let mut talk = Talk::new(Config::default());
    talk.ask();
    talk.answer(Class::Success, &[Attribute::Software(b"x")]);
    assert_eq!(talk.failure(), &QueryFailure::Incomplete);
}

#[test]
fn an_answer_of_rfc_3489_is_known_by_all_128_bits() {
    let mut talk = Talk::new(Config::default());
    let classic = Query {
        classic: true,
        ..Query::default()
    };
    talk.query(TAG.0, talk.udp(), classic);
    let sent = talk.last();
    let mut other = *sent.id().octets();
    other[0] ^= 1;
    let attributes = [
        Attribute::MappedAddress(addr("203.0.113.9:7")),
        Attribute::SourceAddress(server()),
        Attribute::ChangedAddress(addr("192.0.2.2:3479")),
        Attribute::ReflectedFrom(server()),
    ];

    let forged = message(
        TransactionId::from_octets(other),
        Class::Success,
        &attributes,
    );
    talk.receive(sent.path, &forged);
    assert_eq!((talk.events.len(), talk.client.stats().unmatched), (0, 1));
    talk.answer(Class::Success, &attributes);

    let [Event::Answered { answer, .. }] = &talk.events[..] else {
        panic!("{:?}", talk.events);
    };
    assert_eq!(answer.origin, Some(server()));
    assert_eq!(answer.other, Some(addr("192.0.2.2:3479")));
}

#[test]
fn a_forged_answer_is_counted_and_ends_nothing() {
    let mut talk = Talk::new(Config::default());
    talk.ask();
    let sent = talk.last();
    let true_answer = message(sent.id(), Class::Success, &[mapped()]);
    let guessed = TransactionId::new([9; 12]);
    let mut wrong_fingerprint = message(
        sent.id(),
        Class::Success,
        &[mapped(), Attribute::Fingerprint(1)],
    );
    wrong_fingerprint[30] ^= 1;

    talk.receive(sent.path, &message(guessed, Class::Success, &[mapped()]));
    talk.receive(sent.path, &wrong_fingerprint);
    talk.receive(sent.path, b"no message");
    let elsewhere = Path::udp(sent.path.local, addr("198.51.100.1:3478"));
    talk.receive(elsewhere, &true_answer);

    let stats = talk.client.stats();
    assert_eq!(talk.events, []);
    assert_eq!(
        (stats.unmatched, stats.malformed, stats.elsewhere),
        (1, 2, 1)
    );
    talk.wait(ms(40_000));
    let silence = talk.silence();
    assert_eq!(silence.forged, 3);
    assert_eq!(silence.elsewhere, Some(elsewhere.remote));
    assert_eq!(
        talk.failure().to_string(),
        "no answer to 7 requests within 39.5 s; an answer came from 198.51.100.1:3478, which was not asked; 3 forged or broken"
    );
}

#[test]
fn a_second_answer_is_no_forgery() {
    let mut talk = Talk::new(Config::default());
    talk.ask();
    let sent = talk.last();
    let answer = message(sent.id(), Class::Success, &[mapped()]);
    talk.receive(sent.path, &answer);
    talk.query(2, talk.udp(), Query::default());
    talk.events.clear();

    talk.receive(sent.path, &answer);
    talk.wait(ms(40_000));

    assert_eq!(
        (talk.client.stats().unmatched, talk.silence().forged),
        (1, 0)
    );
}

/// RFC 5780 section 4: an answer from the wrong source proves nothing.
#[test]
fn an_answer_to_change_request_comes_from_there_alone() {
    let places = [
        "192.0.2.1:3478",
        "192.0.2.1:3479",
        "192.0.2.2:3478",
        "192.0.2.2:3479",
    ];
    for (nth, (ip, port)) in [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .enumerate()
    {
        for (at, place) in places.iter().enumerate() {
            let mut talk = Talk::new(Config::default());
            let change = ChangeRequest { ip, port };
            talk.query(
                1,
                talk.udp(),
                Query {
                    change,
                    ..Query::default()
                },
            );
            let sent = talk.last();
            let asked = sent.find(AttributeType::CHANGE_REQUEST);
            assert_eq!(asked.is_some(), ip || port);

            let from = Path::udp(sent.path.local, addr(place));
            talk.receive(from, &message(sent.id(), Class::Success, &[mapped()]));

            assert_eq!(
                talk.events.len(),
                usize::from(at == nth),
                "{change:?} {place}"
            );
        }
    }
}

#[test]
fn ten_transactions_are_under_way_with_a_server_and_start_one_by_one() {
    let mut talk = Talk::new(Config::default());
    for tag in 0..12 {
        talk.query(tag, talk.udp(), Query::default());
    }
    let elsewhere = Path::udp(addr("10.0.0.1:0"), addr("192.0.2.9:3478"));
    talk.query(12, elsewhere, Query::default());
    let of_server = |talk: &Talk| {
        let sent = talk.sent.iter().filter(|sent| sent.path.remote == server());
        let mut ids: Vec<_> = sent.map(super::talk::Sent::id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    };

    assert_eq!(
        (of_server(&talk), talk.sent.len()),
        (1, 2),
        "others do not wait"
    );
    talk.wait(ms(100));
    assert_eq!(of_server(&talk), 3);
    talk.wait(ms(10_000));
    assert_eq!(of_server(&talk), 10);
    assert_eq!(talk.asks.len(), 1, "one socket for all");

    let first = talk.sent[0].clone();
    talk.receive(
        first.path,
        &message(first.id(), Class::Success, &[mapped()]),
    );
    assert_eq!((of_server(&talk), talk.events.len()), (11, 1));
}

#[test]
fn nothing_is_told_of_a_query_that_was_cancelled() {
    let mut talk = Talk::new(Config::default());
    talk.ask();

    talk.client.cancel(talk.now, TAG).unwrap();
    talk.answer(Class::Success, &[mapped()]);
    talk.wait(ms(40_000));

    assert_eq!((talk.events.len(), talk.sent.len()), (0, 1));
    assert_eq!(talk.client.stats().unmatched, 1);
    let error = talk.client.cancel(talk.now, TAG);
    assert_eq!(error, Err(Error::NoQuery(TAG)));
}

#[test]
fn an_error_of_the_server_is_told_with_its_reason() {
    for code in [300, 400, 401, 403, 420, 438, 600, 699] {
        let mut talk = Talk::new(Config::default());
        talk.ask();
        let unknown = AttributeTypes::from_octets(&[0x77, 0x77, 0, 3]);

        talk.refuse(code, &[Attribute::UnknownAttributes(unknown)]);

        let reason = String::from("because");
        let unknown = [0x7777, 3].map(AttributeType).to_vec();
        assert_eq!(
            talk.failure(),
            &QueryFailure::Rejected {
                code,
                reason,
                unknown
            }
        );
        let text = format!("the server refuses: {code} because (0x7777, CHANGE-REQUEST)");
        assert_eq!(talk.failure().to_string(), text);
    }
}

/// RFC 8489 section 6.3.4.
#[test]
fn a_request_is_sent_again_four_times_after_an_error_of_the_server() {
    let mut talk = Talk::new(Config::default());
    talk.ask();

    for _ in 0..5 {
        talk.refuse(500, &[]);
        talk.wait(ms(20_000).min(Duration::from_millis(1000 << (talk.sent.len() - 1))));
    }

    assert_eq!(talk.times(), [0, 1000, 3000, 7000, 15_000]);
    let ids: Vec<_> = talk.sent.iter().map(super::talk::Sent::id).collect();
    assert!(
        ids.windows(2).all(|pair| pair[0] != pair[1]),
        "each is another transaction"
    );
    assert!(matches!(
        talk.failure(),
        QueryFailure::Rejected { code: 500, .. }
    ));
}

/// RFC 8489 sections 6.3.3 and 6.3.4.
#[test]
fn an_answer_with_attributes_that_must_be_understood_fails() {
    let unknown = AttributeType(0x7777);
    for class in [Class::Success, Class::Error] {
        let mut talk = Talk::new(Config::default());
        talk.ask();
        talk.answer(class, &[mapped(), Attribute::Unknown(unknown, b"x")]);
        assert_eq!(
            talk.failure(),
            &QueryFailure::UnknownAttributes(vec![unknown])
        );
    }
    let mut talk = Talk::new(Config::default());
    talk.ask();
    talk.answer(Class::Error, &[]);
    assert_eq!(talk.failure(), &QueryFailure::Incomplete);
    let mut talk = Talk::new(Config::default());
    talk.ask();
    let optional = Attribute::Unknown(AttributeType(0xF777), b"x");
    talk.answer(Class::Success, &[optional, mapped()]);
    talk.mapped();
}

#[test]
fn requests_of_servers_and_indications_are_not_answered() {
    let mut talk = Talk::new(Config::default());
    talk.ask();
    let sent = talk.last();

    for class in [Class::Request, Class::Indication] {
        talk.receive(sent.path, &message(sent.id(), class, &[]));
    }

    assert_eq!((talk.sent.len(), talk.client.stats().unasked), (1, 2));
}

/// RFC 8489 section 6.2.1: RTO grows with the round trip, and by Karn's rule only unambiguous ones count.
#[test]
fn the_first_wait_grows_with_the_round_trips_of_the_host() {
    let mut talk = Talk::new(Config::default());
    talk.ask();
    talk.wait(ms(400));
    talk.answer(Class::Success, &[mapped()]);
    talk.sent.clear();

    let other_port = Path::udp(addr("10.0.0.1:0"), addr("192.0.2.1:3479"));
    talk.query(2, other_port, Query::default());
    talk.wait(ms(3000));

    assert_eq!(talk.times(), [400, 1600], "400 ms and four times 200 ms");
    talk.wait(ms(700_000));
    talk.sent.clear();
    talk.ask();
    talk.wait(ms(600));
    assert_eq!(talk.sent.len(), 2, "ten minutes later it is forgotten");
}

#[test]
fn a_socket_that_is_full_is_written_once_it_is_free() {
    let mut talk = Talk::new(Config::default());
    talk.ask();
    let socket = Path::socket(Proto::Udp, local());
    talk.client.link(talk.now, socket, Link::Full);
    talk.wait(ms(700));
    assert_eq!(talk.sent.len(), 1);

    talk.client.link(talk.now, socket, Link::Free);
    talk.wait(ms(999));

    assert_eq!(talk.times(), [0, 700]);
    talk.wait(ms(1));
    assert_eq!(
        talk.times(),
        [0, 700, 1700],
        "the timer starts when it is sent"
    );
}

#[test]
fn a_socket_of_the_driver_is_used_and_stays_open() {
    let mut talk = Talk::new(Config::default());
    let socket = Path::socket(Proto::Udp, addr("10.0.0.1:3000"));
    talk.client.link(talk.now, socket, Link::Up);

    talk.query(1, Path::udp(socket.local, server()), Query::default());
    talk.answer(Class::Success, &[mapped()]);
    talk.wait(ms(100_000));

    assert_eq!(talk.asks, []);
    assert_eq!(talk.sent[0].path.local, socket.local);
}

#[test]
fn what_the_client_has_opened_is_closed_when_it_is_idle() {
    for to in [Talk::udp, Talk::tcp] {
        let mut talk = Talk::new(Config::default());
        talk.query(1, to(&talk), Query::default());
        talk.answer(Class::Success, &[mapped()]);
        talk.wait(ms(29_999));
        assert_eq!(talk.asks.len(), 1);

        talk.wait(ms(1));

        assert!(matches!(talk.asks[1], Ask::Close(_)), "{:?}", talk.asks);
    }
}

#[test]
fn a_connection_carries_many_queries_in_any_order() {
    let mut talk = Talk::new(Config::default());
    talk.query(1, talk.tcp(), Query::default());
    talk.query(2, talk.tcp(), Query::default());
    talk.wait(ms(50));
    let [first, second] = &talk.sent[..] else {
        panic!("{:?}", talk.sent);
    };
    let answers = [
        message(second.id(), Class::Success, &[mapped()]),
        message(first.id(), Class::Success, &[mapped()]),
    ];
    let (path, answers) = (first.path, answers.concat());

    for chunk in answers.chunks(7) {
        talk.receive(path, chunk);
    }

    assert_eq!(talk.asks.len(), 1);
    let tags: Vec<_> = talk
        .events
        .iter()
        .map(|event| match event {
            Event::Answered { tag, .. } => tag.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(tags, [2, 1]);
}

#[test]
fn a_connection_that_is_refused_or_breaks_ends_its_queries_at_once() {
    let mut talk = Talk::new(Config::default());
    talk.connects = false;
    talk.query(1, talk.tcp(), Query::default());
    let [Ask::Open { tag, path }] = talk.asks[..] else {
        panic!("{:?}", talk.asks);
    };
    talk.client
        .link(talk.now, path, Link::Failed(tag, Cause::Refused));
    talk.drain();
    assert_eq!(talk.failure(), &QueryFailure::Unreachable(Cause::Refused));

    let mut talk = Talk::new(Config::default());
    talk.query(1, talk.tcp(), Query::default());
    talk.client
        .link(talk.now, talk.last().path, Link::Down(Cause::Reset));
    talk.drain();
    assert_eq!(talk.failure(), &QueryFailure::Unreachable(Cause::Reset));
}

#[test]
fn a_connection_that_is_not_made_is_given_up_after_39_5_s() {
    let mut talk = Talk::new(Config::default());
    talk.connects = false;
    talk.query(1, talk.tcp(), Query::default());

    talk.wait(ms(39_500));

    assert_eq!(talk.failure(), &QueryFailure::Unreachable(Cause::TimedOut));
    assert!(matches!(talk.asks[1], Ask::Cancel(_)), "{:?}", talk.asks);
}

/// RFC 8489 section 6.2.2: the server may have closed it as nothing came.
#[test]
fn a_query_on_a_connection_that_served_before_is_asked_again_on_another_one() {
    let mut talk = Talk::new(Config::default());
    talk.query(1, talk.tcp(), Query::default());
    talk.answer(Class::Success, &[mapped()]);
    talk.wait(ms(100));
    talk.events.clear();
    talk.query(2, talk.tcp(), Query::default());

    talk.client.link(talk.now, talk.last().path, Link::Ended);
    talk.wait(ms(100));

    assert_eq!(talk.events, []);
    let opens = talk
        .asks
        .iter()
        .filter(|ask| matches!(ask, Ask::Open { .. }));
    assert_eq!((opens.count(), talk.sent.len()), (2, 3));
    talk.client.link(talk.now, talk.last().path, Link::Ended);
    talk.drain();
    assert_eq!(talk.failure(), &QueryFailure::Unreachable(Cause::Closed));
}

#[test]
fn a_connection_that_is_not_of_stun_is_reset() {
    let mut talk = Talk::new(Config::default());
    talk.query(1, talk.tcp(), Query::default());

    talk.receive(talk.last().path, b"HTTP/1.1 400 Bad Request\r\n\r\n");

    assert_eq!(talk.failure(), &QueryFailure::NotStun);
    assert_eq!(talk.asks[1], Ask::Abort(talk.last().path));
}

#[test]
fn a_request_longer_than_a_datagram_fails() {
    let mut talk = Talk::new(Config::default());
    let query = Query {
        padding: 1600,
        ..Query::default()
    };

    talk.query(1, talk.udp(), query.clone());
    assert!(
        matches!(talk.failure(), QueryFailure::TooLong { octets: 1644 }),
        "{:?}",
        talk.events
    );

    talk.query(1, talk.tcp(), query);
    assert_eq!(talk.last().octets.len(), 1644);
}

#[test]
fn a_client_that_is_closed_closes_its_sockets_and_is_done() {
    let mut talk = Talk::new(Config::default());
    talk.query(1, talk.udp(), Query::default());
    talk.query(2, talk.tcp(), Query::default());

    talk.client.command(talk.now, Command::Close).unwrap();
    talk.drain();

    let closes = talk.asks.iter().filter(|ask| matches!(ask, Ask::Close(_)));
    assert_eq!((closes.count(), talk.is_done), (2, true));
    assert_eq!(talk.events, []);
    let (to, query) = (talk.udp(), Query::default());
    let refused = talk.client.query(talk.now, TAG, to, query);
    assert_eq!(refused, Err(Error::Closed));
}

#[test]
fn a_query_that_cannot_be_is_refused() {
    let mut talk = Talk::new(Config {
        queries: 2,
        sockets: 1,
        ..Config::default()
    });
    let to = |proto, local: &str, remote: &str| Path {
        proto,
        local: addr(local),
        remote: addr(remote),
    };
    let udp = to(Proto::Udp, "10.0.0.1:0", "192.0.2.1:3478");
    let tcp = Path::tcp(udp.local, udp.remote);
    let v6 = to(Proto::Udp, "[::1]:0", "[2001:db8::1]:3478");
    let mixed = to(Proto::Udp, "[::1]:0", "192.0.2.1:3478");
    let no_port = to(Proto::Udp, "10.0.0.1:0", "192.0.2.1:0");
    let plain = Query::default();
    let classic = Query {
        classic: true,
        ..plain.clone()
    };
    let change = Query {
        change: ChangeRequest {
            ip: true,
            port: false,
        },
        ..plain.clone()
    };
    let elsewhere = Query {
        response_port: Some(9),
        padding: 8,
        ..plain.clone()
    };
    let huge = Query {
        padding: 64_001,
        ..plain.clone()
    };
    let nobody = Query {
        credentials: Some(Credentials {
            username: String::new(),
            password: String::from("secret"),
            kind: Default::default(),
        }),
        ..plain.clone()
    };
    let mut refused = |to, query: &Query| talk.client.query(talk.now, Tag(9), to, query.clone());
    let families = Error::Families {
        local: mixed.local,
        remote: mixed.remote,
    };
    assert_eq!(refused(mixed, &plain), Err(families));
    assert_eq!(refused(no_port, &plain), Err(Error::NoPort));
    assert_eq!(refused(v6, &classic), Err(Error::NotClassic));
    assert_eq!(refused(tcp, &classic), Err(Error::NotClassic));
    assert_eq!(refused(tcp, &change), Err(Error::NotOverTcp));
    assert_eq!(refused(udp, &elsewhere), Err(Error::PaddingElsewhere));
    assert_eq!(refused(udp, &huge), Err(Error::TooMuchPadding(64_001)));
    let field = "user name";
    assert_eq!(
        refused(udp, &nobody),
        Err(Error::Credentials { field, most: 508 })
    );

    assert_eq!(refused(udp, &plain), Ok(()));
    assert_eq!(refused(udp, &plain), Err(Error::TagInUse(Tag(9))));
    let mut more = |tag, to| talk.client.query(talk.now, Tag(tag), to, plain.clone());
    assert_eq!(more(1, tcp), Err(Error::TooManySockets(1)));
    assert_eq!(more(1, udp), Ok(()));
    assert_eq!(more(2, udp), Err(Error::TooManyQueries(2)));
}

/// What coturn answers, by its own ids.
#[test]
fn an_answer_of_coturn_is_taken() {
    let capture: crate::stun_captures::Capture = crate::stun_captures::read("01_binding_udp");
    let mut talk = Talk::new(Config::default());
    talk.ask();
    let mut octets = capture.packets[1].octets.to_vec();
    let id = talk.last().id();
    octets[4..20].copy_from_slice(id.octets());
    // The fingerprint covers the id.
    octets.truncate(octets.len() - 8);
    octets[3] -= 8;
    assert_eq!(Message::decode(&octets).unwrap().id(), id);

    talk.receive(talk.last().path, &octets);

    let [Event::Answered { answer, .. }] = &talk.events[..] else {
        panic!("{:?}", talk.events);
    };
    assert_eq!(answer.software.as_deref(), Some("Coturn-4.6.1 'Gorst'"));
    assert_eq!(answer.other, Some(addr("127.0.0.2:3479")));
}
