//! What a session was seen to carry: enough to tell a late repeat of it from the first segments of another block.
//!
//! An engine that starts anew may count its sessions from 1 again, as ION does. Its next block then has the number of
//! one that is remembered here, and a report from memory would acknowledge octets that nobody received (RFC 5326
//! section 3.2.2).

use super::wire::{Checkpoint, Color, Data, Mark};

/// Octets at the start of a block that are compared at most. Shorter segments than that are rare.
const HEAD: usize = 64;
/// Octets that are digested at once.
const ROW: usize = 64;
/// Checkpoints that may have been lost on the line in a row. A serial number further on is not of the same session.
const MAX_LOST: u32 = 64;
/// How far a sender whose snapshot was behind counts on, with the same block. No session of an engine that started anew
/// begins there (CCSDS 734.1-B-1 starts below 2^14).
const RESUMED: u32 = 1 << 16;

/// The marks of one session, as far as its segments showed them.
///
/// Numbers are kept by their low 32 bits. Those that differ there differ, and those that agree there by chance are as
/// rare as digests that do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Fingerprint {
    client: u32,
    /// A digest of the first octets of the block, and how many they are. 0 if the first segment was not seen.
    head: u32,
    head_len: u8,
    has_checkpoint: bool,
    /// How far the highest checkpoint serial number seen is beyond the lowest.
    span: u16,
    /// The lowest checkpoint serial number seen.
    first: u32,
    /// A digest of the checkpoint with the highest.
    last: u32,
}

/// What a segment under the number of a closed session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgment {
    /// It repeats a checkpoint of that session to the octet. An answer from memory is true.
    Repeat,
    /// It cannot be of that session: its sender started anew, and uses the number again.
    NewSession,
    /// It may be either. Nothing positive may be said about it.
    Undecided,
}

impl Fingerprint {
    /// Returns the fingerprint of a session for `client` of which no segment was seen.
    pub(super) fn new(client: u64) -> Self {
        Self {
            client: low(client),
            ..Self::default()
        }
    }

    /// Notes a segment of the session. Those that neither start the block nor are checkpoints show nothing.
    #[inline]
    pub(super) fn note(&mut self, data: &Data<'_>) {
        if data.offset == 0 && self.head_len == 0 {
            let head = head(data.octets, HEAD);
            self.head = digest(0, head);
            // Bound: HEAD is below 2^8.
            self.head_len = u8::try_from(head.len()).unwrap_or(u8::MAX);
        }
        if let Color::Red(Some(checkpoint)) = data.color {
            self.note_checkpoint(data, checkpoint);
        }
    }

    fn note_checkpoint(&mut self, data: &Data<'_>, checkpoint: Checkpoint) {
        let serial = low(checkpoint.serial);
        let ahead = serial.wrapping_sub(self.first);
        if !self.has_checkpoint {
            self.has_checkpoint = true;
            self.first = serial;
            self.last = checkpoint_digest(data, checkpoint);
        } else if ahead > u32::MAX / 2 {
            let span = u32::from(self.span).saturating_add(ahead.wrapping_neg());
            self.span = u16::try_from(span).unwrap_or(u16::MAX);
            self.first = serial;
        } else if ahead >= u32::from(self.span) {
            self.span = u16::try_from(ahead).unwrap_or(u16::MAX);
            self.last = checkpoint_digest(data, checkpoint);
        }
    }

    /// Whether a segment shows marks at all. Others are never of another session.
    #[inline]
    pub(super) const fn is_telling(data: &Data<'_>) -> bool {
        data.offset == 0 || matches!(data.color, Color::Red(Some(_)))
    }

