//! Contact plans in the form of ION (`ionrc`): who transmits to whom, when, at which rate, and how far away.
//!
//! ```text
//! # Comments and empty lines are ignored.
//! @ 2026/11/28-20:00:00               the time that +SECONDS count from; by default the start
//! a contact +0 +3600 1 2 100000       from 1 to 2, in octets per second
//! a contact 2026/11/28-21:30:00 2026/11/28-22:00:00 2 1 8000
//! a range +0 +86400 1 2 1             light time in seconds, from 2 to 1 too unless that is given
//! ```

use core::num::NonZeroU64;
use core::time::Duration;
use std::path::Path;

use farlink::Instant;
use farlink::ltp::Cue;

use crate::{Failure, input};

/// A contact plan. Times are in seconds from the start of the command, and negative before it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ContactPlan {
    contacts: Vec<Entry<NonZeroU64>>,
    ranges: Vec<Entry<Duration>>,
}

/// What is so for some time in one direction between two engines.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry<T> {
    begins: i64,
    ends: i64,
    from: u64,
    to: u64,
    value: T,
}

/// The link between this engine and a peer at some time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LinkState {
    /// The rate in octets per second, if this engine may transmit, and when it must stop.
    pub(crate) transmits: Option<(NonZeroU64, i64)>,
    /// Whether the peer transmits.
    pub(crate) peer_transmits: bool,
    /// Light times to and from the peer, where the plan has them.
    pub(crate) owlt_out: Option<Duration>,
    pub(crate) owlt_in: Option<Duration>,
}

impl LinkState {
    /// Returns the cues that tell an engine of it, whose clock has `instant` for a time of the plan.
    pub(crate) fn cues(self, instant: impl Fn(i64) -> Instant) -> impl Iterator<Item = Cue> {
        let end = self.transmits.map(|(_, ends)| Cue::EndsAt(instant(ends)));
        let own = self.transmits.map_or(Cue::MustStop, |_| Cue::MayTransmit);
        let peer = if self.peer_transmits {
            Cue::PeerTransmits
        } else {
            Cue::PeerStopped
        };
        end.into_iter().chain([own, peer])
    }
}

impl ContactPlan {
    /// Reads a contact plan at `now`, in seconds since 1970.
    pub(crate) fn read(path: &Path, now: i64) -> Result<Self, Failure> {
        let text = input::read_text(path)?;
        Self::parse(&text, now).map_err(|error| Failure::file(path, error))
    }

    fn parse(text: &str, now: i64) -> Result<Self, String> {
        let mut plan = Self::default();
        let mut reference = 0;
        input::each_line(text, |words| plan.add(words, now, &mut reference))?;
        Ok(plan)
    }

    fn add(&mut self, words: &[&str], now: i64, reference: &mut i64) -> Result<(), String> {
        match *words {
            [] => {}
            ["@", time] => *reference = parse_time(time, now, 0)?,
            // The last word of a contact is how sure it is.
            ["a", "contact", begins, ends, from, to, rate]
            | ["a", "contact", begins, ends, from, to, rate, _] => {
                let rate = rate
                    .parse()
                    .map_err(|_| format!("`{rate}` is not a rate in octets per second"))?;
                let entry = parse_entry([begins, ends, from, to], now, *reference, rate)?;
                self.contacts.push(entry);
            }
            ["a", "range", begins, ends, from, to, owlt] => {
                let owlt = super::ltp::seconds(owlt)
                    .map_err(|_| format!("`{owlt}` is not a light time in seconds"))?;
                let entry = parse_entry([begins, ends, from, to], now, *reference, owlt)?;
                self.ranges.push(entry);
            }
            ["a", "contact", ..] => {
                return Err("a contact has begin, end, sender, receiver and rate".into());
            }
            ["a", "range", ..] => {
                return Err("a range has begin, end, two engines and the light time".into());
            }
            [first, ..] => {
                return Err(format!(
                    "`{first} ..` is none of `a contact`, `a range` and `@`"
                ));
            }
        }
        Ok(())
    }

    /// Checks that there are contacts in both directions, without which no block is acknowledged.
    pub(crate) fn check(&self, own: u64, peer: u64) -> Result<(), String> {
        for (from, to) in [(own, peer), (peer, own)] {
            if !self.contacts.iter().any(|contact| contact.is(from, to)) {
                return Err(format!("no contact from engine {from} to engine {to}"));
            }
        }
        Ok(())
    }

    /// Returns the link between two engines at `time`.
    pub(crate) fn state_at(&self, own: u64, peer: u64, time: i64) -> LinkState {
        let rate = contact_at(&self.contacts, own, peer, time).map(|contact| contact.value);
        LinkState {
            transmits: rate.map(|rate| (rate, self.end_of_contact(own, peer, time))),
            peer_transmits: contact_at(&self.contacts, peer, own, time).is_some(),
            owlt_out: self.owlt(own, peer, time),
            owlt_in: self.owlt(peer, own, time),
        }
    }

