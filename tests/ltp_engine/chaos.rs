//! Many seeds: loss, duplication and reordering of everything.

use core::time::Duration;

use farlink::ltp::{Event, Red, Service, SessionId};
use farlink::{Chance, Instant, Link, Machine as _, Seed, Tag};

use crate::line::{CLIENT, Fate, Line, block, pattern};

struct Weather {
    chance: Chance,
    loss: u64,
    twice: u64,
    late: u64,
    span: u64,
}

impl Weather {
    fn new(seed: u64) -> Self {
        let mut chance = Seed::from(seed).child("weather").chance();
        Self {
            loss: [0, 10, 100, 300][chance.below(4) as usize],
            twice: [0, 50, 300][chance.below(3) as usize],
            late: [0, 50, 300][chance.below(3) as usize],
            span: 1 + chance.below(3_000_000_000),
            chance,
        }
    }

    fn fate(&mut self) -> Fate {
        let mut falls = |per_mille| self.chance.below(1000) < per_mille;
        if falls(self.loss) {
            Fate::Drop
        } else if falls(self.twice) {
            Fate::Twice
        } else if falls(self.late) {
            Fate::Late(Duration::from_nanos(self.chance.below(self.span)))
        } else {
            Fate::Pass
        }
    }
}

/// Sends a few blocks of all kinds through the weather, and proves what must hold whatever happened.
fn storm(seed: u64) {
    let mut chance = Seed::from(seed).child("world").chance();
    let delay = Duration::from_nanos(chance.below(2_000_000_000));
    let segment = 96 + chance.below(300) as usize;
    let every = u32::try_from(chance.below(4)).unwrap();
    let report_delay = Duration::from_millis([0, 0, 20][chance.below(3) as usize]);
    let repair_delay = Duration::from_millis([0, 0, 20][chance.below(3) as usize]);
    let copies = [0, 0, 0, 1, 2][chance.below(5) as usize];
    let retries = [2, 5, 30][chance.below(3) as usize];
    let streaming = chance.below(4) == 0;
    let mut weather = Weather::new(seed);
    let mut line = Line::with(
        seed,
        delay,
        |_| {},
        |peer| {
            peer.segment = segment;
            peer.checkpoint_every = core::num::NonZeroU32::new(every);
            peer.report_delay = report_delay;
            peer.repair_delay = repair_delay;
            peer.copies = copies;
            peer.checkpoint_retries = retries;
            peer.report_retries = retries;
        },
    )
    .judged(move |_| weather.fate());
    if streaming {
        line.far().close(Instant::ZERO, CLIENT).unwrap();
        line.far()
            .open(Instant::ZERO, CLIENT, Service::Streaming)
            .unwrap();
    }
    let blocks: Vec<(Vec<u8>, u64)> = (0..=chance.below(4))
        .map(|_| {
            let len = 1 + chance.below(3000);
            let red = match chance.below(4) {
                0 => 0,
                1 => chance.below(len + 1),
                _ => len,
            };
            (pattern(len as usize), red)
        })
        .collect();
    let mut sessions = Vec::new();
    for (tag, (data, red)) in blocks.iter().enumerate() {
        sessions.push(line.send(tag as u64, data, Red::Octets(*red)));
        line.run_for(Duration::from_nanos(chance.below(1_000_000_000)));
        if chance.below(12) == 0 {
            let now = line.now;
            let _ = line.near().cancel(now, Tag(tag as u64));
        }
        if chance.below(8) == 0 {
            line.link(chance.below(2) as usize, Link::Down(farlink::Cause::Closed));
            line.run_for(Duration::from_nanos(chance.below(20_000_000_000)));
            line.link(0, Link::Up);
            line.link(1, Link::Up);
        }
    }
    line.run();
    prove(seed, &mut line, &blocks, &sessions, streaming);
}

/// Each block has one end, and is delivered whole and once, surely if it is said to be complete.
fn prove(
    seed: u64,
    line: &mut Line,
    blocks: &[(Vec<u8>, u64)],
    sessions: &[SessionId],
    streaming: bool,
) {
    let near = line.events(1);
    let far = line.events(2);
    for (tag, (data, red)) in blocks.iter().enumerate() {
        let ends: Vec<_> = near
            .iter()
            .filter(|event| match event {
                Event::Complete { tag: of, .. } | Event::Failed { tag: of, .. } => {
                    of.0 == tag as u64
                }
                _ => false,
            })
            .collect();
        assert_eq!(ends.len(), 1, "seed {seed}, block {tag}: one end");
        let whole: Vec<_> = far
            .iter()
            .filter_map(|event| match event {
                Event::Received { session, data, .. } if *session == sessions[tag] => Some(data),
                _ => None,
            })
            .collect();
        assert!(
            whole.len() <= 1,
            "seed {seed}, block {tag}: delivered twice"
        );
        if let Some(whole) = whole.first() {
            assert_eq!(whole[..], data[..*red as usize], "seed {seed}, block {tag}");
        }
        let is_complete = matches!(ends[0], Event::Complete { .. });
        assert!(
            !is_complete || *red == 0 || whole.len() == 1,
            "seed {seed}, block {tag}: completed and not delivered"
        );
        let mut pieces = Vec::new();
        for event in &far {
            if let Event::Piece {
                session,
                offset,
                data,
                ..
            } = event
                && *session == sessions[tag]
            {
                assert_eq!(*offset, pieces.len() as u64, "seed {seed}, block {tag}");
                pieces.extend_from_slice(data);
            }
        }
        assert_eq!(pieces[..], data[..pieces.len()], "seed {seed}, block {tag}");
        if streaming && let Some(whole) = whole.first() {
            assert_eq!(pieces[..], whole[..], "seed {seed}, block {tag}");
        }
    }
    assert_eq!(line.left(), (0, 0, 0), "seed {seed}");
}

#[test]
fn each_block_is_delivered_once_and_whole_or_reported_failed_and_nothing_is_left() {
    let seeds = std::env::var("LTP_SEEDS").map_or(1500, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        storm(seed);
    }
}

#[test]
fn octets_of_chance_never_hurt() {
    let mut chance = Seed::from(1).chance();
    let mut line = Line::new(1, Duration::ZERO);
    let now = line.now;
    line.near()
        .send_block(now, block(1, &pattern(5000), Red::All))
        .unwrap();
    for _ in 0..20_000 {
        let mut octets = vec![0; chance.below(40) as usize];
        chance.fill(&mut octets);
        if let Some(first) = octets.first_mut() {
            *first &= 0xF;
        }
        if let Some(originator) = octets.get_mut(1) {
            *originator = 1 + (*originator & 1);
        }
        line.near().receive(now, crate::line::hop(2), &octets);
        line.far().receive(now, crate::line::hop(1), &octets);
    }
    line.run();
    assert_eq!(line.left(), (0, 0, 0));
}
