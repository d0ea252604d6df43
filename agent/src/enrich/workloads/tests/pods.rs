//! What Kubernetes tells of pods.

use super::*;
use crate::enrich::kubernetes::{Pod, PodLabel, Pods};

fn metadata(pod: &str) -> ContainerMetadata {
    let label = |key: &str, value: &str| (format!("io.kubernetes.{key}"), value.to_owned());
    let labels = [label("pod.namespace", "ns"), label("pod.name", pod), label("container.name", "main")];
    ContainerMetadata { labels: labels.into(), ..ContainerMetadata::default() }
}

fn pods(name: &str, owner: &str) -> Arc<Pods> {
    let pod = Pod {
        node: "node-1".into(),
        owner_kind: "Deployment".into(),
        owner_name: owner.into(),
        labels: [(PodLabel::new("app.kubernetes.io/part-of").label, "shop".to_owned())].into(),
    };
    Arc::new(Pods::from([(("ns".to_owned(), name.to_owned()), pod)]))
}

#[test]
fn a_container_gets_the_true_owner_and_the_labels_of_its_pod() {
    let machine = Machine::v2();
    let cgroups = [ID, OTHER].map(|id| machine.cgroup(&format!("docker/{id}")));
    let mut workloads = machine.workloads();
    let all = cgroups.map(|cgroup| workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10)));
    let name = "my-odd-name-x2x7z";
    let questions = [workloads.next_inspection().unwrap(), workloads.next_inspection().unwrap()];
    let [first, second] = questions;
    workloads.handle_inspected(first, Ok(metadata(name)), at(11));
    let app_id = |workloads: &Workloads, ix| workloads.labels(ix).get("app_id").map(str::to_owned);
    assert_eq!(app_id(&workloads, all[0]).as_deref(), Some("/k8s/ns/my-odd-name/main"), "by its shape");
    // The list may come before a name or after it.
    workloads.handle_pods(pods(name, "my-odd"));
    assert_eq!(app_id(&workloads, all[0]).as_deref(), Some("/k8s/ns/my-odd/main"));
    workloads.handle_pods(pods("late", "later"));
    workloads.handle_inspected(second, Ok(metadata("late")), at(12));
    assert_eq!(app_id(&workloads, all[1]).as_deref(), Some("/k8s/ns/later/main"));
    assert_eq!(app_id(&workloads, all[0]).as_deref(), Some("/k8s/ns/my-odd/main"), "it stays");
    let line = format!(
        "container_kubernetes_info{{app_id=/k8s/ns/my-odd/main,container_id=/k8s/ns/{name}/main,container=main,\
         label_app_kubernetes_io_part_of=shop,namespace=ns,node=node-1,owner_kind=Deployment,\
         owner_name=my-odd,pod={name}}} 1"
    );
    let lines = series(&mut workloads, at(13));
    assert!(lines.contains(&line), "{lines:#?}");
}
