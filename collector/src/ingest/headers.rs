//! Whether a request is remote write 1.0, by its headers.

use axum::http::{HeaderMap, header};

use crate::wire::remote_write::{CONTENT_ENCODING, CONTENT_TYPE, VERSION_HEADER};

/// The message of remote write 1.0, as the `proto` parameter of a content type may name it.
const MESSAGE: &str = "prometheus.WriteRequest";

/// Checks type, encoding and version; the error says what is allowed. Missing headers are taken for the right ones,
/// since several senders leave out the version.
pub fn check_headers(headers: &HeaderMap) -> Result<(), String> {
    let text =
        |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("").trim().to_ascii_lowercase());
    if let Some(content_type) = text(header::CONTENT_TYPE.as_str()) {
        check_content_type(&content_type)?;
    }
    if let Some(encoding) = text(header::CONTENT_ENCODING.as_str())
        && encoding != CONTENT_ENCODING
    {
        return Err(format!("content encoding `{encoding}` is not supported, allowed is {CONTENT_ENCODING}"));
    }
    if let Some(version) = text(VERSION_HEADER)
        && !version.starts_with("0.")
        && !version.starts_with("1.")
    {
        return Err(format!("remote write version `{version}` is not supported, allowed is 0.1.0"));
    }
    Ok(())
}

fn check_content_type(value: &str) -> Result<(), String> {
    let mut parts = value.split(';').map(str::trim);
    let base = parts.next().unwrap_or("");
    if base != CONTENT_TYPE {
        return Err(format!("content type `{base}` is not supported, allowed is {CONTENT_TYPE}"));
    }
    for parameter in parts {
        if let Some(message) = parameter.strip_prefix("proto=")
            && !message.eq_ignore_ascii_case(MESSAGE)
        {
            return Err(format!(
                "message `{message}` is not supported, allowed is {MESSAGE} (remote write 1.0)"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&'static str, &'static str)]) -> Result<(), String> {
        check_headers(
            &pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        )
    }

    #[test]
    fn remote_write_1_in_all_its_spellings() {
        for pairs in [
            &[][..],
            &[("content-type", "application/x-protobuf"), ("content-encoding", "snappy")],
            &[("content-type", "application/x-protobuf;proto=prometheus.WriteRequest")],
            &[("x-prometheus-remote-write-version", "0.1.0")],
        ] {
            assert_eq!(check(pairs), Ok(()), "{pairs:?}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_is_allowed() {
        let error = check(&[("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")]);
        assert_eq!(
            error.unwrap_err(),
            "message `io.prometheus.write.v2.request` is not supported, allowed is prometheus.WriteRequest (remote write 1.0)"
        );
        for pairs in [
            [("content-type", "application/json")],
            [("content-encoding", "gzip")],
            [("x-prometheus-remote-write-version", "2.0.0")],
        ] {
            assert!(check(&pairs).unwrap_err().contains("allowed is"), "{pairs:?}");
        }
    }
}
