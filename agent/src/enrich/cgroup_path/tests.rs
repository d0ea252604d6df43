use proptest::prelude::*;

use super::*;

const ID: &str = "b06f44ca4949d516ffe575c59aa58e31dd6af170f369265dda1352ba37aaddbd";
const OTHER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e";
const UID_SYSTEMD: &str = "8a1f5c3e_0b6d_4f3a_9c1e_2d3b4a5c6d7e";

fn container(runtime: Runtime, id: &str) -> Owner {
    Owner::Container { runtime, id: id.into() }
}

/// Replaces `{id}`, `{other}`, `{uid}`, `{uid_}` and classifies; `own` is the expected own path.
#[track_caller]
fn check(path: &str, owner: &Owner, own: &str) {
    let fill = |text: &str| {
        text.replace("{id}", ID)
            .replace("{other}", OTHER)
            .replace("{uid}", UID)
            .replace("{uid_}", UID_SYSTEMD)
    };
    let path = fill(path);
    let found = classify(&path);
    assert_eq!(&found.owner, owner, "{path}");
    assert_eq!(found.own_path, fill(own), "{path}");
}

/// Every runtime by every driver, each with its path.
const CONTAINERS: [(&str, Runtime); 52] = {
    use Runtime::*;
    [
        ("/docker/{id}", Docker),
        ("/system.slice/docker-{id}.scope", Docker),
        ("/docker.slice/docker-{id}.scope", Docker),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope", Docker),
        ("/ecs/0a1b2c3d/{id}", Docker),
        ("/ecstasks.slice/ecstasks-0a1b2c3d.slice/docker-{id}.scope", Docker),
        ("/actions_job/{id}", Docker),
        ("/kubepods.slice/kubepods-pod{uid_}.slice/docker-{id}.scope", Docker),
        ("/kubepods/burstable/pod{uid}/{id}", Kubepods),
        ("/kubepods/pod{uid}/{id}", Kubepods),
        ("/kubelet/kubepods/besteffort/pod{uid}/{id}", Kubepods),
        ("/kubepods/besteffort/pod{uid}/kata_{id}", Kubepods),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope",
            Containerd,
        ),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{uid_}.slice/cri-containerd-{id}.scope",
            Containerd,
        ),
        (
            "/system.slice/containerd.service/kubepods-burstable-pod{uid_}.slice:cri-containerd:{id}",
            Containerd,
        ),
        ("/default/{id}", Containerd),
        ("/k8s.io/{id}", Containerd),
        ("/system.slice/nerdctl-{id}.scope", Containerd),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-{id}.scope", Containerd),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice/crio-{id}.scope",
            Crio,
        ),
        ("/kubepods/burstable/pod{uid}/crio-{id}", Crio),
        ("/machine.slice/libpod-{id}.scope", Podman),
        ("/libpod_parent/libpod-{id}", Podman),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope", Podman),
        // Docker: other parents, rootless with the cgroupfs driver, one below systemd's notation.
        ("/mycgroup.slice/docker-{id}.scope", Docker),
        ("/user.slice/user-1000.slice/user@1000.service/docker.service/docker/{id}", Docker),
        ("/{id}", Docker),
        ("/system.slice:docker:{id}", Docker),
        ("/docker/buildx/{id}", Docker),
        ("/ecs/cluster/0a1b2c3d4e5f60718293a4b5c6d7e8f9/{id}", Docker),
        ("/nomad.slice/share.slice/docker-{id}.scope", Docker),
        ("/garden/{id}", Docker),
        // Kubernetes: the three qualities of service by both drivers; static pods have no dashes in their uid.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/docker-{id}.scope",
            Docker,
        ),
        ("/kubepods/burstable/pod0f5d3c0b1a2e4d5f60718293a4b5c6d7/{id}", Kubepods),
        ("/kubepods/besteffort/pod{uid}/{id}", Kubepods),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f5d3c0b1a2e4d5f60718293a4b5c6d7.slice/cri-containerd-{id}.scope",
            Containerd,
        ),
        ("/kubepods-besteffort-pod{uid_}.slice:cri-containerd:{id}", Containerd),
        ("/system.slice/containerd.service/kubepods-pod{uid_}.slice:cri-containerd:{id}", Containerd),
        (
            "/system.slice/snap.microk8s.daemon-containerd.service/kubepods-besteffort-pod{uid_}.slice:cri-containerd:{id}",
            Containerd,
        ),
        ("/kubepods-burstable-pod{uid_}.slice:crio:{id}", Crio),
        ("/kubepods.slice/kubepods-pod{uid_}.slice/crio-{id}.scope", Crio),
        // Kata: with and without a cgroup for the whole sandbox.
        ("/kata_overhead/{id}", Kubepods),
        ("/vc/kata_{id}", Kubepods),
        // containerd alone.
        ("/nerdctl/{id}", Containerd),
        ("/moby/{id}", Containerd),
        ("/system.slice:nerdctl:{id}", Containerd),
        // Podman: pods by both drivers, units of quadlet.
        ("/machine.slice/machine-libpod_pod_{other}.slice/libpod-{id}.scope", Podman),
        ("/libpod_parent/{other}/libpod-{id}", Podman),
        ("/libpod_parent/libpod_pod_{other}/libpod-{id}", Podman),
        ("/system.slice/web.service/libpod-payload-{id}", Podman),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_{other}.slice/libpod-{id}.scope",
            Podman,
        ),
        ("/system.slice:libpod:{id}", Podman),
    ]
};

