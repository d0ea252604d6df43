//! A consumer: reads the log in order from its durable cursor, and says how far it came.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::cursor::{Cursor, CursorState, Found};
use super::disk::Disk;
use super::format::{Kind, Position};
use super::index::{ConsumerState, Held, Segment, Shared};
use super::scan::Scanner;

/// A record as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub position: Position,
    /// Place after it.
    pub end: Position,
    /// When it was appended, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Samples in the payload.
    pub samples: u32,
    /// What the payload is; `None` for a kind of a newer version.
    pub kind: Option<Kind>,
    /// The payload.
    pub payload: Bytes,
}

/// Some consecutive records; empty when there was nothing to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub records: Vec<Record>,
    /// Place after the last one, and after what was found to be damaged behind it.
    pub end: Position,
}

/// A named reader of the log.
#[derive(Debug)]
pub struct Consumer {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    number: usize,
    cursor: Cursor,
    state: CursorState,
    /// Place up to which records may have been sent in an earlier life.
    resent_until: Position,
    /// Generation, scanner, and the place it stands at.
    open: Option<(u64, Scanner, Position)>,
    end: watch::Receiver<u64>,
}

/// What one look at the index tells a reader.
struct Plan {
    from: Position,
    segment: Segment,
    segment_end: Position,
}