    /// Judges a segment under the number of this session. `red` is the length of its red part, where it was known.
    pub(super) fn judge(&self, data: &Data<'_>, red: Option<u64>) -> Judgment {
        let is_other = low(data.client) != self.client
            || red.is_some_and(|red| !fits(data, red))
            || self.starts_otherwise(data);
        if is_other {
            return Judgment::NewSession;
        }
        let Color::Red(Some(checkpoint)) = data.color else {
            return Judgment::Undecided;
        };
        if !self.has_checkpoint {
            return Judgment::Undecided;
        }
        let (ahead, span) = (
            low(checkpoint.serial).wrapping_sub(self.first),
            u32::from(self.span),
        );
        // A repeat has the same serial number, and is the same segment (RFC 5326 section 3.2.1).
        let is_last = ahead == span;
        let is_same = is_last && checkpoint_digest(data, checkpoint) == self.last;
        let most = span.saturating_add(MAX_LOST);
        let is_resumed = (RESUMED..=u32::MAX / 2).contains(&ahead) && ahead % RESUMED <= most;
        // The first checkpoints may have been overtaken, and come after all, even once the session is closed. Taken for a
        // new session, one of them would have the block delivered twice.
        let may_be_late = ahead <= most || ahead >= MAX_LOST.wrapping_neg();
        if is_same || is_resumed {
            Judgment::Repeat
        } else if may_be_late && !is_last {
            Judgment::Undecided
        } else {
            Judgment::NewSession
        }
    }

    /// Whether a segment has other octets at the start of the block.
    fn starts_otherwise(&self, data: &Data<'_>) -> bool {
        let len = usize::from(self.head_len);
        data.offset == 0
            && len > 0
            && data.octets.len() >= len
            && digest(0, head(data.octets, len)) != self.head
    }
}

/// Whether a segment fits a red part of `red` octets.
fn fits(data: &Data<'_>, red: u64) -> bool {
    let range = data.range();
    match data.color {
        Color::Red(Some(checkpoint)) if checkpoint.mark != Mark::None => range.end == red,
        Color::Red(_) => range.end <= red,
        Color::Green { .. } => range.start >= red,
    }
}

const fn low(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}

const fn halves(number: u128) -> (u64, u64) {
    (
        (number & 0xffff_ffff_ffff_ffff) as u64,
        (number >> 64) as u64,
    )
}

fn head(octets: &[u8], len: usize) -> &[u8] {
    octets.get(..len).unwrap_or(octets)
}

/// Two ends of a red part are told apart by where they are, and a checkpoint that is none by its mark.
fn checkpoint_digest(data: &Data<'_>, checkpoint: Checkpoint) -> u32 {
    let mark = u64::from(checkpoint.mark != Mark::None);
    digest(data.offset.rotate_left(1) ^ mark, data.octets)
}