#[test]
fn containers_of_every_runtime_and_driver() {
    for (path, runtime) in CONTAINERS {
        check(path, &container(runtime, ID), path);
    }
}

#[test]
fn an_inner_cgroup_belongs_to_its_container_and_the_files_are_above() {
    let podman = container(Runtime::Podman, ID);
    check("/machine.slice/libpod-{id}.scope/container", &podman, "/machine.slice/libpod-{id}.scope");
    let docker = container(Runtime::Docker, ID);
    check("/docker/{id}/system.slice/nginx.service", &docker, "/docker/{id}");
    check("/docker/{id}/init.scope", &docker, "/docker/{id}");
    let lxc = container(Runtime::Lxc, "web");
    check("/lxc.payload.web/system.slice/nginx.service", &lxc, "/lxc.payload.web");
}

#[test]
fn clusters_in_containers_show_their_pods() {
    // kind, k3d, docker-in-docker, Kubernetes in LXC, in an nspawn machine, and without root.
    let pod = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope";
    for around in [
        "/docker/{other}/kubelet.slice/kubelet-",
        "/docker/{other}/",
        "/system.slice/docker-{other}.scope/kubelet.slice/kubelet-",
        "/kubepods/burstable/pod{uid}/{other}/",
        "/lxc.payload.node-1/",
        "/lxc/101/ns/",
        "/machine.slice/machine-node.scope/payload/",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/k3s-rootless.scope/",
    ] {
        let path = format!("{around}{pod}");
        check(&path, &container(Runtime::Containerd, ID), &path);
    }
    for path in ["/docker/{other}/kubepods/besteffort/pod{uid}/{id}", "/lxc/101/ns/kubepods/pod{uid}/{id}"] {
        check(path, &container(Runtime::Kubepods, ID), path);
    }
}

#[test]
fn containers_with_names() {
    use Runtime::*;
    let alloc = "5d16ac2a-9eb6-1b93-4d5e-4f2b0c1d2e3f";
    let task = format!("{alloc}.web-1");
    let cases = [
        ("/default/redis", Containerd, "redis"),
        ("/lxc/101", Lxc, "101"),
        ("/lxc.payload.project_web", Lxc, "project_web"),
        ("/user.slice/user-1000.slice/lxc.payload.c1", Lxc, "c1"),
        ("/nomad.slice/share.slice/{task}.scope", Nomad, &task),
        ("/nomad.slice/reserve.slice/{task}.scope", Nomad, &task),
        ("/nomad.slice/{task}.scope", Nomad, &task),
        ("/nomad/share/{task}", Nomad, &task),
        ("/nomad/{alloc}", Nomad, alloc),
        ("/machine.slice/machine-debian\\x2d12.scope", Nspawn, "debian-12"),
        ("/machine.slice/systemd-nspawn@web.service", Nspawn, "web"),
        ("/machine.slice/container@web.service", Nspawn, "web"),
        ("/machine.slice/machine-qemu\\x2d7\\x2ddb\\x2dprimary.scope", Qemu, "db-primary"),
        ("/machine.slice/machine-lxc\\x2d4242\\x2dold.scope", Lxc, "old"),
        ("/machine/qemu-7-db-primary.libvirt-qemu", Qemu, "db-primary"),
        ("/machine/old.libvirt-lxc", Lxc, "old"),
        ("/qemu.slice/100.scope", Qemu, "100"),
    ];
    for (path, runtime, id) in cases {
        let path = path.replace("{task}", &task).replace("{alloc}", alloc);
        check(&path, &container(runtime, id), &path);
        check(&format!("{path}/payload/system.slice/a.service"), &container(runtime, id), &path);
    }
}

