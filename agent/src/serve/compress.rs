//! Compression of an answer, piece by piece.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use crate::registry::Compression;

/// Level of gzip: most of the gain for a fraction of the time, on text that repeats itself as much as this.
const GZIP_LEVEL: u32 = 2;
/// Level of zstd, for the same reason.
const ZSTD_LEVEL: i32 = 1;

/// Takes pieces as they are made and gives what can be sent of them.
pub(super) enum Compressor {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    /// After the last piece.
    Done,
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> Self {
        match compression {
            Compression::Identity => Self::Identity,
            Compression::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
            Compression::Zstd => match zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL) {
                Ok(encoder) => Self::Zstd(encoder),
                // Out of memory for its tables: reported by the next piece.
                Err(_) => Self::Done,
            },
        }
    }

    /// Compresses a piece; after the last one, also what was held back.
    pub(super) fn take(&mut self, piece: Vec<u8>, more: bool) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => return Ok(piece),
            Self::Gzip(encoder) => encoder.write_all(&piece)?,
            Self::Zstd(encoder) => encoder.write_all(&piece)?,
            Self::Done => return Err(io::Error::other("compression cannot go on")),
        }
        if !more {
            return match std::mem::replace(self, Self::Done) {
                Self::Gzip(encoder) => encoder.finish(),
                Self::Zstd(encoder) => encoder.finish(),
                Self::Identity | Self::Done => Ok(Vec::new()),
            };
        }
        Ok(match self {
            Self::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            Self::Zstd(encoder) => std::mem::take(encoder.get_mut()),
            Self::Identity | Self::Done => Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn pieces_are_one_stream() {
        let pieces = [b"one ".repeat(50_000), Vec::new(), b"two ".repeat(50_000), b"end".to_vec()];
        for compression in [Compression::Identity, Compression::Gzip, Compression::Zstd] {
            let mut compressor = Compressor::new(compression);
            let mut sent = Vec::new();
            for (index, piece) in pieces.iter().enumerate() {
                sent.extend(compressor.take(piece.clone(), index + 1 < pieces.len()).unwrap());
            }
            let mut read = Vec::new();
            match compression {
                Compression::Identity => read = sent,
                Compression::Gzip => {
                    flate2::read::GzDecoder::new(&sent[..]).read_to_end(&mut read).unwrap();
                }
                Compression::Zstd => read = zstd::stream::decode_all(&sent[..]).unwrap(),
            }
            assert!(read == pieces.concat(), "{compression:?}");
        }
    }
}
