use proptest::prelude::*;

use super::*;

/// 2026-01-01 00:00 UTC, and the same in minutes.
const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
const NOW_MINUTES: i64 = 29_453_760;
const ALLOCATION: &str = "5d16ac2a-9eb6-1b93-4d5e-4f2b0c1d2e3f";

fn metadata(name: &str, labels: &[(&str, &str)]) -> ContainerMetadata {
    let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    ContainerMetadata { name: name.into(), labels, ..ContainerMetadata::default() }
}

fn pod(pod: &str, container: &str) -> ContainerMetadata {
    metadata(
        "x",
        &[
            ("io.kubernetes.pod.namespace", "ns"),
            ("io.kubernetes.pod.name", pod),
            ("io.kubernetes.container.name", container),
        ],
    )
}

#[test]
fn without_metadata_the_id_is_cut_and_a_name_is_not() {
    let id = "b06f44ca4949d516ffe575c59aa58e31dd6af170f369265dda1352ba37aaddbd";
    let task = format!("{ALLOCATION}.web.1");
    for (runtime, id, expected) in [
        (Runtime::Docker, id, "/docker/b06f44ca4949"),
        (Runtime::Podman, id, "/podman/b06f44ca4949"),
        (Runtime::Crio, id, "/crio/b06f44ca4949"),
        (Runtime::Kubepods, id, "/kubepods/b06f44ca4949"),
        (Runtime::Containerd, "my-long-redis-container", "/containerd/my-long-redis-container"),
        (Runtime::Lxc, "a-long-container-name", "/lxc/a-long-container-name"),
        (Runtime::Nspawn, "debian", "/nspawn/debian"),
        (Runtime::Qemu, "100", "/qemu/100"),
        (Runtime::Nomad, &task, "/nomad/5d16ac2a-9eb6-1b93-4d5e-4f2b0c1d2e3f/web.1"),
        (Runtime::Docker, "é", "/docker/é"),
    ] {
        assert_eq!(anonymous(runtime, id), expected);
    }
}

