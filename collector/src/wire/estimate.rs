//! How much memory a message will take once decoded, found without taking any.
//!
//! Two bytes are enough to ask for an empty series, which takes fifty times as much in memory: the length of a body
//! alone bounds nothing.

use std::mem::size_of;

use super::remote_write::{DecodeError, Exemplar, Histogram, Label, MetricMetadata, Sample, TimeSeries};

const REPEATED_GROWTH: u64 = 2;
const LENGTH_DELIMITED: u64 = 2;

/// Bytes that a `WriteRequest` takes once decoded, texts included, with the growth of lists.
pub(super) fn decoded_bytes(message: &[u8]) -> Result<u64, DecodeError> {
    let mut total = message.len() as u64;
    for_each_field(message, |field, content| {
        match field {
            1 => {
                total += cost::<TimeSeries>();
                total = total.saturating_add(series_bytes(content)?);
            }
            3 => total += cost::<MetricMetadata>(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(total)
}

fn series_bytes(series: &[u8]) -> Result<u64, DecodeError> {
    let mut total = 0u64;
    for_each_field(series, |field, content| {
        total += match field {
            1 => cost::<Label>(),
            2 => cost::<Sample>(),
            3 => cost::<Exemplar>() + exemplar_bytes(content)?,
            // Numbers in a histogram take at most eight bytes for one.
            4 => cost::<Histogram>() + content.len() as u64 * 8 * REPEATED_GROWTH,
            _ => 0,
        };
        Ok(())
    })?;
    Ok(total)
}

fn exemplar_bytes(exemplar: &[u8]) -> Result<u64, DecodeError> {
    let mut total = 0;
    for_each_field(exemplar, |field, _| {
        total += if field == 1 { cost::<Label>() } else { 0 };
        Ok(())
    })?;
    Ok(total)
}

const fn cost<T>() -> u64 {
    size_of::<T>() as u64 * REPEATED_GROWTH
}

/// Calls `visit` with number and content of each length-delimited field.
fn for_each_field(
    mut message: &[u8],
    mut visit: impl FnMut(u64, &[u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while !message.is_empty() {
        let key = prost::decode_length_delimiter(&mut message)? as u64;
        match key & 7 {
            0 => skip_varint(&mut message)?,
            1 => skip(&mut message, 8)?,
            LENGTH_DELIMITED => {
                let length = prost::decode_length_delimiter(&mut message)?;
                let content = message;
                skip(&mut message, length)?;
                visit(key >> 3, &content[..length])?;
            }
            5 => skip(&mut message, 4)?,
            _ => return Err(DecodeError::Truncated),
        }
    }
    Ok(())
}

fn skip_varint(message: &mut &[u8]) -> Result<(), DecodeError> {
    let end = message.iter().take(10).position(|byte| byte & 0x80 == 0).ok_or(DecodeError::Truncated)?;
    skip(message, end + 1)
}

fn skip(message: &mut &[u8], length: usize) -> Result<(), DecodeError> {
    *message = message.get(length..).ok_or(DecodeError::Truncated)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::remote_write::WriteRequest;
    use prost::Message;

    #[test]
    fn empty_series_are_not_free() {
        let message = [0x0a, 0x00].repeat(1000);
        assert_eq!(WriteRequest::decode(&message[..]).unwrap().timeseries.len(), 1000);
        assert!(decoded_bytes(&message).unwrap() >= 1000 * size_of::<TimeSeries>() as u64);
    }

    #[test]
    fn what_is_cut_off_is_noticed() {
        for bad in [&[0x0a][..], &[0x0a, 5, 1], &[0x08, 0x80], &[0x0b], &[0x09, 1]] {
            assert!(decoded_bytes(bad).is_err(), "{bad:?}");
        }
    }
}
