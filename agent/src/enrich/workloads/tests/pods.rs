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
    assert_eq!(app_id(&workloads, all[0]).as_deref(), Some("/k8s/ns/my-odd-name"), "by its shape");
    // The list may come before a name or after it.
    workloads.handle_pods(pods(name, "my-odd"));
    assert_eq!(app_id(&workloads, all[0]).as_deref(), Some("/k8s/ns/my-odd"));
    workloads.handle_pods(pods("late", "later"));
    workloads.handle_inspected(second, Ok(metadata("late")), at(12));
    assert_eq!(app_id(&workloads, all[1]).as_deref(), Some("/k8s/ns/later"));
    assert_eq!(app_id(&workloads, all[0]).as_deref(), Some("/k8s/ns/my-odd"), "it stays");
    let line = format!(
        "container_kubernetes_info{{app_id=/k8s/ns/my-odd,container_id=/k8s/ns/{name}/main,container=main,\
         label_app_kubernetes_io_part_of=shop,namespace=ns,node=node-1,owner_kind=Deployment,\
         owner_name=my-odd,pod={name}}} 1"
    );
    let lines = series(&mut workloads, at(13));
    assert!(lines.contains(&line), "{lines:#?}");
}

/// The sandbox of a pod, as the runtime tells it.
fn sandbox(labels: &[(&str, &str)]) -> ContainerMetadata {
    let mut metadata = metadata("web-0");
    metadata.labels.remove("io.kubernetes.container.name");
    metadata.labels.extend(labels.iter().map(|(key, value)| (key.to_string(), value.to_string())));
    metadata
}

#[test]
fn a_pause_container_is_counted_and_not_shown() {
    for labels in [&[][..], &[("io.kubernetes.container.name", "POD")]] {
        let machine = Machine::v2();
        let [pause, main] = [ID, OTHER].map(|id| machine.cgroup(&format!("kubepods/podx/{id}")));
        let mut workloads = machine.workloads();
        let tasks = [task(origin(7, NO_CGROUP, pause), 1, 0), task(origin(8, NO_CGROUP, main), 2, 0)];
        workloads.observe_tasks(&tasks, at(10), 0);
        for _ in 0..2 {
            let question = workloads.next_inspection().unwrap();
            let answer = if &*question.id == ID { sandbox(labels) } else { metadata("web-0") };
            workloads.handle_inspected(question, Ok(answer), at(10));
        }
        let [pause, main] =
            [pause, main].map(|cgroup| workloads.resolve(&origin(9, NO_CGROUP, cgroup), at(11)));
        assert_eq!(container_id(&workloads, pause), "/k8s/ns/web-0/sandbox");
        assert_eq!([pause, main].map(|ix| workloads.is_exported(ix, at(60))), [false, true]);
        assert_eq!(workloads.stats().containers, 2);
    }
}

#[test]
fn a_sandbox_that_runs_the_pods_containers_is_shown() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("kubepods/podx/kata_{ID}"));
    let pod = machine.cgroup("kubepods/besteffort/pod8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e");
    let mut workloads = machine.workloads();
    let all = [cgroup, pod].map(|cgroup| workloads.resolve(&origin(7, NO_CGROUP, cgroup), at(10)));
    while let Some(question) = workloads.next_inspection() {
        let mut answer = sandbox(&[]);
        let pod = if question.workload == all[0] { "kata" } else { "gvisor" };
        answer.labels.insert("io.kubernetes.pod.name".to_owned(), pod.to_owned());
        workloads.handle_inspected(question, Ok(answer), at(10));
    }
    let shown = |workloads: &Workloads| all.map(|ix| workloads.is_exported(ix, at(60)));
    assert_eq!(shown(&workloads), [false, true], "the pod has no other cgroup");
    let mut virtual_machine = task(origin(7, NO_CGROUP, cgroup), 1, 0);
    virtual_machine.thread_count = 5;
    workloads.observe_tasks(&[virtual_machine], at(20), 0);
    assert_eq!(shown(&workloads), [true, true]);
    assert_eq!(container_id(&workloads, all[0]), "/k8s/ns/kata/sandbox");
    workloads.observe_tasks(&[], at(30), 0);
    assert_eq!(shown(&workloads), [true, true], "it stays shown to its end");
}
