//! Silence is that of a peer, not of a session, and time counts from when the last octet has left (RFC 5326 sections 6.2,
//! 6.3, 6.5 and 6.6). Lines are slow, interrupted, asymmetric or far, and nothing is given up while the peer is heard.

use core::time::Duration;

use farlink::ltp::{Block, Body, Config, Cue, Event, Flow, Peer, Red, Service};
use farlink::sim::{FaultRule, Line};
use farlink::{Instant, Tag};

use super::scene::{Scene, is_longer, is_type};
use super::{PEER, block};
use crate::ltp_alone::{Alone, secs, session};

const NEAR: Duration = Duration::from_millis(10);

fn peer(id: u64) -> Peer<u64> {
    Peer::at(id)
}

/// A peer at a known rate, in octets per second.
fn paced(id: u64, rate: u64) -> Peer<u64> {
    Peer {
        flow: Flow::rate(rate).with_burst(1400),
        ..peer(id)
    }
}

/// A line of this many octets per second, first in, first out.
fn slow(delay: Duration, rate: u64) -> Line {
    Line {
        rate: Some(rate * 8),
        ..Line::delayed(delay)
    }
}

/// Loses the first data segments without a checkpoint.
fn losing(count: u64, line: Line) -> Line {
    line.with_rule(FaultRule::each(1..=count).matching(is_type(0)).lost())
}

/// Nothing passes in this part of the run, and nobody is told.
fn dark(from: u64, to: u64, line: Line) -> Line {
    let span = Instant::ZERO + secs(from)..Instant::ZERO + secs(to);
    let rule = FaultRule::every().matching(move |packet| span.contains(&packet.sent));
    line.with_rule(rule.lost())
}

fn tagged(tag: u64, len: usize) -> Block {
    Block {
        tag: Tag(tag),
        ..block(2, len)
    }
}

// Contacts that end.

#[test]
fn a_silence_of_32_s_does_not_end_a_reception() {
    let mut alone = Alone::new(Config::engine(2), 2);
    alone.engine.add_peer(alone.now, 1, Peer::at(PEER)).unwrap();
    alone.engine.open(alone.now, 4, Service::Whole).unwrap();

    alone.hear(PEER, "00 01 05 00 04 00 05 41*5");
    alone.run_for(secs(32));
    alone.hear(PEER, "03 01 05 00 04 05 05 09 00 42*5");

    assert_eq!(alone.received(), [(session(1, 5), &b"AAAAABBBBB"[..])]);
    assert!(alone.has_reported(session(1, 5), 9));
}

#[test]
fn a_reception_whose_report_waits_for_a_contact_sets_no_timer_until_it_has_ended() {
    let mut alone = Alone::new(Config::engine(2), 2);
    let sender = Peer::at(PEER);
    let limit = sender.timers.silence;
    alone.engine.add_peer(alone.now, 1, sender).unwrap();
    alone.engine.open(alone.now, 4, Service::Whole).unwrap();
    alone.engine.contact(alone.now, 1, Cue::MustStop).unwrap();
    alone.hear(PEER, "01 01 05 00 04 00 05 09 00 41*5");

    let polls = alone.polls;
    alone.run();
    assert!(alone.polls - polls < 20, "{} polls", alone.polls - polls);
    assert_eq!(alone.engine.usage().sessions, (0, 1));
    assert_eq!(alone.sent.len(), 0);

    alone
        .engine
        .contact(alone.now, 1, Cue::MayTransmit)
        .unwrap();
    alone.drain();
    assert!(alone.has_reported(session(1, 5), 9));
    let serial = alone.reports(session(1, 5))[0];
    alone.hear(PEER, &format!("09 01 05 00 @{serial}"));

    // The report has ended, and nothing comes: the guard ends the reception.
    alone.run_for(limit + secs(60));
    alone.hear(PEER, "0f 01 05 00");
    assert_eq!(alone.engine.usage().sessions, (0, 0));
}

#[test]
fn blocks_outlive_a_gap_in_contact_of_which_nobody_was_told() {
    for gap in [13, 32, 120] {
        let lines = [(); 2].map(|()| dark(8, 8 + gap, Line::delayed(NEAR)));
        let mut scene = Scene::pair([paced(2, 200_000), paced(1, 200_000)], lines);
        for tag in 1..=3 {
            scene.send(1, tagged(tag, 1_500_000));
        }

        scene.run_until_over(600);

        scene.assert_all_complete(&[1_500_000; 3]);
    }
}