#[test]
fn the_innermost_container_owns_the_processes() {
    check("/docker/{other}/docker/{id}", &container(Runtime::Docker, ID), "/docker/{other}/docker/{id}");
    check(
        "/docker/{other}/kubelet/kubepods/pod{uid}/{id}",
        &container(Runtime::Kubepods, ID),
        "/docker/{other}/kubelet/kubepods/pod{uid}/{id}",
    );
    check(
        "/kubepods/pod{uid}/{other}/docker/{id}",
        &container(Runtime::Docker, ID),
        "/kubepods/pod{uid}/{other}/docker/{id}",
    );
    check("/lxc.payload.web/docker/{id}", &container(Runtime::Docker, ID), "/lxc.payload.web/docker/{id}");
}

#[test]
fn lxc_is_named() {
    check("/lxc/web", &container(Runtime::Lxc, "web"), "/lxc/web");
    check("/lxc.payload/web", &container(Runtime::Lxc, "web"), "/lxc.payload/web");
    check("/lxc.payload.web", &container(Runtime::Lxc, "web"), "/lxc.payload.web");
    check("/lxc.monitor.web", &Owner::Unmanaged, "/lxc.monitor.web");
}

#[test]
fn a_pod_without_containers_is_a_sandbox() {
    let sandbox = container(Runtime::Sandbox, UID);
    check("/kubepods/besteffort/pod{uid}", &sandbox, "/kubepods/besteffort/pod{uid}");
    let slice = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice";
    check(slice, &sandbox, slice);
    check(&format!("{slice}/gvisor"), &sandbox, slice);
    check("/kubepods.slice", &Owner::Unmanaged, "/kubepods.slice");
}

#[test]
fn fargate_tasks_are_containers() {
    let id = "0123456789abcdef0123456789abcdef-1234567890";
    check(&format!("/ecs/x/{id}"), &container(Runtime::Docker, id), &format!("/ecs/x/{id}"));
}

#[test]
fn monitors_are_beside_their_containers() {
    let pod = "/kubepods.slice/kubepods-pod{uid_}.slice";
    let monitor = format!("{pod}/crio-conmon-{{id}}.scope");
    check(&monitor, &Owner::Unmanaged, &monitor);
    let odd = format!("{pod}/a.service/crio-conmon-{{id}}.scope");
    check(&odd, &Owner::Unmanaged, &odd);
    let node = container(Runtime::Docker, OTHER);
    check(&format!("/docker/{{other}}{monitor}"), &node, "/docker/{other}");
    check("/libpod_parent/{other}/conmon", &Owner::Unmanaged, "/libpod_parent/{other}/conmon");
    check("/lxc.monitor/web", &Owner::Unmanaged, "/lxc.monitor/web");
    check("/lxc.pivot", &Owner::Unmanaged, "/lxc.pivot");
}

#[test]
fn nesting_counts_containers_and_a_pod_only_without_one() {
    for (path, nesting) in [
        ("/system.slice/a.service", 0),
        ("/docker/{id}", 1),
        ("/kubepods/pod{uid}", 1),
        ("/kubepods/pod{uid}/{id}", 1),
        ("/docker/{other}/kubepods/pod{uid}", 2),
        ("/docker/{other}/kubepods/pod{uid}/{id}", 2),
        ("/lxc.payload.a/docker/{other}/docker/{id}", 3),
    ] {
        let path = path.replace("{id}", ID).replace("{other}", OTHER).replace("{uid}", UID);
        assert_eq!(classify(&path).nesting, nesting, "{path}");
    }
}

