//! LTP: known faults of other implementations, contact plans, and many peers.

use core::num::NonZeroU32;
use core::slice::from_ref;
use core::time::Duration;

use farlink::Instant;
use farlink::ltp::{Body, Command, Event, Flow, Peer, Reason, Red, Side};
use farlink::sim::{Contacts, FaultRule, Line};

use crate::ltp_scene::{MINUTE, SECOND, Scene, pattern};
use crate::scenarios::ltp::{is, is_checkpoint, is_report};

const LUNAR: Duration = Duration::from_millis(1300);

/// Next door to the Moon, with short segments.
fn lunar(id: u64) -> Peer<u64> {
    Peer {
        segment: 200,
        ..Peer::at(id).with_flow(Flow::Unlimited).at_distance(LUNAR)
    }
}

/// Loses every second of the first segments with red data and no checkpoint.
fn holes() -> FaultRule {
    FaultRule::each((1..60).filter(|nth| nth % 2 == 0))
        .matching(is(|body| {
            matches!(body, Body::Data(_)) && !is_checkpoint(body)
        }))
        .lost()
}

/// The piece of a report that does not begin at 0.
const fn is_later_piece(body: &Body<'_>) -> bool {
    matches!(body, Body::Report(report) if report.scope.start > 0)
}

/// ION issue 14: several reports answer one checkpoint, and one of them is lost for good. The checkpoint is
/// answered, so no timer repeats it, and nothing repairs what only the lost report would have told of.
#[test]
fn ion_14_a_piece_of_a_split_report_is_lost_for_good_and_the_sender_asks_again() {
    // Only the first answer is split; when the sender asks again, one piece tells all.
    let back =
        Line::delayed(LUNAR).with_rule(FaultRule::every().matching(is(is_later_piece)).lost());
    let there = Line::delayed(LUNAR).with_rule(holes());
    let mut scene = Scene::pair(14, there, back, |id| Peer {
        segment: 96,
        ..lunar(id)
    });
    let block = pattern(5000);

    scene.send(1, 2, &block, Red::All);
    scene.run();

    assert_eq!(scene.received(2), [block]);
    assert!(matches!(scene.events(1)[..], [Event::Complete { .. }]));
    assert_eq!(scene.resent(1), 2438, "the holes and nothing else");
    insta::assert_snapshot!(from_the_first_report(&scene.world.ladder()));
}

/// A ladder without a long first pass.
fn from_the_first_report(ladder: &str) -> String {
    let lines = ladder.lines().skip_while(|line| !line.contains(" RS "));
    lines.collect::<Vec<_>>().join("\n")
}

/// The rest of ION issue 14: the cancels of the receiver are lost too.
#[test]
fn ion_14_without_any_answer_both_ends_cancel_and_keep_nothing() {
    let there = Line::delayed(LUNAR).with_rule(FaultRule::each([2, 3]).lost());
    let back =
        Line::delayed(LUNAR).with_rule(FaultRule::every().matching(is_behind_the_first()).lost());
    let mut scene = Scene::pair(15, there, back, lunar);
    let block = pattern(1000);

    scene.send(1, 2, &block, Red::All);
    scene.run();

    assert_eq!(scene.received(2), [block], "the repair arrived");
    assert!(matches!(
        scene.events(1)[..],
        [Event::Failed {
            by: Side::Local,
            reason: Reason::RETRANSMISSION_LIMIT,
            ..
        }]
    ));
    insta::assert_snapshot!(scene.world.ladder());
}