#[test]
fn a_gap_of_22_h_that_cues_tell_of_does_not_count() {
    const HOUR: u64 = 3600;
    let lines = [(); 2].map(|()| dark(8, 22 * HOUR, Line::delayed(NEAR)));
    let mut scene = Scene::pair([paced(2, 200_000), paced(1, 200_000)], lines);
    scene.send(1, tagged(1, 5_000_000));
    scene.run(8);
    for (at, other) in [(1, 2), (2, 1)] {
        scene.contact(at, other, Cue::MustStop);
        scene.contact(at, other, Cue::PeerStopped);
    }
    scene.run(22 * HOUR - 8);
    for (at, other) in [(1, 2), (2, 1)] {
        scene.contact(at, other, Cue::PeerTransmits);
        scene.contact(at, other, Cue::MayTransmit);
    }

    scene.run_until_over(600);

    scene.assert_all_complete(&[5_000_000]);
}

#[test]
fn a_peer_that_was_never_heard_is_given_up_after_12_s() {
    let gone = || dark(0, 10_000, Line::delayed(NEAR));
    let mut scene = Scene::pair([peer(2), peer(1)], [gone(), gone()]);
    scene.send(1, tagged(1, 10_000));

    let span = scene.run_until_over(3600);

    assert!(scene.complete(1).is_empty());
    let is_failed = |(_, event): &(Instant, Event)| matches!(event, Event::Failed { .. });
    let failed = scene.events(1).into_iter().find(is_failed).unwrap();
    let after = failed.0 - Instant::ZERO;
    assert!(
        (secs(12)..secs(15)).contains(&after),
        "{after:?} of {span:?}"
    );
}

#[test]
fn a_peer_that_was_heard_is_tried_for_ten_minutes_with_few_probes() {
    let gone = || dark(10, 100_000, Line::delayed(NEAR));
    let mut scene = Scene::pair([peer(2), peer(1)], [gone(), gone()]);
    scene.send(1, tagged(1, 1000));
    scene.run(20);
    assert_eq!(scene.complete(1).len(), 1);
    for tag in 2..7 {
        scene.send(1, tagged(tag, 100));
    }
    scene.run(1);
    let before = scene.machine(1).stats().segments_sent;

    scene.run(565);
    let probes = scene.machine(1).stats().segments_sent - before;
    let live = scene.machine(1).usage().sessions.0;
    scene.run(150);

    assert_eq!(live, 5, "all blocks wait for the peer");
    assert!(probes <= 30, "{probes} probes");
    let failed = scene.events(1).into_iter();
    let failed = failed.filter(|(_, event)| matches!(event, Event::Failed { .. }));
    assert_eq!(failed.count(), 5);
}

// Lines that are slower than the answer.

#[test]
fn a_segment_that_takes_14_s_outlasts_no_guard() {
    // The rate is known to the sender, or to both.
    let peers = [[paced(2, 100), peer(1)], [paced(2, 100), paced(1, 100)]];
    for peers in peers {
        let lines = [Line::delayed(NEAR), Line::delayed(NEAR)];
        let mut scene = Scene::pair(peers, lines);
        scene.send(1, tagged(1, 5000));

        let span = scene.run_until_over(1200);

        scene.assert_all_complete(&[5000]);
        assert!(span < secs(300), "{span:?}");
    }
}

#[test]
fn a_checkpoint_is_not_repeated_while_octets_before_it_leave() {
    let peers = [2, 1].map(|id| Peer {
        flow: Flow::rate(1000),
        ..peer(id)
    });
    let far = Duration::from_millis(100);
    let mut scene = Scene::pair(peers, [slow(far, 1000), slow(far, 1000)]);
    scene.send(1, tagged(1, 60_000));

    let span = scene.run_until_over(600);

    scene.assert_all_complete(&[60_000]);
    assert_eq!(scene.machine(1).stats().checkpoints_resent, 0);
    assert!(span < secs(70), "{span:?}");
}

/// The first segment of the answer takes longer than a peer that was never heard is given, so one must have been heard.
#[test]
fn a_line_of_14_s_a_segment_carries_blocks_to_a_peer_that_was_heard_though_nobody_knows_its_rate() {
    let lines = [slow(NEAR, 100), Line::delayed(NEAR)];
    let mut scene = Scene::pair([peer(2), peer(1)], lines);
    scene.send(1, tagged(1, 500));
    scene.run(20);
    assert_eq!(scene.complete(1).len(), 1);
    scene.send(1, tagged(2, 5000));

    let span = scene.run_until_over(1200);

    scene.assert_all_complete(&[500, 5000]);
    assert!(span < secs(300), "{span:?}");
}

