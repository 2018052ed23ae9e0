//! Durations in configurations: text such as `1.3s` or `20m`, or a number of seconds.
//!
//! For `#[serde(with = "crate::serde_duration")]`, and [`option`] for those that may be absent. Text has one
//! decimal number and one unit: `ns`, `us`, `ms`, `s`, `m`, `h` or `d`. A number without a unit counts seconds.
//! What is written is read back to the nanosecond. Formats that no person reads hold a duration as serde does.
//!
//! ```
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Link {
//!     #[serde(with = "farlink::serde_duration")]
//!     delay: core::time::Duration,
//! }
//!
//! let link: Link = serde_json::from_str(r#"{ "delay": "20.5m" }"#)?;
//! assert_eq!(link.delay.as_secs(), 1230);
//! assert_eq!(serde_json::to_string(&link)?, r#"{"delay":"1230s"}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

const SECOND: u64 = 1_000_000_000;
/// Units, and the nanoseconds of one.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
    ("d", 86_400 * SECOND),
];

/// Writes a duration as text.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(&text(*duration))
    } else {
        duration.serialize(serializer)
    }
}

/// Reads a duration from text, or from a number of seconds.
///
/// # Errors
///
/// Text without a number or a known unit, a negative number, and more than `u64::MAX` seconds.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(DurationVisitor)
    } else {
        Duration::deserialize(deserializer)
    }
}

/// The same for `Option<Duration>`. Fields need `#[serde(default)]` beside it to be absent.
pub mod option {
    use core::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a duration as text, if there is one.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(Text).serialize(serializer)
    }

    /// Reads a duration from text or from a number of seconds, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`deserialize`](super::deserialize).
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<Text>::deserialize(deserializer)?;
        Ok(text.map(|Text(duration)| duration))
    }

    #[derive(Serialize, Deserialize)]
    struct Text(#[serde(with = "super")] Duration);
}

/// Writes a duration in seconds, or in the largest smaller unit that leaves something before the point.
fn text(duration: Duration) -> String {
    let (whole, rest, digits, unit) = match (duration.as_secs(), duration.subsec_nanos()) {
        (0, 0) => (0, 0, 0, "s"),
        (0, nanos @ 1_000_000..) => (u64::from(nanos / 1_000_000), nanos % 1_000_000, 6, "ms"),
        (0, nanos @ 1000..) => (u64::from(nanos / 1000), nanos % 1000, 3, "us"),
        (0, nanos) => (u64::from(nanos), 0, 0, "ns"),
        (seconds, nanos) => (seconds, nanos, 9, "s"),
    };
    if rest == 0 {
        return format!("{whole}{unit}");
    }
    let rest = format!("{rest:0digits$}");
    format!("{whole}.{}{unit}", rest.trim_end_matches('0'))
}

/// Reads a decimal number and its unit, exactly: what is less than a nanosecond is refused.
fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let mut total = u128::from(whole.parse::<u64>().ok()?) * u128::from(*nanos);
    let mut place = u128::from(*nanos);
    for digit in fraction.trim_end_matches('0').bytes() {
        let digit = u128::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        if place % 10 != 0 && digit * place % 10 != 0 {
            return None;
        }
        total += digit * place / 10;
        place /= 10;
    }
    let seconds = u64::try_from(total / u128::from(SECOND)).ok()?;
    let nanos = u32::try_from(total % u128::from(SECOND)).ok()?;
    Some(Duration::new(seconds, nanos))
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a duration such as \"1.3s\" (units ns, us, ms, s, m, h, d) or a number of seconds",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
        Ok(Duration::from_secs(seconds))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
        let unsigned = u64::try_from(seconds);
        let unsigned =
            unsigned.map_err(|_| E::invalid_value(Unexpected::Signed(seconds), &self))?;
        Ok(Duration::from_secs(unsigned))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| E::invalid_value(Unexpected::Float(seconds), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Fields {
        #[serde(with = "super")]
        one: Duration,
        #[serde(default, with = "super::option")]
        other: Option<Duration>,
    }

    #[test]
    fn a_duration_is_text_and_reads_back_to_the_nanosecond() {
        for (duration, expected) in [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(1300), "1.3s"),
            (Duration::from_secs(1260), "1260s"),
            (Duration::from_millis(250), "250ms"),
            (Duration::from_micros(1250), "1.25ms"),
            (Duration::from_nanos(1_000_001), "1.000001ms"),
            (Duration::from_nanos(15_040), "15.04us"),
            (Duration::from_nanos(7), "7ns"),
            (Duration::new(1, 1), "1.000000001s"),
            (Duration::MAX, "18446744073709551615.999999999s"),
        ] {
            assert_eq!(text(duration), expected);
            assert_eq!(parse(expected), Some(duration), "{expected}");
        }
    }

    #[test]
    fn units_up_to_days_are_read() {
        for (text, seconds) in [
            ("20m", 1200),
            ("1.5h", 5400),
            ("2 d", 172_800),
            (" 0.5m ", 30),
            ("3s", 3),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "1",
            "1.3",
            "-1s",
            "1 week",
            "1.s.2",
            "1.x",
            ".5s",
            "0.5ns",
            "1.0001us",
            "18446744073709551616s",
            "300000000000000000d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[cfg(feature = "record")]
    #[test]
    fn numbers_count_seconds_and_an_absent_field_is_none() {
        let read = |text| serde_json::from_str::<Fields>(text);

        let fields = read(r#"{"one": 2.5, "other": 3}"#).unwrap();
        assert_eq!(fields.one, Duration::from_millis(2500));
        assert_eq!(fields.other, Some(Duration::from_secs(3)));
        let fields = read(r#"{"one": "2ms"}"#).unwrap();
        assert_eq!(fields.other, None);
        let json = serde_json::to_string(&fields).unwrap();
        assert_eq!(json, r#"{"one":"2ms","other":null}"#);
        assert_eq!(read(&json).unwrap(), fields);

        for text in [r#"{"one": -2}"#, r#"{"one": -0.5}"#, r#"{"one": "2"}"#] {
            let error = alloc::string::ToString::to_string(&read(text).unwrap_err());
            assert!(error.contains("a duration such as"), "{error}");
        }
    }
}