/// Everything but the first report.
fn is_behind_the_first() -> impl Fn(&farlink::sim::PacketView<'_>) -> bool + Send + Sync + 'static {
    let edge = Instant::ZERO + LUNAR + Duration::from_millis(1);
    move |seen| seen.sent > edge
}

/// HDTN issue 19: a red segment that is no checkpoint, a green one that is not the last, and then nothing.
#[test]
fn hdtn_19_sessions_without_a_checkpoint_are_cancelled() {
    for red in [1000, 0] {
        // The line breaks behind the first segment.
        let there = Line::delayed(LUNAR).with_rule(FaultRule::each(2..100).lost());
        let mut scene = Scene::pair(19, there, Line::delayed(LUNAR), lunar);

        scene.send(1, 2, &pattern(1000), Red::Octets(red));
        scene.run();

        let told = scene.events(2);
        let Some((
            Event::Cancelled {
                by: Side::Local,
                reason: Reason::SYSTEM,
                ..
            },
            before,
        )) = told.split_last()
        else {
            panic!("{told:?}");
        };
        match red {
            0 => assert!(matches!(before[..], [Event::Green { offset: 0, .. }])),
            _ => assert!(before.is_empty()),
        }
        insta::assert_snapshot!(format!("hdtn_19_{red}_red"), scene.world.ladder());
    }
}

/// HDTN issue 23: the red part becomes complete by a segment that is overtaken by the checkpoint. The report
/// has a gap; one that nobody asked for says that all is here, and what was queued is not sent.
#[test]
fn hdtn_23_an_overtaken_segment_completes_the_block_and_a_report_says_so() {
    let there = Line::delayed(LUNAR).with_rule(FaultRule::nth(2).delayed(SECOND));
    let mut scene = Scene::pair(23, there, Line::delayed(LUNAR), |id| {
        let mut peer = lunar(id);
        peer.timers.repair_delay = 2 * SECOND;
        peer
    });
    let block = pattern(600);

    scene.send(1, 2, &block, Red::All);
    scene.run();

    assert_eq!(scene.received(2), [block]);
    assert_eq!(scene.resent(1), 0);
    insta::assert_snapshot!(scene.world.ladder());
}

/// HDTN issue 24: reports of one session come out of order, and what one calls missing another claims.
#[test]
fn hdtn_24_reports_out_of_order_cause_no_retransmission() {
    let there =
        Line::delayed(LUNAR).with_rule(FaultRule::nth(2).delayed(Duration::from_millis(300)));
    let back = Line::delayed(LUNAR).with_rule(FaultRule::nth(1).delayed(SECOND));
    let mut scene = Scene::pair(24, there, back, |id| {
        let mut peer = lunar(id);
        peer.checkpoint_every = NonZeroU32::new(3);
        peer.timers.repair_delay = SECOND;
        peer
    });
    let block = pattern(1000);

    scene.send(1, 2, &block, Red::All);
    scene.run();

    assert_eq!(scene.received(2), [block]);
    assert_eq!(scene.resent(1), 0);
    insta::assert_snapshot!(scene.world.ladder());
}

/// HDTN issue 31: the receiver cancels, its cancel comes many times, and the application hears of it once.
#[test]
fn hdtn_31_a_repeated_cancel_gives_one_event() {
    let is_cancel = |body: &Body<'_>| matches!(body, Body::CancelByReceiver(_));
    let is_answer = |body: &Body<'_>| matches!(body, Body::CancelAckToReceiver);
    let there = Line::delayed(LUNAR)
        .with_rule(FaultRule::every().matching(is(is_checkpoint)).lost())
        .with_rule(FaultRule::each([1, 2, 3, 4]).matching(is(is_answer)).lost());
    let back =
        Line::delayed(LUNAR).with_rule(FaultRule::every().matching(is(is_cancel)).duplicated());
    let mut scene = Scene::pair(31, there, back, lunar);

    scene.send(1, 2, &pattern(500), Red::All);
    scene.world.run_for(2 * SECOND);
    let mars = scene.node(2);
    let session = farlink::ltp::SessionId {
        originator: 1,
        number: session_of(&scene),
    };
    scene.world.command(mars, Command::Refuse(session)).unwrap();
    scene.run();

    assert!(matches!(
        scene.events(1)[..],
        [Event::Failed {
            by: Side::Remote,
            reason: Reason::USER,
            ..
        }]
    ));
    assert!(matches!(
        scene.events(2)[..],
        [Event::Cancelled {
            by: Side::Local,
            reason: Reason::USER,
            ..
        }]
    ));
    insta::assert_snapshot!(scene.world.ladder());
}

/// The number of the first session, out of its first segment.
fn session_of(scene: &Scene) -> u64 {
    let packets = scene.world.trace().packets();
    let numbers = packets.map(|packet| {
        let segment = farlink::ltp::Segment::decode(&packet.octets).unwrap();
        segment.session.number
    });
    numbers.into_iter().next().unwrap()
}

/// Twelve minutes of light, four minutes of contact in forty, and losses: no timer runs while nobody can
/// answer, so none is wasted.
#[test]
fn a_file_reaches_mars_through_contact_windows() {
    const LIGHT: Duration = Duration::from_secs(12 * 60);
    const PERIOD: Duration = Duration::from_secs(40 * 60);
    let there = Line {
        contacts: Contacts::periodic(Duration::ZERO, 4 * MINUTE, PERIOD),
        ..Line::delayed(LIGHT).with_rule(FaultRule::each([3, 9, 14, 21]).lost())
    };
    // Mars speaks when what came from Earth has come.
    let back = Line {
        contacts: Contacts::periodic(LIGHT, 6 * MINUTE, PERIOD),
        ..Line::delayed(LIGHT)
    };
    let mut scene = Scene::pair(12, there, back, |id| Peer {
        flow: Flow::rate(100).with_burst(1400),
        ..Peer::at(id).at_distance(LIGHT)
    });
    let file = pattern(27_000);

    scene.send(1, 2, &file, Red::All);
    scene.run();

    assert_eq!(scene.received(2), [file]);
    assert!(matches!(scene.events(1)[..], [Event::Complete { .. }]));
    let stats = scene.world.machine(scene.node(1)).stats();
    assert_eq!(stats.checkpoints_resent, 0);
    insta::assert_snapshot!(scene.world.ladder());
}

#[test]
fn both_send_at_once_and_both_repair() {
    let line = || Line::delayed(LUNAR).with_rule(FaultRule::each([2, 5, 8]).lost());
    let mut scene = Scene::pair(2, line(), line(), lunar);
    let (out, back) = (pattern(900), pattern(700));

    scene.send(1, 2, &out, Red::Octets(600));
    scene.send(2, 1, &back, Red::All);
    scene.run();

    assert_eq!(scene.received(2), [out.slice(..600)]);
    assert_eq!(scene.received(1), [back]);
    insta::assert_snapshot!(scene.world.ladder());
}

/// A relay with five probes at different distances: whoever is far or silent holds nobody else up.
#[test]
fn many_peers_do_not_wait_for_each_other() {
    let mut scene = Scene::new(6, ["relay", "one", "two", "three", "four", "silent"]);
    for id in 2..=6 {
        let light = SECOND * u32::try_from(id - 1).unwrap();
        let there = match id {
            4 => Line::delayed(light).with_rule(FaultRule::nth(1).lost()),
            6 => Line::delayed(light).with_rule(FaultRule::every().lost()),
            _ => Line::delayed(light),
        };
        let back = match id {
            5 => Line::delayed(light).with_rule(FaultRule::nth(1).matching(is(is_report)).lost()),
            _ => Line::delayed(light),
        };
        scene.join(1, id, there, back, move |peer| {
            Peer::at(peer).with_flow(Flow::Unlimited).at_distance(light)
        });
    }
    let block = pattern(300);

    for id in 2..=6 {
        scene.send(1, id, &block, Red::All);
    }
    for id in 2..=3 {
        scene.send(id, 1, &block, Red::All);
    }
    scene.run();

    for id in 2..=5 {
        assert_eq!(scene.received(id), from_ref(&block), "probe {id}");
    }
    assert_eq!(scene.received(1), [block.clone(), block.clone()]);
    let events = scene.events(1);
    let complete = |event: &&Event| matches!(event, Event::Complete { .. });
    assert_eq!(events.iter().filter(complete).count(), 4);
    assert!(matches!(events.last(), Some(Event::Failed { .. })));
    insta::assert_snapshot!(scene.world.ladder());
}
