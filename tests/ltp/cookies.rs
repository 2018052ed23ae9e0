//! Cookies of peers (RFC 5327 section 2.2).

use core::time::Duration;

use farlink::ltp::{
    Body, Checkpoint, Claims, Color, Data, ExtensionTag, Extensions, Mark, Reason, Red, Report,
    Segment, SessionId,
};

use crate::line::{CLIENT, Line, pattern};

const OWLT: Duration = Duration::from_secs(1);

fn session(number: u64) -> SessionId {
    SessionId {
        originator: 1,
        number,
    }
}

/// Ten red octets at `offset`, under cookies.
fn data(number: u64, offset: u64, cookies: &[&[u8]]) -> Vec<u8> {
    with_cookies(number, cookies, plain(offset))
}

const fn plain(offset: u64) -> Body<'static> {
    Body::Data(Data {
        client: CLIENT,
        offset,
        color: Color::Red(None),
        octets: &[7; 10],
    })
}

fn with_cookies(number: u64, cookies: &[&[u8]], body: Body<'_>) -> Vec<u8> {
    let mut header = Vec::new();
    for cookie in cookies {
        header.push(ExtensionTag::COOKIE.0);
        farlink::ltp::put_sdnv(&mut header, cookie.len() as u64);
        header.extend_from_slice(cookie);
    }
    let mut octets = Vec::new();
    Segment {
        header: Extensions::new(&header).unwrap(),
        ..Segment::new(session(number), body)
    }
    .encode(&mut octets);
    octets
}

fn keeping(max_cookies: u32) -> Line {
    Line::with(
        1,
        OWLT,
        move |config| config.limits.cookies = max_cookies,
        |_| {},
    )
}

fn kept(line: &mut Line, number: u64) -> Vec<Vec<u8>> {
    let far = line.far();
    far.cookies(session(number)).map(<[u8]>::to_vec).collect()
}

#[test]
fn cookies_are_ignored_by_default_and_their_segments_taken() {
    let mut line = Line::new(1, OWLT);

    line.deliver(2, &data(5, 0, &[b"cookie"]));

    assert_eq!(kept(&mut line, 5), Vec::<Vec<u8>>::new());
    assert_eq!(line.far().stats().red_octets, 10);
}

#[test]
fn a_cookie_that_begins_with_the_kept_one_takes_its_place() {
    let mut line = keeping(4);

    line.deliver(2, &data(5, 0, &[b"abcd"]));
    assert_eq!(kept(&mut line, 5), [b"abcd"]);
    line.deliver(2, &data(5, 10, &[b"abcdef"]));
    assert_eq!(kept(&mut line, 5), [b"abcdef"]);
    line.deliver(2, &data(5, 20, &[]));

    assert_eq!(kept(&mut line, 5), [b"abcdef"], "they are not checked");
    assert_eq!(line.far().stats().invalid_cookies, 0);
    assert_eq!(line.far().stats().red_octets, 30);
}

#[test]
fn each_engine_may_begin_one_and_a_third_is_odd() {
    let mut line = keeping(4);

    line.deliver(2, &data(5, 0, &[b"abcd"]));
    line.deliver(2, &data(5, 10, &[b"abcd", b"wxyz1"]));
    line.deliver(2, &data(5, 20, &[b"other", b"abc"]));

    assert_eq!(kept(&mut line, 5), [&b"abcd"[..], b"wxyz1"]);
    assert_eq!(line.far().stats().invalid_cookies, 2);
    assert_eq!(line.far().stats().red_octets, 30);
}

#[test]
fn empty_cookies_and_those_of_more_than_256_octets_are_odd() {
    let mut line = keeping(4);

    line.deliver(2, &data(5, 0, &[b"", &[1; 257]]));
    line.deliver(2, &data(5, 10, &[&[1; 256]]));

    assert_eq!(kept(&mut line, 5), [[1; 256]]);
    assert_eq!(line.far().stats().invalid_cookies, 2);
}

