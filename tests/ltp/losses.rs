//! Every single loss, and every pair of losses, in one block.

use core::time::Duration;

use farlink::ltp::{Event, Red, Redundancy};

use crate::line::{Line, SegmentOutcome, is_complete, pattern, received};

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
            peer.redundancy = Redundancy::Fixed(copies);
        },
    )
    .judged(move |passing| {
        if lost.contains(&passing.nth) {
            SegmentOutcome::Drop
        } else {
            SegmentOutcome::Pass
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
    // A green segment comes or does not, and never twice.
    let mut green: Vec<u64> = Vec::new();
    for event in &far {
        if let Event::Green { offset, data, .. } = event {
            assert!(!green.contains(offset), "{what}");
            green.push(*offset);
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

/// One test for each segment that is lost, by its number on the line.
macro_rules! a_loss_is_repaired {
    ($($name:ident $lost:literal)*) => {$(
        #[test]
        fn $name() {
            let mut line = mixed(&[$lost], 0);
            prove_whole(&mut line, concat!("segment ", $lost, " lost"));
        }
    )*};
}

a_loss_is_repaired! {
    a_block_without_red_segment_0_is_repaired 0
    a_block_without_red_segment_1_is_repaired 1
    a_block_without_red_segment_2_is_repaired 2
    a_block_without_red_segment_3_is_repaired 3
    a_block_without_red_segment_4_is_repaired 4
    a_block_without_red_segment_5_is_repaired 5
    a_block_without_red_segment_6_is_repaired 6
    a_block_without_red_segment_7_is_repaired 7
    a_block_without_red_segment_8_is_repaired 8
    a_block_without_red_segment_9_is_repaired 9
    a_block_without_red_segment_10_is_repaired 10
    a_block_without_red_segment_11_is_repaired 11
    a_block_without_red_segment_12_is_repaired 12
    a_block_without_its_end_of_the_red_part_is_repaired 13
    a_block_without_green_segment_14_is_complete 14
    a_block_without_green_segment_15_is_complete 15
    a_block_without_green_segment_16_is_complete 16
    a_block_without_green_segment_17_is_complete 17
    a_block_without_green_segment_18_is_complete 18
    a_block_without_its_end_is_complete 19
    a_block_without_its_report_is_repaired 20
    a_block_without_the_acknowledgment_of_its_report_is_closed 21
}

/// With each first loss, every later segment is lost as the second one. Retransmissions and repeated signals make them
/// as many as there are.
#[test]
fn every_pair_of_losses_is_repaired() {
    let mut pairs = 0;
    for first in 0..22 {
        let mut second = first + 1;
        let mut sent = usize::MAX;
        while second < sent {
            let mut line = mixed(&[first, second], 0);
            sent = line.log.len();
            prove_whole(&mut line, &format!("segments {first} and {second} lost"));
            second += 1;
            pairs += 1;
        }
    }
    println!("{pairs} pairs of losses");
    assert!(pairs > 300, "{pairs}");
}

#[test]
fn every_single_loss_is_repaired_with_copies_of_signals_too() {
    for copies in 1..4 {
        for lost in 0..mixed(&[], copies).log.len() {
            let mut line = mixed(&[lost], copies);
            prove_whole(&mut line, &format!("segment {lost} lost, {copies} copies"));
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