/// What a rate allows at once follows the rate: no more than two segments, or a few milliseconds.
#[test]
fn no_more_than_two_segments_leave_at_once_at_a_low_rate() {
    let mut alone = Alone::new(Config::engine(1), 1);
    let slow = Peer {
        flow: Flow::rate(1000),
        ..Peer::at(PEER)
    };
    alone.engine.add_peer(alone.now, 2, slow).unwrap();
    alone
        .engine
        .send_block(alone.now, block(2, 60_000))
        .unwrap();

    alone.drain();

    assert!(alone.sent.len() <= 2, "{} segments", alone.sent.len());
}

#[test]
fn a_block_that_waits_behind_the_repairs_of_another_is_not_cancelled() {
    for red in [Red::All, Red::Octets(1300)] {
        let there = losing(40, Line::delayed(NEAR));
        let there = there.with_rule(FaultRule::nth(1).matching(is_type(3)).lost());
        let peers = [paced(2, 2000), paced(1, 2000)];
        let mut scene = Scene::pair(peers, [there, Line::delayed(NEAR)]);
        scene.send(1, tagged(1, 60_000));
        scene.run(20);
        scene.send(
            1,
            Block {
                red,
                ..tagged(2, 20_000)
            },
        );

        scene.run_until_over(600);

        let red = match red {
            Red::All => 20_000,
            Red::Octets(len) => len as usize,
        };
        scene.assert_all_complete(&[60_000, red]);
        let green = scene
            .events(2)
            .into_iter()
            .filter_map(|(_, event)| match event {
                Event::Green { data, .. } => Some(data.len()),
                _ => None,
            });
        assert_eq!(green.sum::<usize>(), 20_000 - red);
    }
}

#[test]
fn three_blocks_from_the_moon_that_are_repaired_in_turn_are_all_received() {
    let light = Duration::from_millis(1300);
    let moon = |id| paced(id, 4000).at_distance(light);
    let there = losing(150, Line::delayed(light));
    let mut scene = Scene::pair([moon(2), moon(1)], [there, Line::delayed(light)]);
    for tag in 1..=3 {
        scene.send(1, tagged(tag, 1_000_000));
    }

    scene.run_until_over(4000);

    scene.assert_all_complete(&[1_000_000; 3]);
}

// Segments that the path takes no more.

#[test]
fn a_checkpoint_that_is_too_long_for_the_path_is_cut_anew() {
    let change = Instant::ZERO + Duration::from_millis(500);
    let there = Line::delayed(NEAR)
        .with_rule(FaultRule::nth(1).matching(is_type(3)).lost())
        .with_rule(FaultRule::every().matching(is_longer(600, change)).lost());
    let mut scene = Scene::pair([peer(2), peer(1)], [there, Line::delayed(NEAR)]);
    scene.send(1, tagged(1, 4100));
    scene.world.run_until(change);
    let shorter = Peer {
        segment: 600,
        ..peer(2)
    };
    scene.change(1, 2, shorter);

    let span = scene.run_until_over(600);

    scene.assert_all_complete(&[4100]);
    assert!(span < secs(10), "{span:?}");
}

#[test]
fn a_report_that_is_too_long_for_the_path_is_made_anew_of_shorter_ones() {
    let mut alone = Alone::new(Config::engine(2), 2);
    let long = Peer {
        segment: 9000,
        flow: Flow::Unlimited,
        ..Peer::at(PEER)
    };
    alone.engine.add_peer(alone.now, 1, long).unwrap();
    alone.engine.open(alone.now, 4, Service::Whole).unwrap();
    for range in 1..=600 {
        alone.hear(PEER, &format!("00 01 05 00 04 @{} 02 4141", range * 10));
    }
    alone.hear(PEER, "03 01 05 00 04 @6010 02 09 00 4242");
    let before = alone.sent.len();
    let short = Peer {
        segment: 200,
        flow: Flow::Unlimited,
        ..Peer::at(PEER)
    };

    alone.engine.change_peer(alone.now, 1, short).unwrap();
    alone.run_for(secs(5));

    let after = &alone.sent[before..];
    let long = after.iter().filter(|sent| sent.octets.len() > 200).count();
    assert_eq!(long, 0, "of {}", after.len());
    let mut scopes: Vec<(u64, u64)> = after
        .iter()
        .filter_map(|sent| match sent.segment().body {
            Body::Report(report) => Some((report.scope.start, report.scope.end)),
            _ => None,
        })
        .collect();
    scopes.sort_unstable();
    let mut reached = 0;
    for (start, end) in scopes {
        assert!(start <= reached, "a hole before {start}");
        reached = reached.max(end);
    }
    assert_eq!(reached, 6012);
}