#[test]
fn cookies_of_no_more_sessions_are_kept_than_wanted() {
    let mut line = keeping(1);

    line.deliver(2, &data(5, 0, &[b"abcd"]));
    line.deliver(2, &data(6, 0, &[b"abcd"]));

    assert_eq!(kept(&mut line, 5), [b"abcd"]);
    assert_eq!(kept(&mut line, 6), Vec::<Vec<u8>>::new());
    assert_eq!(line.far().stats().no_room, 1);
}

const COOKIE: &[u8] = b"abcd";

fn of_color(color: Color) -> Body<'static> {
    Body::Data(Data {
        client: CLIENT,
        offset: 10,
        color,
        octets: &[7; 10],
    })
}

fn checkpoint(mark: Mark) -> Body<'static> {
    let (serial, report) = (1, 0);
    of_color(Color::Red(Some(Checkpoint {
        serial,
        report,
        mark,
    })))
}

/// All segments that the sender of a block sends in an open session.
#[test]
fn a_receiver_shows_the_cookies_of_every_segment_of_a_session() {
    let bodies = [
        of_color(Color::Red(None)),
        checkpoint(Mark::None),
        checkpoint(Mark::RedPart),
        checkpoint(Mark::Block),
        of_color(Color::Green { ends_block: false }),
        of_color(Color::Green { ends_block: true }),
        Body::ReportAck(9),
    ];
    for (number, body) in (10..).zip(bodies) {
        let mut line = keeping(4);
        // Of which nothing but the first octets is there.
        if !matches!(body, Body::Data(data) if data.color == Color::Red(None)) {
            line.deliver(2, &data(number, 0, &[]));
        }

        line.deliver(2, &with_cookies(number, &[COOKIE], body));

        assert_eq!(kept(&mut line, number), [COOKIE], "{body:?}");
    }
}

#[test]
fn a_sender_shows_the_cookies_of_reports() {
    let mut line = keeping(4);
    let sent = line.send(1, &pattern(10), Red::All);
    line.drain();
    let report = Body::Report(Report {
        serial: 1,
        checkpoint: 0,
        scope: (0..10).into(),
        claims: Claims::new(&[0..5]),
    });

    line.deliver(1, &with_cookies(sent.number, &[COOKIE], report));

    assert!(line.near().cookies(sent).eq([COOKIE]));
}

/// These segments end the session, and its cookies with it. The segments can still be decoded.
#[test]
fn cancellations_and_their_acknowledgments_are_read_with_their_cookies() {
    for body in [
        Body::CancelBySender(Reason::USER),
        Body::CancelByReceiver(Reason::USER),
        Body::CancelAckToSender,
        Body::CancelAckToReceiver,
    ] {
        let octets = with_cookies(5, &[COOKIE], body);

        let segment = Segment::decode(&octets).unwrap();

        let cookie = segment.header.find(ExtensionTag::COOKIE);
        assert_eq!((cookie, segment.body), (Some(COOKIE), body));
        let mut line = keeping(4);
        line.deliver(2, &octets);
        assert_eq!(line.far().stats().malformed, 0);
    }
}

#[test]
fn cookies_end_with_their_session_in_either_role() {
    let mut line = keeping(4);
    let sent = line.send(1, &pattern(10), Red::All);
    line.drain();
    let ack = with_cookies(
        sent.number,
        &[b"abcd"],
        Body::CancelByReceiver(Reason::USER),
    );
    let report = Body::Report(Report {
        serial: 1,
        checkpoint: 0,
        scope: (0..10).into(),
        claims: Claims::new(&[0..5]),
    });
    line.deliver(1, &with_cookies(sent.number, &[b"abcd"], report));
    assert_eq!(line.near().cookies(sent).count(), 1);
    let end = Body::Data(Data {
        client: CLIENT,
        offset: 0,
        color: Color::Red(Some(Checkpoint {
            serial: 1,
            report: 0,
            mark: Mark::Block,
        })),
        octets: &[7; 10],
    });

    line.deliver(2, &with_cookies(9, &[b"abcd"], end));
    assert_eq!(
        kept(&mut line, 9),
        [b"abcd"],
        "reports are not acknowledged yet"
    );
    line.deliver(1, &ack);
    line.run();

    assert_eq!(line.near().cookies(sent).count(), 0);
    assert_eq!(kept(&mut line, 9), Vec::<Vec<u8>>::new());
}
