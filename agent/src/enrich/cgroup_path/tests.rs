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

#[test]
fn containers_of_every_runtime_and_driver() {
    use Runtime::*;
    let cases = [
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
    ];
    for (path, runtime) in cases {
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
        "/docker/buildkit/executor",
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