#[test]
fn names_by_manager() {
    let in_pod = [("io.kubernetes.pod.namespace", "ns"), ("io.kubernetes.pod.name", "web-0")];
    let container = [&in_pod[..], &[("io.kubernetes.container.name", "nginx")]].concat();
    let pause = [&in_pod[..], &[("io.kubernetes.container.name", "POD")]].concat();
    let task = [("com.docker.swarm.task.name", "shop_web.2.x9"), ("com.docker.stack.namespace", "shop")];
    let task_of = |cluster| {
        [
            (ECS_FAMILY, "shop"),
            (ECS_CONTAINER, "nginx"),
            (ECS_TASK, "arn:aws:ecs:eu-west-1:123456789012:task/prod/0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
            (ECS_CLUSTER, cluster),
        ]
    };
    let (ecs, by_arn) = (task_of("prod"), task_of("arn:aws:ecs:eu-west-1:123456789012:cluster/prod"));
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let cases: [Case<'_>; 11] = [
        ("web", &[], Some("/docker/web")),
        ("", &[], None),
        ("x", &container, Some("/k8s/ns/web-0/nginx")),
        ("x", &pause, Some("/k8s/ns/web-0/sandbox")),
        ("x", &in_pod, Some("/k8s/ns/web-0/sandbox")),
        ("x", &task, Some("/swarm/shop/web/2")),
        ("x", &task[..1], Some("/swarm/_/shop_web/2")),
        ("ecs-shop-3-nginx-f0e1", &ecs, Some("/ecs/prod/shop/0a1b2c3d4e5f/nginx")),
        ("x", &by_arn, Some("/ecs/prod/shop/0a1b2c3d4e5f/nginx")),
        ("x", &ecs[..2], Some("/ecs/_/shop/_/nginx")),
        ("", &[("nerdctl/name", "cache")], Some("/docker/cache")),
    ];
    for (name, labels, expected) in cases {
        let found = named(Runtime::Docker, &metadata(name, labels), Some(NOW));
        assert_eq!(found.as_deref(), expected, "{name} {labels:?}");
    }
    for (runtime, expected) in [
        (Runtime::Kubepods, "/docker/web"),
        (Runtime::Podman, "/podman/web"),
        (Runtime::Containerd, "/containerd/web"),
    ] {
        assert_eq!(named(runtime, &metadata("web", &[]), None).as_deref(), Some(expected));
    }
}

#[test]
fn nomad_names_its_tasks_by_their_environment() {
    let environment = |pairs: &[(&str, &str)]| {
        let environment = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        ContainerMetadata { name: "web".into(), environment, ..ContainerMetadata::default() }
    };
    let all = [
        ("NOMAD_ALLOC_ID", ALLOCATION),
        ("NOMAD_GROUP_NAME", "front"),
        ("NOMAD_JOB_NAME", "shop"),
        ("NOMAD_TASK_NAME", "web"),
        ("NOMAD_NAMESPACE", "prod"),
    ];
    let name = |pairs| named(Runtime::Docker, &environment(pairs), None);
    let expected = |namespace| Some(format!("/nomad/{namespace}/shop/front/{ALLOCATION}/web"));
    assert_eq!(name(&all), expected("prod"));
    assert_eq!(name(&all[..4]), expected("default"));
    assert_eq!(name(&all[..3]).as_deref(), Some("/docker/web"));
}

#[test]
fn runs_of_a_cronjob_share_a_name() {
    let name = |pod_name: &str, now| named(Runtime::Docker, &pod(pod_name, "main"), now).unwrap();
    let run = |minutes: i64| format!("backup-db-{minutes}-x2x7z");
    let collapsed = "/k8s-cronjob/ns/backup-db/main";
    let week = 7 * 24 * 60;
    for (minutes, is_collapsed) in [
        (NOW_MINUTES, true),
        (NOW_MINUTES - week, true),
        (NOW_MINUTES + week, true),
        (NOW_MINUTES - week - 1, false),
        (NOW_MINUTES + week + 1, false),
    ] {
        let expected =
            if is_collapsed { collapsed.to_owned() } else { format!("/k8s/ns/{}/main", run(minutes)) };
        assert_eq!(name(&run(minutes), Some(NOW)), expected);
    }
    assert_eq!(name(&run(NOW_MINUTES), None), format!("/k8s/ns/{}/main", run(NOW_MINUTES)));
    for other in [
        format!("backup-{}0-x2x7z", NOW_MINUTES),
        format!("backup-{NOW_MINUTES}-x2x7"),
        format!("backup-{NOW_MINUTES}-X2X7Z"),
        format!("{NOW_MINUTES}-x2x7z"),
        format!("-{NOW_MINUTES}-x2x7z"),
    ] {
        assert_eq!(name(&other, Some(NOW)), format!("/k8s/ns/{other}/main"));
    }
    assert_eq!(app_id(collapsed), "", "the name is the owner's already");
}

#[test]
fn owners_of_pods() {
    let cases = [
        ("/k8s/ns/web-7d4b9c6f58-x2x7z/nginx", "/k8s/ns/web"),
        ("/k8s/ns/web-proxy-7d4b9c6f58-x2x7z/nginx", "/k8s/ns/web-proxy"),
        ("/k8s/ns/agent-x2x7z/agent", "/k8s/ns/agent"),
        ("/k8s/ns/db-0/postgres", "/k8s/ns/db"),
        ("/k8s/ns/web-proxy/nginx", ""),
        ("/k8s/ns/single/nginx", ""),
        ("/docker/web-0", ""),
        ("/k8s/ns", ""),
        ("/ecs/prod/shop/0a1b2c3d4e5f/nginx", ""),
        ("/ecs/prod/shop", ""),
    ];
    for (container_id, expected) in cases {
        assert_eq!(app_id(container_id), expected, "{container_id}");
    }
    assert_eq!(app_id_of_owner("/k8s/ns/odd-name/c", "odd").as_deref(), Some("/k8s/ns/odd"));
    assert_eq!(app_id_of_owner("/docker/odd-name", "odd"), None);
}

proptest! {
    #[test]
    fn any_name_is_named(name in ".{0,60}", key in "[a-z./]{0,40}", value in ".{0,80}", minutes in any::<i64>()) {
        let metadata = metadata(&name, &[(&key, &value)]);
        for runtime in Runtime::ALL {
            let _ = anonymous(runtime, &name);
            let _ = named(runtime, &metadata, Some(UnixMillis(minutes)));
        }
        let _ = app_id(&name);
        let pod = named(Runtime::Docker, &pod(&name, &value), Some(UnixMillis(minutes)));
        prop_assert!(name.is_empty() || pod.unwrap().starts_with("/k8s"));
    }
}