#[test]
fn talos_has_services_of_its_own() {
    for (path, id, own) in [
        ("/init", "/talos/init", "/init"),
        ("/podruntime/kubelet", "/talos/kubelet", "/podruntime/kubelet"),
        ("/podruntime/runtime/shim", "/talos/runtime", "/podruntime/runtime"),
        ("/system/apid", "/talos/apid", "/system/apid"),
    ] {
        check(path, &Owner::Service(id.into()), own);
    }
    check("/system", &Owner::Unmanaged, "/system");
    check("/init/x", &Owner::Unmanaged, "/init/x");
}

#[test]
fn what_comes_and_goes_under_one_name() {
    let step = "s9q1k2m3n4p5q6r7s8t9u0v1w";
    for (path, id, own) in [
        ("/docker/buildkit/s9q1k2m3n4", "/docker/buildkit", "/docker/buildkit"),
        ("/buildkit/s9q1k2m3n4", "/containerd/buildkit", "/buildkit"),
        (&*format!("/system.slice/docker-{step}.scope"), "/docker/buildkit", ""),
        ("/system.slice/{id}.service", "/podman/healthcheck", ""),
        ("/system.slice/{id}-4f5a6b7c8d9e0f1.service", "/podman/healthcheck", ""),
        (
            "/system.slice/system-sshd.slice/sshd@12-10.0.0.1:22-10.0.0.2:51234.service",
            "/system.slice/sshd@.service",
            "",
        ),
        ("/system.slice/sshd@3-7-[fe80::1%2]:22-[fe80::2]:51.service", "/system.slice/sshd@.service", ""),
        (
            "/system.slice/system-systemd\\x2dcoredump.slice/systemd-coredump@4-1234-0.service",
            "/system.slice/systemd-coredump@.service",
            "",
        ),
        ("/system.slice/echo@1-4242-0.service", "/system.slice/echo@.service", ""),
    ] {
        check(path, &Owner::Group(id.into()), own);
    }
    for name in ["postgresql@15-main", "user@1000", "lvm2-pvscan@8:0", "a@1-", "run-up", "run-rpc_pipefs"] {
        let path = format!("/system.slice/{name}.service");
        check(&path, &Owner::Service(path.as_str().into()), &path);
    }
}

#[test]
fn system_services() {
    let cases = [
        ("/system.slice/nginx.service", "/system.slice/nginx.service", "/system.slice/nginx.service"),
        ("/system.slice/nginx.service/worker", "/system.slice/nginx.service", "/system.slice/nginx.service"),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            "/system.slice/getty@tty1.service",
            "/system.slice/system-getty.slice/getty@tty1.service",
        ),
        (
            "/system.slice/snap.lxd\\x2dagent.service",
            "/system.slice/snap.lxd-agent.service",
            "/system.slice/snap.lxd\\x2dagent.service",
        ),
        (
            "/runtime.slice/kubelet.service",
            "/runtime.slice/kubelet.service",
            "/runtime.slice/kubelet.service",
        ),
        (
            "/azure.slice/walinuxagent.service",
            "/azure.slice/walinuxagent.service",
            "/azure.slice/walinuxagent.service",
        ),
        (
            "/system.slice/nginx.service (deleted)",
            "/system.slice/nginx.service",
            "/system.slice/nginx.service",
        ),
    ];
    for (path, service, own) in cases {
        check(path, &Owner::Service(service.into()), own);
    }
}

#[test]
fn what_follows_no_rule_is_unmanaged() {
    for path in [
        "",
        "/",
        "/init.scope",
        "/user.slice/user-1000.slice/session-1.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/dbus.service",
        "/system.slice/run-r1234.scope",
        "/system.slice/run-u1.scope/x.service",
        "/system.slice/.service",
        "/machine.slice/libpod-conmon-{id}.scope",
        "/kubepods.slice/crio-conmon-{id}.scope",
        "/docker",
        "/system.slice/run-u12.service",
        "/system.slice/run-r0c1d2e3f4a5b6c7d8e9f.service",
        "/system.slice/run-p1234-i5678.service",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/snap.firefox.firefox-4f5a6b7c.scope",
        "/machine.slice/machine-.scope",
        "/machine.slice/other.scope",
        "/nomad.slice/share.slice",
        "/default",
        "/slurm/uid_1000/job_7/step_0",
        "/process_api/f55bc8829c69b857daa9e99b9c0e5e0d",
    ] {
        let own = if path == "/" { "" } else { path };
        check(path, &Owner::Unmanaged, own);
    }
}

