use std::{fmt, str::FromStr};

use chrono::DateTime;
use serde::Serialize;
use thiserror::Error;

use super::now_ms;

/// When the stream received a Kinesis record.
///
/// A float holds every time that Kinesis hands out, to the millisecond and below, and prints with the digits it was
/// read from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Arrival {
    epoch_seconds: f64,
}

/// The number from which a time is in milliseconds: that many seconds are in the year 5138, so many milliseconds in 1973.
const MIN_MILLISECONDS: f64 = 1e11;

/// Why a text is not an [`Arrival`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected seconds since 1970, or a time with its zone such as 2018-12-17T22:10:50.987Z")]
pub(crate) struct ArrivalError;

impl FromStr for Arrival {
    type Err = ArrivalError;

    /// Reads seconds since 1970, as Lambda writes them, milliseconds, as Firehose and some emulators do, or ISO 8601 with
    /// a zone, as version 2 of the AWS CLI does.
    fn from_str(text: &str) -> Result<Self, ArrivalError> {
        let epoch_seconds = match text.parse::<f64>() {
            Ok(milliseconds) if milliseconds >= MIN_MILLISECONDS => milliseconds / 1e3,
            Ok(seconds) => seconds,
            // Exact: an integer below 2^53, divided once.
            Err(_) => DateTime::parse_from_rfc3339(text)
                .map(|time| time.timestamp_micros() as f64 / 1e6)
                .map_err(|_| ArrivalError)?,
        };
        // The standard parser takes "inf" and "nan".
        if f64::is_finite(epoch_seconds) && epoch_seconds >= 0.0 {
            Ok(Arrival { epoch_seconds })
        } else {
            Err(ArrivalError)
        }
    }
}

/// Reads a time of the command line: one of an input, or a duration ago such as `10m`.
pub(crate) fn time_argument(text: &str) -> Result<Arrival, String> {
    match ago_ms(text) {
        Some(ago_ms) => Ok(Arrival::from_epoch_milliseconds(now_ms().saturating_sub(ago_ms))),
        None => {
            text.parse().map_err(|error| format!("{error}, or a duration ago such as 10m (s, m, h or d)"))
        }
    }
}

/// Returns the milliseconds of a duration in whole seconds, minutes, hours or days, such as `10m`.
pub(super) fn ago_ms(text: &str) -> Option<u64> {
    let unit_ms = match text.chars().next_back()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    // The standard parser takes a sign.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

impl Arrival {
    pub(crate) fn from_epoch_milliseconds(milliseconds: u64) -> Self {
        Arrival { epoch_seconds: milliseconds as f64 / 1000.0 }
    }

    /// Rounded: 1545084650.987 is a little less than that as a float.
    pub(crate) fn epoch_milliseconds(self) -> u64 {
        (self.epoch_seconds * 1000.0).round() as u64
    }
}

/// For people: UTC to the millisecond.
impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = i64::try_from(self.epoch_milliseconds()).ok();
        match milliseconds.and_then(DateTime::from_timestamp_millis) {
            Some(time) => time.format("%Y-%m-%d %H:%M:%S%.3f").fmt(f),
            None => fmt::LowerExp::fmt(&self.epoch_seconds, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected_json: &str, expected_display: &str) {
        let arrival: Arrival = text.parse().expect("an arrival time");
        assert_eq!(serde_json::to_string(&arrival).expect("a number"), expected_json);
        assert_eq!(arrival.to_string(), expected_display);
    }

    #[test]
    fn times_are_read_in_both_forms() {
        check("1545084650.987", "1545084650.987", "2018-12-17 22:10:50.987");
        check("1545084650", "1545084650.0", "2018-12-17 22:10:50.000");
        check("1.545084650987E9", "1545084650.987", "2018-12-17 22:10:50.987");
        // As a float a little less.
        check("1.001", "1.001", "1970-01-01 00:00:01.001");
        check("0", "0.0", "1970-01-01 00:00:00.000");
        check("2018-12-17T23:10:50.987000+01:00", "1545084650.987", "2018-12-17 22:10:50.987");
        check("2018-12-17T22:10:50Z", "1545084650.0", "2018-12-17 22:10:50.000");
        check("2026-11-21T22:10:50.123456Z", "1795299050.123456", "2026-11-21 22:10:50.123");
        check("1545084650987", "1545084650.987", "2018-12-17 22:10:50.987");
        check("99999999999", "99999999999.0", "5138-11-16 09:46:39.000");
        check("1e300", "1e+297", "1e297");
    }

    #[test]
    fn a_time_of_the_command_line_may_be_a_duration_ago() {
        assert_eq!(
            ["90s", "10m", "2h", "7d"].map(ago_ms),
            [Some(90_000), Some(600_000), Some(7_200_000), Some(604_800_000)]
        );
        for text in ["", "m", "+1m", "-1m", "1.5h", "10", "1w", "10 m", "99999999999999999999d", "1é"] {
            assert_eq!(ago_ms(text), None, "{text:?}");
        }
        let hour_ago = time_argument("1h").expect("a time").epoch_milliseconds();
        assert!(now_ms().abs_diff(hour_ago + 3_600_000) < 60_000, "{hour_ago}");
        assert_eq!(time_argument("1545084650").expect("a time").epoch_milliseconds(), 1_545_084_650_000);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "-1", "nan", "inf", "yesterday", "2018-12-17", "2018-12-17T22:10:50", "1969-12-31T23:59:59Z"]
        {
            assert_eq!(text.parse::<Arrival>(), Err(ArrivalError), "{text:?}");
        }
    }
}
