//! Sizes and durations with units, as they are written in flags, environment and files.
//!
//! A number without a unit is refused: nobody should have to guess whether `500` means bytes or megabytes.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Why a size or a duration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a number followed by a unit.
    #[error("`{given}` is no {what}, expected a number with a unit such as {example}")]
    Malformed {
        /// What was given.
        given: String,
        /// `size` or `duration`.
        what: &'static str,
        /// How one is written.
        example: &'static str,
    },
    /// The value does not fit.
    #[error("`{given}` is too large for a {what}")]
    TooLarge {
        /// What was given.
        given: String,
        /// `size` or `duration`.
        what: &'static str,
    },
}

const BYTE_UNITS: [(&str, u64); 11] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

const TIME_UNITS_MS: [(&str, u64); 7] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 7 * 86_400_000),
    ("y", 365 * 86_400_000),
];

/// Parses a size such as `500MB` or `1.5GiB` into bytes; case of the unit does not matter.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let malformed = || UnitError::Malformed { given: text.into(), what: "size", example: "500MB or 64MiB" };
    let (number, unit, rest) = take_quantity(text.trim()).ok_or_else(malformed)?;
    let factor =
        BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
    let factor = factor.filter(|_| rest.is_empty()).ok_or_else(malformed)?;
    scale(number, factor)
        .ok_or_else(malformed)?
        .ok_or_else(|| UnitError::TooLarge { given: text.into(), what: "size" })
}

/// Parses a duration such as `15s`, `1h30m`, `30d` or `1w`; a year has 365 days.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let malformed =
        || UnitError::Malformed { given: text.into(), what: "duration", example: "15s, 24h or 30d" };
    let too_large = || UnitError::TooLarge { given: text.into(), what: "duration" };
    let mut rest = text.trim();
    let mut total = 0u64;
    if rest.is_empty() {
        return Err(malformed());
    }
    while !rest.is_empty() {
        let (number, unit, after) = take_quantity(rest).ok_or_else(malformed)?;
        let factor = TIME_UNITS_MS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let part =
            scale(number, factor.ok_or_else(malformed)?).ok_or_else(malformed)?.ok_or_else(too_large)?;
        total = total.checked_add(part).ok_or_else(too_large)?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a size with the largest decimal unit that needs no more than two decimals.
pub fn format_bytes(bytes: u64) -> String {
    let (name, factor) =
        BYTE_UNITS[..6].iter().rev().find(|(_, factor)| bytes >= *factor).unwrap_or(&BYTE_UNITS[0]);
    let hundredths = u128::from(bytes) * 100 / u128::from(*factor);
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => format!("{whole}{name}"),
        (whole, fraction) => format!("{whole}.{}{name}", format!("{fraction:02}").trim_end_matches('0')),
    }
}

/// Writes a duration in the form that [`parse_duration`] reads; what is below a millisecond is cut.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (name, factor) in
        [TIME_UNITS_MS[4], TIME_UNITS_MS[3], TIME_UNITS_MS[2], TIME_UNITS_MS[1], TIME_UNITS_MS[0]]
    {
        if rest >= factor {
            text.push_str(&format!("{}{name}", rest / factor));
            rest %= factor;
        }
    }
    text
}

/// Reads a duration in a configuration file, for `#[serde(deserialize_with)]`.
pub fn deserialize_duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(input)?).map_err(de::Error::custom)
}

/// Cuts one `number unit` off the front: the number's text, the unit, what follows.
fn take_quantity(text: &str) -> Option<(&str, &str, &str)> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(unit_at);
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(end);
    (!number.is_empty() && !unit.is_empty()).then_some((number, unit, after))
}

/// `number × factor` without rounding through floats. `None`: no number; `Some(None)`: does not fit.
fn scale(number: &str, factor: u64) -> Option<Option<u64>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || fraction.len() > 9 || number.ends_with('.') {
        return None;
    }
    let Ok(whole) = whole.parse::<u64>() else { return Some(None) };
    let fraction_value: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = fraction_value * u128::from(factor) / 10u128.pow(fraction.len() as u32);
    Some(whole.checked_mul(factor).and_then(|value| value.checked_add(u64::try_from(part).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        let check =
            |text: &str, expected: Option<u64>| assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        check("500MB", Some(500_000_000));
        check("64MiB", Some(64 << 20));
        check("1.5 GiB", Some(3 << 29));
        check("10kb", Some(10_000));
        check("0B", Some(0));
        for bad in ["", "500", "MB", "-1MB", "1.MB", ".5MB", "1..5MB", "5XB", "5MB6", "99999999999PB"] {
            check(bad, None);
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str, ms: Option<u64>| {
            assert_eq!(parse_duration(text).ok(), ms.map(Duration::from_millis), "{text}");
        };
        check("15s", Some(15_000));
        check("1h30m", Some(5_400_000));
        check("24h", Some(86_400_000));
        check("30d", Some(30 * 86_400_000));
        check("1w", Some(7 * 86_400_000));
        check("1y", Some(365 * 86_400_000));
        check("1.5s", Some(1_500));
        check("250ms", Some(250));
        check("0s", Some(0));
        for bad in ["", "15", "s", "1H", "-1s", "1h30", "999999999999999y"] {
            check(bad, None);
        }
    }

    #[test]
    fn messages_say_what_is_expected() {
        assert_eq!(
            parse_bytes("500").unwrap_err().to_string(),
            "`500` is no size, expected a number with a unit such as 500MB or 64MiB"
        );
    }

    proptest! {
        #[test]
        fn a_duration_survives_formatting(ms in 0u64..1 << 50) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_refused_or_read(text in ".{0,16}") {
            let _ = parse_bytes(&text);
            let _ = parse_duration(&text);
        }
    }

    #[test]
    fn sizes_are_shown_short() {
        assert_eq!(format_bytes(500_000_000), "500MB");
        assert_eq!(format_bytes(67_108_864), "67.1MB");
        assert_eq!(format_bytes(7), "7B");
    }
}