    /// Returns when anything of the link between two engines changes next behind `time`.
    pub(crate) fn next_change(&self, own: u64, peer: u64, time: i64) -> Option<i64> {
        let contacts = self.contacts.iter().map(Entry::key);
        let ranges = self.ranges.iter().map(Entry::key);
        contacts
            .chain(ranges)
            .filter(|(_, _, from, to)| (*from, *to) == (own, peer) || (*from, *to) == (peer, own))
            .flat_map(|(begins, ends, ..)| [begins, ends])
            .filter(|change| *change > time)
            .min()
    }

    /// Returns the contacts in one direction: begin and end.
    pub(crate) fn windows(&self, from: u64, to: u64) -> impl Iterator<Item = (i64, i64)> {
        let contacts = self.contacts.iter();
        contacts
            .filter(move |contact| contact.is(from, to))
            .map(|contact| (contact.begins, contact.ends))
    }

    /// Returns the highest rate in one direction, in octets per second.
    pub(crate) fn max_rate(&self, from: u64, to: u64) -> Option<NonZeroU64> {
        let contacts = self.contacts.iter();
        let contacts = contacts.filter(|contact| contact.is(from, to));
        contacts.map(|contact| contact.value).max()
    }

    /// Returns the end of the contact, past others that continue it.
    fn end_of_contact(&self, own: u64, peer: u64, time: i64) -> i64 {
        let mut end = time;
        while let Some(contact) = contact_at(&self.contacts, own, peer, end) {
            end = contact.ends;
        }
        end
    }

    fn owlt(&self, from: u64, to: u64, time: i64) -> Option<Duration> {
        let given = contact_at(&self.ranges, from, to, time);
        let range = given.or_else(|| contact_at(&self.ranges, to, from, time));
        range.map(|range| range.value)
    }
}

impl<T> Entry<T> {
    fn is(&self, from: u64, to: u64) -> bool {
        (self.from, self.to) == (from, to)
    }

    const fn key(&self) -> (i64, i64, u64, u64) {
        (self.begins, self.ends, self.from, self.to)
    }
}

/// Returns what is so at `time`; of several the one that began last.
fn contact_at<T>(entries: &[Entry<T>], from: u64, to: u64, time: i64) -> Option<&Entry<T>> {
    entries
        .iter()
        .filter(|entry| entry.is(from, to) && (entry.begins..entry.ends).contains(&time))
        .max_by_key(|entry| entry.begins)
}

fn parse_entry<T>(
    [begins, ends, from, to]: [&str; 4],
    now: i64,
    reference: i64,
    value: T,
) -> Result<Entry<T>, String> {
    let entry = Entry {
        begins: parse_time(begins, now, reference)?,
        ends: parse_time(ends, now, reference)?,
        from: super::ltp::id(from)?,
        to: super::ltp::id(to)?,
        value,
    };
    if entry.ends <= entry.begins {
        return Err(format!("the end {ends} is not behind the begin {begins}"));
    }
    Ok(entry)
}

/// Parses `+SECONDS` from the reference time, or `yyyy/mm/dd-hh:mm:ss` (UTC).
fn parse_time(text: &str, now: i64, reference: i64) -> Result<i64, String> {
    let fault = || format!("`{text}` is neither +SECONDS nor yyyy/mm/dd-hh:mm:ss");
    if let Some(seconds) = text.strip_prefix('+') {
        let seconds: u32 = seconds.parse().map_err(|_| fault())?;
        return Ok(reference + i64::from(seconds));
    }
    let (date, time) = text.split_once('-').ok_or_else(fault)?;
    let [year, month, day] = numbers(date, '/').ok_or_else(fault)?;
    let [hour, minute, second] = numbers(time, ':').ok_or_else(fault)?;
    let is_time = hour < 24 && minute < 60 && second < 60;
    if !(1970..=9999).contains(&year) || !is_time || !is_day(year, month, day) {
        return Err(format!("there is no time `{text}`"));
    }
    let days = days_since_1970(year, month, day);
    Ok(((days * 24 + hour) * 60 + minute) * 60 + second - now)
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let numbers = text.split(separator).map(|number| {
        let is_number = number.bytes().all(|octet| octet.is_ascii_digit());
        number.parse().ok().filter(|_| is_number)
    });
    numbers.collect::<Option<Vec<i64>>>()?.try_into().ok()
}