#[test]
fn ranks_prefer_containers() {
    let ranks = ["/docker/{id}", "/kubepods/pod{uid}", "/system.slice/a.service", "/"]
        .map(|path| classify(&path.replace("{id}", ID).replace("{uid}", UID)).owner.rank());
    assert_eq!(ranks, [3, 2, 1, 0]);
}

/// Paths of elements that mean something somewhere, in any order.
fn elements_of_all_kinds() -> impl Strategy<Value = String> {
    let element = prop::sample::select(vec![
        "docker".to_owned(),
        ID.to_owned(),
        format!("docker-{ID}.scope"),
        format!("crio-conmon-{ID}.scope"),
        format!("kubepods-pod{UID_SYSTEMD}.slice"),
        format!("kubepods-pod{UID_SYSTEMD}.slice:cri-containerd:{ID}"),
        format!("pod{UID}"),
        "kubepods".to_owned(),
        "kubepods.slice".to_owned(),
        "system.slice".to_owned(),
        "user.slice".to_owned(),
        "machine.slice".to_owned(),
        "machine-a\\x2db.scope".to_owned(),
        "container@web.service".to_owned(),
        "a.service".to_owned(),
        format!("{ID}.service"),
        "sshd@1-2-3.service".to_owned(),
        "a.scope".to_owned(),
        "lxc".to_owned(),
        "lxc.payload.x".to_owned(),
        "nomad.slice".to_owned(),
        "5d16ac2a-9eb6-1b93-4d5e-4f2b0c1d2e3f.t.scope".to_owned(),
        "libpod_parent".to_owned(),
        "default".to_owned(),
        "init".to_owned(),
        "system".to_owned(),
        "buildkit".to_owned(),
        "qemu.slice".to_owned(),
        String::new(),
    ]);
    (prop::collection::vec(element, 0..7), prop::sample::select(vec!["", "/", " (deleted)"]))
        .prop_map(|(elements, end)| format!("/{}{end}", elements.join("/")))
}

#[test]
fn a_container_below_the_slice_of_a_user_is_the_users() {
    let user = |path: &str| classify(&path.replace("{id}", ID)).user;
    assert_eq!(
        user("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope"),
        Some(1000)
    );
    assert_eq!(user("/docker/1/user.slice/user-7.slice/user-0.slice/libpod-{id}.scope"), Some(7));
    assert_eq!(user("/user.slice/user-1000.slice/user-libpod_pod_1.slice/libpod-{id}.scope"), Some(1000));
    assert_eq!(user("/user.slice/user-0.slice/session-1.scope/docker/{id}"), None);
    assert_eq!(user("/user.slice/user-libpod_pod_1.slice/libpod-{id}.scope"), None);
    assert_eq!(user("/system.slice/docker-{id}.scope"), None);
    assert_eq!(
        user("/docker/{id}/user.slice/user-1000.slice/session-1.scope"),
        None,
        "the container is the system's"
    );
}

proptest! {
    #[test]
    fn never_panics_and_the_own_path_is_a_prefix(path in "(/?[a-z.:\\\\@_äé0-9-]{0,12}){0,8}") {
        prop_assert!(path.starts_with(classify(&path).own_path));
    }

    #[test]
    fn any_text_is_classified(path in ".{0,200}") {
        prop_assert!(path.starts_with(classify(&path).own_path));
    }

    #[test]
    fn an_owners_own_path_has_the_same_owner(path in elements_of_all_kinds()) {
        let found = classify(&path);
        if !found.own_path.is_empty() {
            prop_assert_eq!(classify(found.own_path).owner, found.owner.clone(), "{}", path);
            prop_assert_eq!(classify(found.own_path).own_path, found.own_path);
        }
        if let Owner::Container { id, .. } | Owner::Service(id) | Owner::Group(id) = found.owner {
            prop_assert!(id.len() <= path.len() + "/containerd/buildkit".len());
        }
    }

    #[test]
    fn what_stands_before_a_container_changes_nothing(
        prefix in "(/[a-z][a-z0-9_]{0,10}){0,4}",
        index in 0usize..4,
    ) {
        let path = [
            format!("/docker/{ID}"),
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod{UID_SYSTEMD}.slice/cri-containerd-{ID}.scope"),
        ][index].clone();
        let nested = format!("{prefix}{path}");
        prop_assert_eq!(classify(&nested).owner, classify(&path).owner);
    }
}
