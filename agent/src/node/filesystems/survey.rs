//! Sizes of file systems, asked [aside](crate::aside).
//!
//! Local file systems and those over a network are asked apart, and only local ones are waited for, a moment: they
//! answer within microseconds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Mount, Usage};
use crate::aside::{Aside, Question};
use crate::model::BootNanos;

/// How long a snapshot waits for local file systems.
const MOMENT: Duration = Duration::from_millis(50);

/// What is known of one file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its last answer.
    Usage(Usage),
    /// It refused.
    Failed,
    /// It has not answered yet, or no longer does.
    Pending,
}

/// A mounted file system.
#[derive(Clone, Debug)]
struct Place {
    mount_point: Box<str>,
    /// The mount point, where the agent finds it.
    path: PathBuf,
}

impl Question for Place {
    /// `None` is a refusal.
    type Answer = Option<Usage>;

    fn is_about_the_same(&self, other: &Self) -> bool {
        self.mount_point == other.mount_point
    }
}

/// The questions under way, and the last answers.
#[derive(Debug)]
pub(super) struct Survey {
    local: Aside<Place>,
    remote: Aside<Place>,
    known: HashMap<Box<str>, Option<Usage>>,
}

impl Default for Survey {
    fn default() -> Self {
        let aside = || Aside::new("statfs", |place: &Place| usage(&place.path));
        // A local file system hangs once at most, and takes none of the others along.
        Self { local: aside().hanging_up_to(usize::MAX), remote: aside(), known: HashMap::new() }
    }
}

impl Survey {
    /// What each of `mounts`, whose paths begin at `root`, answers now or answered last.
    pub(super) fn ask(&mut self, mounts: &[Mount], root: &Path, now: BootNanos) -> Vec<Answer> {
        let Self { local, remote, known } = self;
        known.retain(|path, _| mounts.iter().any(|mount| mount.mount_point == *path));
        let place = |mount: &Mount| Place {
            mount_point: mount.mount_point.clone(),
            path: root.join(mount.mount_point.trim_start_matches('/')),
        };
        let places =
            |is_remote| mounts.iter().filter(move |mount| mount.is_remote == is_remote).map(place).collect();
        // What an earlier round left comes first: a new one begins only when that is over.
        take(local, Duration::ZERO, known, now);
        take(remote, Duration::ZERO, known, now);
        local.start(places(false), now);
        remote.start(places(true), now);
        take(local, MOMENT, known, now);
        let mut answer = |mount: &Mount| {
            let aside = if mount.is_remote { &*remote } else { &*local };
            if aside.leaves_out(&place(mount)) {
                // What it answered last is too old by the time it answers again.
                known.remove(&mount.mount_point);
            }
            match known.get(&mount.mount_point) {
                Some(Some(usage)) => Answer::Usage(*usage),
                Some(None) => Answer::Failed,
                None => Answer::Pending,
            }
        };
        mounts.iter().map(&mut answer).collect()
    }
}

/// Takes the answers that are there within a moment, and says what hangs from now on.
fn take(
    aside: &mut Aside<Place>,
    moment: Duration,
    known: &mut HashMap<Box<str>, Option<Usage>>,
    now: BootNanos,
) {
    let hung = aside.hung();
    known.extend(
        aside.answers_within(moment, now).into_iter().map(|(place, usage)| (place.mount_point, usage)),
    );
    if aside.hung() > hung
        && let Some(Place { mount_point, .. }) = aside.hanging().last()
    {
        tracing::warn!(
            mount_point = &**mount_point,
            "a file system does not answer; it has no series until it does"
        );
    }
}

fn usage(path: &Path) -> Option<Usage> {
    let answer = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
    Some(Usage {
        size: bytes(answer.f_blocks),
        free: bytes(answer.f_bfree),
        available: bytes(answer.f_bavail),
        inodes: answer.f_files,
        inodes_free: answer.f_ffree,
    })
}
