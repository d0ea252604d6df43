//! Who is asked about a container, in which order, and what several answers mean together. Pure.

use std::fmt;

use crate::enrich::cgroup_path::Runtime;
use crate::enrich::metadata::InspectError;

/// A kind of runtime: one protocol, spoken by one or more daemons of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The Docker Engine API.
    Docker,
    /// The same API, as podman's service offers it.
    Podman,
    /// containerd's own API, which knows the containers of Kubernetes, nerdctl and ctr alike.
    Containerd,
    /// The Container Runtime Interface of Kubernetes: CRI-O, cri-dockerd.
    Cri,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Docker, Self::Podman, Self::Containerd, Self::Cri];

    /// The name in settings, logs and `/status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Cri => "cri",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who is asked about the containers whose path names one runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Those one of whom made the container. Only when all of them deny it is it nobody's.
    own: &'static [Kind],
    /// Those who may have made it, if they are here. That they are not says nothing.
    others: &'static [Kind],
}

impl Order {
    /// Whom the question goes to first; `None` when nobody can know.
    pub fn first(&self) -> Option<Kind> {
        self.own.first().copied()
    }

    /// Everyone, in order.
    pub fn all(&self) -> impl Iterator<Item = Kind> {
        self.own.iter().chain(self.others).copied()
    }

    /// Whether a runtime of this kind is expected on the node.
    pub fn is_own(&self, kind: Kind) -> bool {
        self.own.contains(&kind)
    }
}

/// Who knows the containers whose path names `runtime`.
pub fn order(runtime: Runtime) -> Order {
    use Kind::{Containerd, Cri, Docker, Podman};
    let (own, others): (&[Kind], &[Kind]) = match runtime {
        // A bare id below a parent that was chosen by hand looks like Docker's, whoever made it.
        Runtime::Docker => (&[Docker], &[Containerd, Podman, Cri]),
        Runtime::Podman => (&[Podman], &[]),
        // What containerd does not know any more its CRI does not know either, but one elsewhere may.
        Runtime::Containerd => (&[Containerd], &[Cri]),
        Runtime::Crio => (&[Cri], &[]),
        // The cgroupfs driver names none. Docker was the kubelet's runtime until Kubernetes 1.23.
        Runtime::Kubepods => (&[Containerd, Cri], &[Docker]),
        Runtime::Sandbox => (&[Containerd, Cri], &[]),
        // The path has the name, or a process of theirs.
        Runtime::Lxc | Runtime::Nomad | Runtime::Nspawn | Runtime::Qemu => (&[], &[]),
    };
    Order { own, others }
}

/// What several runtimes said about one container that none of them described.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    denied: Vec<Kind>,
    absent: Vec<String>,
    failed: Option<InspectError>,
}

impl Verdict {
    /// One runtime's answer.
    pub(super) fn note(&mut self, kind: Kind, error: InspectError) {
        match error {
            InspectError::NotFound => self.denied.push(kind),
            InspectError::Absent(reason) => self.absent.push(reason),
            error => self.failed = self.failed.take().or(Some(error)),
        }
    }

    /// All together: a denial only if everyone who can know was there and denied it. Otherwise there is something to
    /// wait for: a runtime that fails, or one that is not here yet.
    pub(super) fn error(self, order: &Order) -> InspectError {
        if let Some(error) = self.failed {
            return error;
        }
        if order.own.iter().all(|kind| self.denied.contains(kind)) {
            return InspectError::NotFound;
        }
        InspectError::Absent(self.absent.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_path_leads_to() {
        use Kind::*;
        let cases: [(Runtime, &[Kind]); 10] = [
            (Runtime::Docker, &[Docker, Containerd, Podman, Cri]),
            (Runtime::Podman, &[Podman]),
            (Runtime::Containerd, &[Containerd, Cri]),
            (Runtime::Crio, &[Cri]),
            (Runtime::Kubepods, &[Containerd, Cri, Docker]),
            (Runtime::Sandbox, &[Containerd, Cri]),
            (Runtime::Lxc, &[]),
            (Runtime::Nomad, &[]),
            (Runtime::Nspawn, &[]),
            (Runtime::Qemu, &[]),
        ];
        assert!(Runtime::ALL.iter().all(|runtime| cases.iter().any(|(of, _)| of == runtime)));
        for (runtime, expected) in cases {
            assert_eq!(order(runtime).all().collect::<Vec<_>>(), expected, "{runtime:?}");
        }
    }

    #[test]
    fn kinds_are_numbered_by_their_place() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, Kind::named(kind.name())), (number, Some(kind)));
        }
        assert_eq!(Kind::named("Docker"), None);
    }

    fn verdict(runtime: Runtime, answers: &[(Kind, InspectError)]) -> InspectError {
        let mut verdict = Verdict::default();
        for (kind, error) in answers {
            verdict.note(*kind, error.clone());
        }
        verdict.error(&order(runtime))
    }

    #[test]
    fn a_container_is_nobodys_when_everyone_who_can_know_it_denies_it() {
        use InspectError::{Absent, NotFound, Timeout};
        let absent = || Absent("no socket".to_owned());
        let denied = verdict(Runtime::Docker, &[(Kind::Docker, NotFound), (Kind::Podman, absent())]);
        assert_eq!(denied, NotFound, "that the others are not here says nothing");
        let late = verdict(Runtime::Docker, &[(Kind::Docker, absent()), (Kind::Containerd, NotFound)]);
        assert_eq!(late, absent(), "docker may come yet");
        let pod = verdict(Runtime::Kubepods, &[(Kind::Containerd, NotFound), (Kind::Cri, absent())]);
        assert_eq!(pod, absent(), "CRI-O may come yet");
        let pod = verdict(Runtime::Kubepods, &[(Kind::Containerd, NotFound), (Kind::Cri, NotFound)]);
        assert_eq!(pod, NotFound);
        let hangs = verdict(Runtime::Docker, &[(Kind::Docker, NotFound), (Kind::Containerd, Timeout)]);
        assert_eq!(hangs, Timeout, "one that hangs may know it");
    }

    #[test]
    fn the_reason_names_all_that_is_missing() {
        let absent = |text: &str| InspectError::Absent(text.to_owned());
        let answers = [(Kind::Containerd, absent("no containerd")), (Kind::Cri, absent("no cri"))];
        assert_eq!(verdict(Runtime::Kubepods, &answers), absent("no containerd, no cri"));
    }
}
