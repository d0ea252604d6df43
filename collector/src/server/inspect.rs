//! `sonde-collector inspect DIR`.

use std::io::Write;
use std::path::Path;

use crate::log::{Inspection, RealDisk, inspect};
use crate::units::format_bytes;

/// Prints segments and cursors of a data directory.
pub fn print_inspection(dir: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let found = inspect(&RealDisk, dir)
        .map_err(|error| anyhow::anyhow!("cannot read the data directory {}: {error}", dir.display()))?;
    print(&found, out)?;
    Ok(())
}

fn print(found: &Inspection, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<44} {:>10} {:>12} {:>9} {:>10} {:>10}",
        "segment", "bytes", "first", "records", "samples", "damaged"
    )?;
    for segment in &found.segments {
        let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
        let (bytes, damaged) = (format_bytes(segment.bytes), format_bytes(segment.damaged_bytes));
        let header = if segment.header_intact { "" } else { "  header damaged" };
        let (first, records, samples) = (segment.first_seq, segment.records, segment.samples);
        writeln!(out, "{name:<44} {bytes:>10} {first:>12} {records:>9} {samples:>10} {damaged:>10}{header}")?;
    }
    let end = found.segments.last().map_or(0, |segment| segment.first_seq + segment.records);
    writeln!(out, "\n{:<60} {:>12} {:>12} {:>12}", "cursor", "delivered", "attempted", "to go")?;
    for (name, cursor) in &found.cursors {
        match cursor {
            None => writeln!(out, "{name:<60} damaged")?,
            Some(cursor) => {
                let (delivered, attempted) = (cursor.delivered.seq, cursor.attempted.seq);
                let pending = end.saturating_sub(delivered);
                writeln!(out, "{name:<60} {delivered:>12} {attempted:>12} {pending:>12}")?;
            }
        }
    }
    Ok(())
}
