//! Durations in configuration files: `"1.3s"`, `"20ms"`, `"12min"`, or a number of seconds.
//!
//! For fields of type [`Duration`]: `#[serde(with = "crate::serde_duration")]`; for optional ones
//! `crate::serde_duration::option`. Formats that are not meant for people keep the form of serde itself.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use serde::de::{Deserialize as _, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize as _, Serializer};

const EXPECTED: &str =
    "a duration as \"1.3s\" (d, h, min, s, ms, us or ns), or a number of seconds";
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Serialises a duration as a decimal number of seconds: `"1.3s"`.
pub(crate) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(&encode(*duration))
    } else {
        duration.serialize(serializer)
    }
}

/// Deserialises a duration from a text with a unit, or from a number of seconds.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    if !deserializer.is_human_readable() {
        return Duration::deserialize(deserializer);
    }
    let parsed = deserializer.deserialize_any(Parsed { may_be_off: false })?;
    parsed.ok_or_else(|| D::Error::custom(EXPECTED))
}

/// The same for an optional duration; `"off"` is `None`, as a missing field takes its default.
pub(crate) mod option {
    use core::time::Duration;

    use serde::de::{Deserialize as _, Deserializer};
    use serde::ser::{Serialize as _, Serializer};

    use super::Parsed;

    /// Serialises a duration, or `"off"`.
    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            _ if !serializer.is_human_readable() => duration.serialize(serializer),
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_str(super::OFF),
        }
    }

    /// Deserialises a duration, or `"off"`, or null.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Parsed { may_be_off: true })
        } else {
            Option::deserialize(deserializer)
        }
    }
}

const OFF: &str = "off";

/// Reads any of the forms.
struct Parsed {
    may_be_off: bool,
}

impl Visitor<'_> for Parsed {
    type Value = Option<Duration>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)?;
        f.write_str(if self.may_be_off { ", or \"off\"" } else { "" })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if self.may_be_off && text == OFF {
            return Ok(None);
        }
        let duration = decode(text);
        duration
            .map(Some)
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Self::Value, E> {
        Ok(Some(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Self::Value, E> {
        match u64::try_from(seconds) {
            Ok(seconds) => self.visit_u64(seconds),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(seconds), &self)),
        }
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Self::Value, E> {
        Duration::try_from_secs_f64(seconds)
            .map(Some)
            .map_err(|_| E::invalid_value(Unexpected::Float(seconds), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        if self.may_be_off {
            Ok(None)
        } else {
            Err(E::invalid_type(Unexpected::Unit, &self))
        }
    }
}

/// Writes seconds with as many decimals as are needed.
fn encode(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if nanos == 0 {
        return format!("{seconds}s");
    }
    let decimals = format!("{nanos:09}");
    format!("{seconds}.{}s", decimals.trim_end_matches('0'))
}

/// Reads a decimal number and a unit, without rounding but for what is under a nanosecond.
fn decode(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let unit = match unit.trim_start() {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS_PER_SECOND,
        "min" => 60 * NANOS_PER_SECOND,
        "h" => 3_600 * NANOS_PER_SECOND,
        "d" => 86_400 * NANOS_PER_SECOND,
        _ => return None,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let whole = u128::from(whole.parse::<u64>().ok()?).checked_mul(unit)?;
    let scale = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let part = u128::from(decimals.parse::<u64>().ok()?).checked_mul(unit)? / scale;
    let nanos = whole.checked_add(part)?;
    let seconds = u64::try_from(nanos / NANOS_PER_SECOND).ok()?;
    // Below a second, so it fits.
    let subsecond = u32::try_from(nanos % NANOS_PER_SECOND).ok()?;
    Some(Duration::new(seconds, subsecond))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_in_seconds_and_read_back() {
        for (duration, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_secs(10), "10s"),
            (Duration::from_millis(1300), "1.3s"),
            (Duration::from_nanos(1), "0.000000001s"),
            (Duration::MAX, "18446744073709551615.999999999s"),
        ] {
            assert_eq!(encode(duration), text);
            assert_eq!(decode(text), Some(duration));
        }
    }

    #[test]
    fn a_duration_is_read_with_any_unit() {
        for (text, duration) in [
            ("20ms", Duration::from_millis(20)),
            ("1.5 us", Duration::from_nanos(1500)),
            ("7ns", Duration::from_nanos(7)),
            ("12min", Duration::from_secs(720)),
            ("1.5h", Duration::from_secs(5400)),
            ("2d", Duration::from_secs(172_800)),
        ] {
            assert_eq!(decode(text), Some(duration), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "5",
            ".5s",
            "5.s",
            "-5s",
            "1e3s",
            "5 parsecs",
            "1.2.3s",
            "18446744073709551616s",
            "18446744073709551615h",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
