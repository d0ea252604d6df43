//! Names of pods, and what their shapes tell of who made them.

use crate::model::UnixMillis;

/// A cronjob's run is one when it was planned so near to now.
const NEAR_MINUTES: i64 = 7 * 24 * 60;

/// The `container_id` of a pod's container. All runs of a cronjob share one, or each would make series of its own.
pub(super) fn container_id(namespace: &str, pod: &str, container: &str, now: Option<UnixMillis>) -> String {
    match now.and_then(|now| cronjob(pod, now)) {
        Some(cronjob) => format!("/k8s-cronjob/{namespace}/{cronjob}/{container}"),
        None => format!("/k8s/{namespace}/{pod}/{container}"),
    }
}

/// The cronjob of a pod named `<cronjob>-<8 digits>-<5 characters>`. The digits are the minutes since 1970 at which the
/// run was planned, so they must be near to now.
fn cronjob(pod: &str, now: UnixMillis) -> Option<&str> {
    let (head, suffix) = pod.rsplit_once('-')?;
    let (cronjob, planned) = head.rsplit_once('-')?;
    let is_named = !cronjob.is_empty()
        && planned.len() == 8
        && planned.bytes().all(|b| b.is_ascii_digit())
        && suffix.len() == 5
        && suffix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let planned: i64 = planned.parse().ok().filter(|_| is_named)?;
    (planned.abs_diff(now.0.div_euclid(60_000)) <= NEAR_MINUTES.unsigned_abs()).then_some(cronjob)
}

/// The `app_id` by the shape of the pod's name; `rest` is the `container_id` after `/k8s/`.
pub(super) fn app_id(rest: &str) -> Option<String> {
    app_id_of_owner(rest, owner(parts(rest)?.1)?)
}

/// The `app_id` by the owner's name.
pub(super) fn app_id_of_owner(rest: &str, owner: &str) -> Option<String> {
    let (namespace, ..) = parts(rest)?;
    Some(format!("/k8s/{namespace}/{owner}"))
}

/// Namespace, pod, container.
fn parts(rest: &str) -> Option<(&str, &str, &str)> {
    let mut parts = rest.splitn(3, '/');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

/// The owner of a pod by the shape of the pod's name: a Deployment adds `-<hash>-<5>`, a DaemonSet `-<5>`, a
/// StatefulSet `-<number>`. Kubernetes makes hashes without vowels, so that names like `web-proxy` stay whole.
fn owner(pod: &str) -> Option<&str> {
    let (head, last) = pod.rsplit_once('-')?;
    if !last.is_empty() && last.len() < 5 && last.bytes().all(|b| b.is_ascii_digit()) {
        return Some(head);
    }
    if last.len() != 5 || !last.bytes().all(is_hash_byte) {
        return None;
    }
    match head.rsplit_once('-') {
        Some((owner, hash)) if (6..=10).contains(&hash.len()) && hash.bytes().all(is_hash_byte) => {
            Some(owner)
        }
        _ => Some(head),
    }
}

/// The alphabet of `k8s.io/apimachinery/pkg/util/rand`.
fn is_hash_byte(byte: u8) -> bool {
    b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)
}