/// 128-bit products of words of 64 bits, their low halves folded onto the high ones, over rows of eight words, the
/// length and `start`. The last row ends with the last octet, and a block shorter than a row is padded. Each pair of words
/// in a row goes into a hash of its own, since a processor multiplies several at once.
///
/// It is the same in every run, so that snapshots can hold it, and it guards against accidents alone: whoever forges a
/// repeat learns what it knows.
fn digest(start: u64, octets: &[u8]) -> u32 {
    // The digits are those of the fraction of pi.
    const KEY: u64 = 0x1319_8a2e_0370_7344;
    let mut hashes: [u64; 4] = [
        0x243f_6a88_85a3_08d3,
        0xa409_3822_299f_31d0,
        0x082e_fa98_ec4e_6c89,
        0x4528_21e6_38d0_1377,
    ];
    let fold = |first: u64, second: u64| {
        let (low, high) = halves(u128::from(first) * u128::from(second ^ KEY));
        low ^ high
    };
    let mut add = |row: &[u8; ROW]| {
        for (hash, pair) in hashes.iter_mut().zip(row.as_chunks().0) {
            let (first, second) = halves(u128::from_le_bytes(*pair));
            *hash = fold(*hash ^ first, second);
        }
    };
    octets.as_chunks().0.iter().for_each(&mut add);
    if let Some(last) = octets.last_chunk() {
        add(last);
    } else {
        let mut row = [0; ROW];
        row.iter_mut()
            .zip(octets)
            .for_each(|(to, from)| *to = *from);
        add(&row);
    }
    let all = fold(hashes[0] ^ hashes[1], hashes[2] ^ hashes[3]);
    // Bound: usize has at most 64 bits.
    let hash = fold(fold(all, octets.len() as u64), start);
    low(hash ^ (hash >> 29))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCTETS: [u8; 100] = [7; 100];

    fn checkpoint(serial: u64, mark: Mark) -> Color {
        let report = 0;
        Color::Red(Some(Checkpoint {
            serial,
            report,
            mark,
        }))
    }

    fn data(offset: u64, octets: &[u8], color: Color) -> Data<'_> {
        let client = 4;
        Data {
            client,
            offset,
            color,
            octets,
        }
    }

    fn end(serial: u64) -> Data<'static> {
        data(0, &OCTETS, checkpoint(serial, Mark::Block))
    }

    /// A session of one segment under checkpoint 1000.
    fn single() -> Fingerprint {
        seen(&[end(1000)])
    }

    fn seen(segments: &[Data<'_>]) -> Fingerprint {
        let mut fingerprint = Fingerprint::new(4);
        for data in segments {
            fingerprint.note(data);
        }
        fingerprint
    }

    #[test]
    fn a_checkpoint_that_comes_again_to_the_octet_is_a_repeat() {
        assert_eq!(single().judge(&end(1000), Some(100)), Judgment::Repeat);
        assert_eq!(single().judge(&end(1000), None), Judgment::Repeat);
    }

    #[test]
    fn a_serial_number_that_the_session_cannot_have_used_shows_a_new_session() {
        let session = seen(&[end(1000), end(1003)]);
        let judge = |serial| session.judge(&end(serial), Some(100));

        for serial in [1, 935, 1003 + 65, 16_383, 33_767, u64::MAX] {
            assert_eq!(judge(serial), Judgment::NewSession, "{serial}");
        }
        for serial in [936, 999, 1000, 1001, 1002, 1004, 1003 + 64] {
            assert_eq!(judge(serial), Judgment::Undecided, "{serial}");
        }
        assert_eq!(judge(1003), Judgment::Repeat);
    }

    #[test]
    fn a_sender_whose_snapshot_was_behind_asks_for_the_same_block() {
        let judge = |serial| single().judge(&end(serial), Some(100));

        assert_eq!(judge(1000 + (1 << 16)), Judgment::Repeat);
        assert_eq!(judge(1064 + (3 << 16)), Judgment::Repeat);
        assert_eq!(judge(1065 + (1 << 16)), Judgment::NewSession);
        assert_eq!(judge(900 + (1 << 16)), Judgment::NewSession);
    }

    #[test]
    fn checkpoints_seen_out_of_order_span_the_same_serial_numbers() {
        let orders = [[10, 11, 15], [15, 10, 11], [11, 15, 10], [15, 11, 10]];
        let all = orders.map(|order| seen(&order.map(end)));

        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
        assert_eq!(all[0].judge(&end(15), None), Judgment::Repeat);
        assert_eq!(all[0].judge(&end(9), None), Judgment::Undecided);
    }

    #[test]
    fn serial_numbers_that_pass_2_to_the_32_or_reach_the_highest_are_counted_on() {
        for first in [u64::from(u32::MAX) - 1, u64::MAX - 3] {
            let session = seen(&[end(first), end(first + 3)]);
            let judge = |serial| session.judge(&end(serial), None);
            assert_eq!(judge(first + 3), Judgment::Repeat);
            assert_eq!(judge(first + 1), Judgment::Undecided);
            assert_eq!(judge(first - 65), Judgment::NewSession);
        }
    }

    #[test]
    fn another_client_service_or_end_of_the_red_part_shows_a_new_session() {
        let other = Data {
            client: 5,
            ..end(1000)
        };
        assert_eq!(single().judge(&other, Some(100)), Judgment::NewSession);

        let shorter = data(0, &OCTETS[..99], checkpoint(1000, Mark::Block));
        let beyond = data(90, &OCTETS[..11], Color::Red(None));
        let green = data(99, &OCTETS[..1], Color::Green { ends_block: true });
        for segment in [shorter, beyond, green] {
            let judgment = single().judge(&segment, Some(100));
            assert_eq!(judgment, Judgment::NewSession, "{segment:?}");
        }
    }

    #[test]
    fn other_octets_at_the_start_of_the_block_show_a_new_session_however_they_are_cut() {
        let session = seen(&[data(0, &OCTETS, Color::Red(None)), end(3)]);
        let mut octets = [7; 100];
        octets[63] = 8;
        for len in [64, 70, 100] {
            let other = data(0, &octets[..len], Color::Red(None));
            assert_eq!(session.judge(&other, None), Judgment::NewSession, "{len}");
            let same = data(0, &OCTETS[..len], Color::Red(None));
            assert_eq!(session.judge(&same, None), Judgment::Undecided, "{len}");
        }
        let short = data(0, &octets[..63], Color::Red(None));
        assert_eq!(
            session.judge(&short, None),
            Judgment::Undecided,
            "too short to tell"
        );
    }

    #[test]
    fn a_block_shorter_than_what_is_compared_is_told_from_one_that_differs_in_one_octet() {
        let session = seen(&[data(0, b"seven", checkpoint(9, Mark::Block))]);
        let other = data(0, b"sevan", checkpoint(9, Mark::Block));
        let plain = data(0, b"sevan", Color::Red(None));

        assert_eq!(session.judge(&other, Some(5)), Judgment::NewSession);
        assert_eq!(session.judge(&plain, Some(5)), Judgment::NewSession);
    }

    #[test]
    fn a_checkpoint_under_the_same_serial_number_with_other_octets_shows_a_new_session() {
        let tail = |octets| data(1000, octets, checkpoint(77, Mark::RedPart));
        let session = seen(&[tail(b"old end")]);

        assert_eq!(session.judge(&tail(b"old end"), None), Judgment::Repeat);
        assert_eq!(session.judge(&tail(b"new end"), None), Judgment::NewSession);
        let moved = data(1001, b"old end", checkpoint(77, Mark::RedPart));
        assert_eq!(session.judge(&moved, None), Judgment::NewSession);
        let plain = data(1000, b"old end", checkpoint(77, Mark::None));
        assert_eq!(session.judge(&plain, None), Judgment::NewSession);
    }

    #[test]
    fn without_a_checkpoint_or_a_first_segment_nothing_is_decided() {
        let nothing = seen(&[data(1400, &OCTETS, Color::Red(None))]);

        assert_eq!(nothing.judge(&end(5), None), Judgment::Undecided);
        let repeated = data(1400, &OCTETS, Color::Red(None));
        assert_eq!(nothing.judge(&repeated, None), Judgment::Undecided);
        assert_eq!(single().judge(&repeated, None), Judgment::Undecided);
    }

    #[test]
    fn digests_differ_by_length_position_and_each_octet() {
        let zeros = [0; 40];
        let mut digests: alloc::vec::Vec<u32> =
            (0..=40).map(|len| digest(0, &zeros[..len])).collect();
        for place in 0..40 {
            let mut octets = zeros;
            octets[place] = 1;
            digests.push(digest(0, &octets));
        }
        digests.push(digest(1, &zeros));
        let all = digests.len();
        digests.sort_unstable();
        digests.dedup();

        assert_eq!(digests.len(), all);
    }

    #[test]
    fn a_fingerprint_is_small() {
        assert_eq!(size_of::<Fingerprint>(), 20);
    }
}