impl Consumer {
    /// Opens or makes the consumer. A new one, or one whose cursor is damaged, begins at the oldest record.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        dir: &std::path::Path,
        name: &str,
    ) -> io::Result<Self> {
        let (mut cursor, found) = Cursor::open(&*disk, &dir.join(format!("{name}.cursor")))?;
        let (number, state) = {
            let mut index = shared.lock();
            let oldest = index.segments.front().map_or(index.end, |segment| segment.first);
            let state = match found {
                Found::Intact(state) => state,
                Found::Nothing => CursorState { delivered: oldest, attempted: oldest },
                // Nobody knows what was sent: everything is sent again rather than lost.
                Found::Damaged => CursorState { delivered: oldest, attempted: index.end },
            };
            let lost = oldest.sample.saturating_sub(state.delivered.sample);
            let read = state.delivered.max(oldest);
            index.consumers.push(ConsumerState {
                name: name.into(),
                read,
                delivered: state.delivered,
                durable: state.delivered,
                lost_expired: lost,
                ..ConsumerState::default()
            });
            (index.consumers.len() - 1, state)
        };
        // What was read may be in the page cache only; from here on it is relied upon.
        cursor.write(state)?;
        let end = shared.watch_end();
        let resent_until = state.attempted;
        Ok(Self { disk, shared, number, cursor, state, resent_until, open: None, end })
    }

    /// Waits until there is something to read.
    pub async fn ready(&mut self) {
        let read = self.shared.lock().consumers[self.number].read.seq;
        self.end.wait_for(|end| *end > read).await.expect("the sender is in `shared`, which is held");
    }

    /// Whether there is something to read.
    pub fn has_more(&self) -> bool {
        let index = self.shared.lock();
        index.consumers[self.number].read.seq < index.end.seq
    }

    /// Reads on: at least one record if there is one, further ones while `max_bytes` and `max_samples` allow.
    pub fn read(&mut self, max_bytes: u64, max_samples: u64) -> io::Result<Batch> {
        loop {
            let Some(plan) = self.plan() else {
                let end = self.shared.lock().consumers[self.number].read;
                return Ok(Batch { records: Vec::new(), end });
            };
            let (batch, damaged) = match self.read_segment(&plan, max_bytes, max_samples) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Removed between the look at the index and the open: the loss is counted there already.
                    if self.shared.lock().consumers[self.number].read == plan.from {
                        return Err(error);
                    }
                    continue;
                }
                other => other?,
            };
            if self.advance(plan.from, &batch, damaged) && !batch.records.is_empty() {
                return Ok(batch);
            }
        }
    }

    /// Gives up the rest of the segment being read, whose file is gone.
    pub fn skip_segment(&mut self) {
        if let Some(plan) = self.plan() {
            let lost = plan.segment_end.sample.saturating_sub(plan.from.sample);
            let nothing = Batch { records: Vec::new(), end: plan.segment_end };
            self.advance(plan.from, &nothing, lost);
        }
    }

    /// Notes durably that everything before `attempted` is about to be sent, and that everything before
    /// `delivered` is done. On error the cursor on the disk stays behind, but what is delivered may be removed.
    pub fn commit(&mut self, delivered: Position, attempted: Position) -> io::Result<()> {
        // What an earlier life may have sent stays in doubt until it is delivered.
        let attempted = attempted.max(delivered).max(self.resent_until);
        let state = CursorState { delivered, attempted };
        if state == self.state {
            return Ok(());
        }
        // Known before it is durable: a full disk that takes no cursor must get rid of what was delivered.
        self.shared.lock().consumers[self.number].delivered = delivered;
        self.cursor.write(state)?;
        self.state = state;
        self.shared.lock().consumers[self.number].durable = delivered;
        Ok(())
    }

    /// Says that the last batch is done with: it is no backlog any more.
    pub fn release(&self) {
        self.shared.lock().consumers[self.number].held = Held::default();
    }

    /// Where the cursor is.
    pub fn delivered(&self) -> Position {
        self.state.delivered
    }

    /// Place before which records may have been sent in an earlier life.
    pub fn resent_until(&self) -> Position {
        self.resent_until
    }

    fn plan(&self) -> Option<Plan> {
        let index = self.shared.lock();
        let from = index.consumers[self.number].read;
        let number = index.segment_at(from)?;
        Some(Plan { from, segment: index.segments[number].clone(), segment_end: index.segment_end(number) })
    }

    /// Moves on unless retention moved the consumer meanwhile, in which case what was read counts as lost already.
    fn advance(&self, from: Position, batch: &Batch, damaged: u64) -> bool {
        let mut index = self.shared.lock();
        let consumer = &mut index.consumers[self.number];
        if consumer.read != from {
            return false;
        }
        consumer.read = batch.end;
        consumer.held = Held {
            samples: batch.records.iter().map(|record| u64::from(record.samples)).sum(),
            bytes: batch.records.iter().map(|record| record.payload.len() as u64).sum(),
            oldest_ms: batch.records.first().map(|record| record.timestamp_ms),
        };
        consumer.lost_damaged += damaged;
        true
    }

    /// Records of one segment, with the samples found missing between and behind them.
    fn read_segment(&mut self, plan: &Plan, max_bytes: u64, max_samples: u64) -> io::Result<(Batch, u64)> {
        let mut scanner = match self.open.take() {
            Some((generation, scanner, at)) if generation == plan.segment.generation && at == plan.from => {
                scanner
            }
            _ => Scanner::new(self.disk.open(&plan.segment.path)?, plan.segment.salt),
        };
        let mut batch = Batch { records: Vec::new(), end: plan.from };
        let (mut damaged, mut bytes, mut samples) = (0, 0, 0);
        loop {
            let before = batch.end;
            let Some(found) = scanner.next(plan.segment.bytes, before.seq..plan.segment_end.seq)? else {
                damaged += plan.segment_end.sample.saturating_sub(before.sample);
                batch.end = plan.segment_end;
                break;
            };
            let header = found.header;
            damaged += header.position.sample.saturating_sub(before.sample);
            if found.skipped > 0 && header.position.seq > before.seq {
                tracing::error!(path = %plan.segment.path.display(), bytes = found.skipped, "damage in the log skipped");
            }
            batch.end = header.end();
            bytes += header.stored_len();
            samples += u64::from(header.samples);
            batch.records.push(Record {
                position: header.position,
                end: header.end(),
                timestamp_ms: header.timestamp_ms,
                samples: header.samples,
                kind: Kind::from_code(header.kind),
                payload: found.payload,
            });
            if bytes >= max_bytes || samples >= max_samples || batch.end.seq >= plan.segment_end.seq {
                break;
            }
        }
        self.open = Some((plan.segment.generation, scanner, batch.end));
        Ok((batch, damaged))
    }
}
