//! Which format and which compression a client gets, by the weights it gives.

/// A format of `GET /metrics`; of two that a client likes equally the later one is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Prometheus' text format 0.0.4; also for whoever asks for nothing we have.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily` messages.
    Protobuf,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// Chooses by a request's `Accept`.
    pub fn negotiate(accept: &str) -> Self {
        best(accept, Self::recognise).unwrap_or(Self::Text)
    }

    /// The answer's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// One word, for the label `format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::OpenMetrics => "openmetrics",
            Self::Protobuf => "protobuf",
        }
    }

    fn recognise(item: &Item<'_>) -> Option<Self> {
        match item.name {
            "*/*" | "text/*" => Some(Self::Text),
            "text/plain" => item.allows("version", "0.0.4").then_some(Self::Text),
            "application/openmetrics-text" => item.allows("version", "1.0.0").then_some(Self::OpenMetrics),
            "application/vnd.google.protobuf" => {
                let ours = item.allows("proto", "io.prometheus.client.MetricFamily")
                    && item.allows("encoding", "delimited");
                ours.then_some(Self::Protobuf)
            }
            _ => None,
        }
    }
}

/// A compression of `GET /metrics`; of two that a client likes equally the later one is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// None.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878; several times cheaper than gzip at the same size.
    Zstd,
}

impl Compression {
    /// Chooses by a request's `Accept-Encoding`.
    pub fn negotiate(accept_encoding: &str) -> Self {
        best(accept_encoding, Self::recognise).unwrap_or(Self::Identity)
    }

    /// The answer's `Content-Encoding`; `None` without compression.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    fn recognise(item: &Item<'_>) -> Option<Self> {
        match item.name {
            "identity" | "*" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// One element of an `Accept` or `Accept-Encoding` header.
struct Item<'a> {
    name: &'a str,
    parameters: &'a str,
}

impl<'a> Item<'a> {
    fn parse(item: &'a str) -> Self {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        Self { name: name.trim(), parameters }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.parameters.split(';').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// Whether a parameter is absent or has this value.
    fn allows(&self, name: &str, value: &str) -> bool {
        self.parameter(name).is_none_or(|given| given.eq_ignore_ascii_case(value))
    }

    /// The weight in thousandths; what cannot be read weighs nothing.
    fn weight(&self) -> u16 {
        let weight = self.parameter("q").map_or(Ok(1.0), str::parse::<f32>);
        weight.map_or(0, |weight| (weight.clamp(0.0, 1.0) * 1000.0) as u16)
    }
}

fn best<T: Ord>(header: &str, recognise: impl Fn(&Item<'_>) -> Option<T>) -> Option<T> {
    let header = header.to_ascii_lowercase();
    let items = header.split(',').map(Item::parse).filter(|item| item.weight() > 0);
    let known = items.filter_map(|item| recognise(&item).map(|known| (item.weight(), known)));
    known.max().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_follows_the_weights() {
        use Format::{OpenMetrics, Protobuf, Text};
        let cases = [
            ("", Text),
            ("*/*", Text),
            ("image/png", Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text),
            // Prometheus 2.42
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            // Prometheus 3
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                OpenMetrics,
            ),
            // Prometheus with native histograms
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
                 application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4",
                Protobuf,
            ),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", Text),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/openmetrics-text;q=0, text/plain;q=0.1", Text),
            ("Application/OpenMetrics-Text; version=\"1.0.0\"; Q=0.9, text/plain;q=0.8", OpenMetrics),
            ("application/openmetrics-text;q=high, text/plain;q=0.1", Text),
            ("application/openmetrics-text, text/plain", OpenMetrics),
        ];
        for (accept, format) in cases {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn compression_follows_the_weights() {
        use Compression::{Gzip, Identity, Zstd};
        let cases = [
            ("", Identity),
            ("gzip", Gzip),
            ("GZIP", Gzip),
            ("gzip, deflate, br, zstd", Zstd),
            ("gzip;q=1.0, zstd;q=0.5", Gzip),
            ("gzip;q=0, zstd;q=0", Identity),
            ("identity, gzip;q=0.5", Identity),
            ("br", Identity),
        ];
        for (accept, compression) in cases {
            assert_eq!(Compression::negotiate(accept), compression, "{accept}");
        }
    }
}
