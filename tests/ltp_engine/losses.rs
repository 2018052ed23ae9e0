//! Every loss there can be in one block.

use core::time::Duration;

use farlink::ltp::{Copies, Event, Red};

use crate::line::{Fate, Line, is_complete, pattern, received};

/// 14 red and 6 green segments of at most 96 octets.
const RED: usize = 1100;
const LEN: usize = 1580;
const OWLT: Duration = Duration::from_millis(500);

fn mixed(lost: &[usize], copies: u8) -> Line {
    let lost = lost.to_vec();
    let mut line = Line::with(
        7,
        OWLT,
        |_| {},
        |peer| {
            peer.segment = 96;
            peer.copies = Copies::Fixed(copies);
        },
    )
    .judged(move |passing| {
        if lost.contains(&passing.nth) {
            Fate::Drop
        } else {
            Fate::Pass
        }
    });
    line.send(1, &pattern(LEN), Red::Octets(RED as u64));
    line.run();
    line
}

fn prove_whole(line: &mut Line, what: &str) {
    let near = line.events(1);
    let far = line.events(2);
    assert!(is_complete(&near, 1), "{what}");
    assert_eq!(received(&far), Some(&pattern(LEN)[..RED]), "{what}");
    for event in &far {
        if let Event::Green { offset, data, .. } = event {
            let offset = usize::try_from(*offset).unwrap();
            assert_eq!(
                data[..],
                pattern(LEN)[offset..offset + data.len()],
                "{what}"
            );
        }
    }
    assert_eq!(line.left(), (0, 0, 0), "{what}");
}

#[test]
fn a_mixed_block_without_loss_takes_20_segments_a_report_and_its_acknowledgment() {
    let mut line = mixed(&[], 0);

    assert_eq!(line.log.len(), 22);
    assert_eq!(
        line.codes()[..14],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    );
    assert_eq!(line.codes()[14..], [4, 4, 4, 4, 4, 7, 8, 9]);
    prove_whole(&mut line, "without loss");
}

#[test]
fn every_single_loss_is_repaired() {
    for lost in 0..22 {
        let mut line = mixed(&[lost], 0);
        prove_whole(&mut line, &format!("segment {lost} lost"));
    }
}

#[test]
fn every_pair_of_losses_is_repaired() {
    let mut longest = 22;
    for first in 0..22 {
        for second in first + 1..longest + 4 {
            let mut line = mixed(&[first, second], 0);
            longest = longest.max(line.log.len());
            prove_whole(&mut line, &format!("segments {first} and {second} lost"));
        }
    }
}

#[test]
fn copies_of_signals_save_the_timeout_when_one_is_lost() {
    let without = mixed(&[13], 0);
    let with = mixed(&[13], 1);

    let limit = farlink::Instant::ZERO + OWLT * 2 + Duration::from_millis(1);
    assert!(with.log.last().unwrap().0 <= limit + OWLT);
    assert!(without.log.last().unwrap().0 > limit + OWLT);
}
