//! Series: the catalogue of metrics, label sets, and the immutable snapshot that `/metrics` and the push path both read.
//!
//! A [`Snapshot`] is made at most once a second by the event loop and shared by reference: whoever scrapes and
//! whoever pushes sees the same series with the same values.

pub mod catalog;
mod check;
mod encode;
mod labels;
mod limit;
mod metric;
mod point;
mod reference;
mod snapshot;
mod source;

pub use check::Rejections;
pub use encode::{Compression, Exposition, Format};
pub use labels::Labels;
pub use limit::SeriesCaps;
pub use metric::{Kind, Metric, Scope};
pub use point::{Point, float_text};
pub use reference::reference;
pub use snapshot::{Family, Sample, Snapshot, SnapshotBuilder, Value};
pub use source::{Source, SourceGone};