fn is_day(year: i64, month: i64, day: i64) -> bool {
    let days = match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    let before = usize::try_from(month - 1)
        .ok()
        .and_then(|month| BEFORE.get(month));
    let leap_day = i64::from(month > 2 && is_leap(year));
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969) + before.unwrap_or(&0) + leap_day + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28 20:00:00 UTC.
    const NOW: i64 = 1_795_896_000;

    fn plan(text: &str) -> ContactPlan {
        ContactPlan::parse(text, NOW).unwrap()
    }

    fn fault(text: &str) -> String {
        ContactPlan::parse(text, NOW).unwrap_err()
    }

    #[test]
    fn contacts_have_a_rate_and_an_end_in_their_direction() {
        let plan = plan("a contact +10 +20 1 2 100000\n\na contact +15 +30 2 1 8 0.9 # back\n");
        let at = |time| plan.state_at(1, 2, time);

        assert_eq!(at(9), LinkState::default());
        let (rate, ends) = at(10).transmits.unwrap();
        assert_eq!(
            (rate.get(), ends, at(10).peer_transmits),
            (100_000, 20, false)
        );
        assert!(at(15).peer_transmits && at(19).transmits.is_some());
        assert!(at(20).transmits.is_none() && at(29).peer_transmits);
        let other = plan.state_at(2, 1, 25).transmits.unwrap();
        assert_eq!(
            (other.0.get(), other.1),
            (8, 30),
            "the other end has it the other way round"
        );
    }

    #[test]
    fn every_begin_and_end_between_the_two_engines_is_a_change() {
        let plan = plan("a contact +10 +20 1 2 1\na range +0 +50 2 1 1\na contact +3 +4 1 3 1");
        let changes = core::iter::successors(Some(-1), |time| plan.next_change(1, 2, *time));

        assert_eq!(changes.collect::<Vec<_>>(), [-1, 0, 10, 20, 50]);
    }

    #[test]
    fn contacts_that_follow_each_other_end_with_the_last() {
        let plan = plan("a contact +0 +20 1 2 5\na contact +20 +30 1 2 7\na contact +31 +32 1 2 9");

        let (rate, ends) = plan.state_at(1, 2, 3).transmits.unwrap();

        assert_eq!((rate.get(), ends), (5, 30));
        assert_eq!(plan.windows(1, 2).count(), 3);
    }

    #[test]
    fn a_range_holds_both_ways_unless_the_other_way_has_its_own() {
        let both = plan("a range +0 +10 1 2 1.3").state_at(2, 1, 0);
        let own = plan("a range +0 +10 1 2 1\na range +0 +10 2 1 2").state_at(2, 1, 0);

        let seconds = |state: LinkState| (state.owlt_out.unwrap(), state.owlt_in.unwrap());
        let span = Duration::from_millis;
        assert_eq!(seconds(both), (span(1300), span(1300)));
        assert_eq!(seconds(own), (span(2000), span(1000)));
    }

    #[test]
    fn times_are_absolute_or_count_from_the_reference_time() {
        let time = |text| parse_time(text, NOW, 0);

        assert_eq!(time("2026/11/28-20:00:00"), Ok(0));
        assert_eq!(time("2026/11/28-21:30:05"), Ok(5405));
        assert_eq!(time("2024/02/29-00:00:00"), Ok(1_709_164_800 - NOW));
        assert_eq!(time("2000/03/01-00:00:00"), Ok(951_868_800 - NOW));
        let text = "@ 2026/11/28-19:00:00\na contact +0 +7200 1 2 1";
        assert!(plan(text).windows(1, 2).eq([(-3600, 3600)]));
    }

    #[test]
    fn errors_name_the_line_and_the_word_at_fault() {
        for (text, expected) in [
            (
                "\na contact +0 +1 1 2",
                "line 2: a contact has begin, end, sender",
            ),
            (
                "a range +0 +1 1 2",
                "line 1: a range has begin, end, two engines",
            ),
            ("m horizon +0", "line 1: `m ..` is none of `a contact`"),
            ("a contact +0 +1 1 2 0", "line 1: `0` is not a rate"),
            ("a range +0 +1 1 2 -1", "line 1: `-1` is not a light time"),
            (
                "a contact 0 +1 1 2 3",
                "line 1: `0` is neither +SECONDS nor",
            ),
            ("a contact +0 +1 0 2 3", "line 1: ID 0 is reserved"),
            (
                "a contact +5 +5 1 2 3",
                "line 1: the end +5 is not behind the begin +5",
            ),
            (
                "@ 2026/02/29-00:00:00",
                "line 1: there is no time `2026/02/29",
            ),
            (
                "@ 2026/11/28-20:00",
                "line 1: `2026/11/28-20:00` is neither",
            ),
        ] {
            assert!(fault(text).starts_with(expected), "{}", fault(text));
        }
    }

    #[test]
    fn a_plan_without_a_way_back_acknowledges_nothing() {
        let one_way = plan("a contact +0 +1 1 2 3");

        assert_eq!(
            one_way.check(1, 2),
            Err("no contact from engine 2 to engine 1".into())
        );
        assert!(one_way.check(2, 1).is_err());
    }
}