// Return links that are slower than the way there.

/// A line whose way back is slower than the way there.
#[derive(Debug, Clone, Copy)]
struct Asymmetry {
    len: usize,
    /// Octets per second, there and back.
    rates: [u64; 2],
    light: Duration,
    /// Whether the engines know the light time.
    is_told: bool,
    /// Whether one data segment of a hundred is lost.
    is_lossy: bool,
    is_adaptive: bool,
}

impl Asymmetry {
    fn peer(self, id: u64, rate: u64, burst: u32) -> Peer<u64> {
        let told = if self.is_told {
            self.light
        } else {
            Duration::ZERO
        };
        let peer = Peer {
            flow: Flow::rate(rate).with_burst(burst),
            ..peer(id)
        };
        let peer = peer.at_distance(told);
        if self.is_adaptive {
            peer.adaptive()
        } else {
            peer
        }
    }

    /// How long a block takes, which must arrive whole.
    fn transfer(self) -> Duration {
        let [there, back] = self.rates;
        let peers = [self.peer(2, there, 14_000), self.peer(1, back, 1400)];
        let mut out = slow(self.light, there);
        if self.is_lossy {
            let hundredth = FaultRule::each((1..10_000).map(|n| n * 100));
            out = out.with_rule(hundredth.matching(is_type(0)).lost());
        }
        let mut scene = Scene::pair(peers, [out, slow(self.light, back)]);
        scene.send(1, tagged(1, self.len));

        scene.run_until_over(100_000);

        scene.assert_all_complete(&[self.len]);
        scene.complete(1)[0]
    }
}

#[test]
fn a_return_link_8000_times_slower_carries_the_reports() {
    for is_adaptive in [false, true] {
        for is_told in [false, true] {
            let line = Asymmetry {
                len: 1_000_000,
                rates: [1_000_000, 125],
                light: Duration::from_millis(250),
                is_told,
                is_lossy: false,
                is_adaptive,
            };

            let span = line.transfer();

            assert!(span < secs(20), "{span:?}: {line:?}");
        }
    }
}

#[test]
fn a_return_link_1000_times_slower_serves_both_ways_alike() {
    for light in [1, 250, 1300].map(Duration::from_millis) {
        serves_both_ways_alike(light);
    }
}

#[test]
fn a_return_link_1000_times_slower_serves_both_ways_alike_over_an_hour_of_light() {
    serves_both_ways_alike(Duration::from_secs(3600));
}

fn serves_both_ways_alike(light: Duration) {
    let [fixed, adaptive] = [false, true].map(|is_adaptive| {
        let line = Asymmetry {
            len: 4_000_000,
            rates: [250_000, 250],
            light,
            is_told: true,
            is_lossy: true,
            is_adaptive,
        };
        line.transfer()
    });

    let faster = fixed.min(adaptive);
    for span in [fixed, adaptive] {
        assert!(
            span.as_secs_f64() <= 1.2 * faster.as_secs_f64(),
            "{light:?}: fixed {fixed:?}, adaptive {adaptive:?}"
        );
    }
}

// Probes.

#[test]
fn sessions_that_have_ended_use_up_no_probe_of_a_silent_peer() {
    let mut alone = Alone::new(Config::engine(1), 1);
    alone.engine.add_peer(alone.now, 2, Peer::at(PEER)).unwrap();
    alone.hear(PEER, "0d 01 @1000 00");
    alone.run_for(secs(1));
    for tag in 1..=10 {
        let block = tagged(tag, 10);
        alone.engine.send_block(alone.now, block).unwrap();
    }
    alone.run_for(secs(3));
    for tag in 1..10 {
        alone.engine.cancel(alone.now, Tag(tag)).unwrap();
    }

    alone.run_for(secs(4));

    let probes: Vec<u64> = alone
        .sent
        .iter()
        .filter(|sent| sent.segment().body.code() == 3)
        .map(|sent| (sent.at - Instant::ZERO).as_secs())
        .collect();
    assert_eq!(probes[10..], [3, 7], "of the first block and of the last");
}
