//! What an answer of a target means.

use std::time::{Duration, SystemTime};

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has the samples.
    Delivered,
    /// It may take the same request later, after the pause that it asked for.
    Later(Option<Duration>),
    /// Nothing is wrong with the samples, but with where or as whom they are sent: kept until someone repairs it.
    Misconfigured,
    /// It will never take this request: something in it is refused.
    Refused,
}

/// Judges a status, with the `Retry-After` header if there was one.
pub(super) fn judge(status: u16, retry_after: Option<Duration>) -> Verdict {
    match status {
        200..300 => Verdict::Delivered,
        408 | 425 | 429 | 500.. => Verdict::Later(retry_after),
        // A redirect is not followed: the body would go to who knows where, and credentials with it.
        ..=399 | 401..=405 | 407 => Verdict::Misconfigured,
        _ => Verdict::Refused,
    }
}

/// Reads `Retry-After`: seconds, or a date.
pub(super) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Under which reason a refused sample is counted. `resent`: it may have arrived before. Targets do not agree on a
/// status for samples that they have already, so their words must help here.
pub(super) fn drop_reason(status: u16, message: &str, resent: bool) -> &'static str {
    const KNOWN_ALREADY: [&str; 3] = ["out of order", "out-of-order", "duplicate"];
    let message = message.to_ascii_lowercase();
    let known_already = status == 409 || KNOWN_ALREADY.iter().any(|words| message.contains(words));
    match status {
        _ if resent && known_already => "duplicate_after_resend",
        400 => "refused_400",
        409 => "refused_409",
        413 => "refused_413",
        415 => "refused_415",
        422 => "refused_422",
        _ => "refused_other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_rule() {
        let check = |statuses: &[u16], expected: Verdict| {
            for status in statuses {
                assert_eq!(judge(*status, None), expected, "{status}");
            }
        };
        check(&[200, 204, 299], Verdict::Delivered);
        check(&[408, 425, 429, 500, 502, 503, 504, 599], Verdict::Later(None));
        check(&[301, 307, 401, 403, 404, 405], Verdict::Misconfigured);
        check(&[400, 409, 413, 415, 422, 431], Verdict::Refused);
        let pause = Some(Duration::from_secs(3));
        assert_eq!(judge(429, pause), Verdict::Later(pause));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Fri, 20 Nov 2026 10:00:00 GMT").unwrap();
        let check = |value, seconds: Option<u64>| {
            assert_eq!(parse_retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        };
        check("120", Some(120));
        check("Fri, 20 Nov 2026 10:00:30 GMT", Some(30));
        check("Fri, 20 Nov 2026 09:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
    }

    #[test]
    fn only_what_may_have_arrived_before_counts_as_duplicate() {
        assert_eq!(drop_reason(400, "out of order sample", true), "duplicate_after_resend");
        assert_eq!(drop_reason(409, "", true), "duplicate_after_resend");
        assert_eq!(drop_reason(400, "out of order sample", false), "refused_400");
        assert_eq!(drop_reason(400, "label name invalid", true), "refused_400");
        assert_eq!(drop_reason(400, "sample out of bounds", true), "refused_400");
        assert_eq!(drop_reason(400, "sample too old", true), "refused_400");
        assert_eq!(drop_reason(413, "", false), "refused_413");
    }
}
