//! Where runtimes listen.
//!
//! A socket has one name, that of the host, and up to two places where it can be reached: below the root of process 1, and
//! where it was mounted into the agent's container. The first that exists is taken, at every question anew: a runtime may
//! start long after the agent. Only a kind that had none a moment ago is not looked for.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::Kind;
use crate::host_path;

/// Sockets of runtimes that belong to the whole node. Distributions with a containerd of their own come before the
/// common one: where both run, the kubelet uses theirs.
const OF_NODE: [(Kind, &str); 8] = [
    (Kind::Docker, "/run/docker.sock"),
    (Kind::Podman, "/run/podman/podman.sock"),
    (Kind::Containerd, "/var/snap/microk8s/common/run/containerd.sock"),
    (Kind::Containerd, "/run/k0s/containerd.sock"),
    (Kind::Containerd, "/run/k3s/containerd/containerd.sock"),
    (Kind::Containerd, "/run/containerd/containerd.sock"),
    (Kind::Cri, "/run/crio/crio.sock"),
    (Kind::Cri, "/run/cri-dockerd.sock"),
];
/// Sockets of users' own runtimes, below `/run/user/<uid>`.
const OF_USERS: [(Kind, &str); 2] = [(Kind::Docker, "docker.sock"), (Kind::Podman, "podman/podman.sock")];
/// Drivers of podman's storage.
const DRIVERS: [&str; 4] = ["overlay", "vfs", "btrfs", "zfs"];
/// podman's lists of containers, which are read where no service listens: where, and their names. Containers that go when
/// they end (`--rm`, all of Quadlet's) have a list of their own, which a transient store keeps below /run.
const LISTS: [(&str, &str); 3] = [
    ("/var/lib/containers/storage", "containers.json"),
    ("/var/lib/containers/storage", "volatile-containers.json"),
    ("/run/containers/storage", "volatile-containers.json"),
];
const USERS: &str = "/run/user";
/// A longer path cannot be connected to (`sun_path` of unix(7), less its final zero).
const MAX_PATH: usize = 107;

/// A socket of a runtime that was set by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSocket {
    /// What is spoken there.
    pub kind: Kind,
    /// Its path on the host; for podman it may also be that of a `containers.json`.
    pub path: PathBuf,
}

impl FromStr for RuntimeSocket {
    type Err = String;

    /// Reads `KIND=PATH`; the path may have the scheme `unix://`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, path) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`"))?;
        let kind = Kind::named(kind).ok_or_else(|| format!("`{kind}` is no runtime"))?;
        let path = path.strip_prefix("unix://").unwrap_or(path);
        if !path.starts_with('/') {
            return Err(format!("`{path}` is not an absolute path"));
        }
        if path.len() > MAX_PATH {
            return Err(format!("`{path}` is longer than the {MAX_PATH} bytes of a socket's address"));
        }
        Ok(Self { kind, path: path.into() })
    }
}

/// A socket that exists.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    /// Its path on the host.
    pub(super) name: PathBuf,
    /// Its path here.
    pub(super) path: PathBuf,
    /// The root below which it was found: the host's, or the agent's own where it was mounted.
    pub(super) root: PathBuf,
    /// A user's socket, held so that what was judged is what is connected to, or one whose path is too long here; either
    /// is reached through `path`.
    held: Option<Arc<Held>>,
}

/// An inode, open by path only.
#[derive(Debug)]
struct Held {
    _file: OwnedFd,
    device: u64,
    inode: u64,
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        let inode = |socket: &Self| socket.held.as_ref().map(|held| (held.device, held.inode));
        // The path of one that is held has the descriptor's number.
        let same_place = self.held.is_some() || self.path == other.path;
        self.name == other.name && inode(self) == inode(other) && same_place
    }
}

impl Socket {
    /// The socket at a path. The place below which the host's root is seen may make the path longer than an address can
    /// be: then the socket is held, and connected to through its descriptor.
    fn at(name: PathBuf, (root, path): (PathBuf, PathBuf)) -> Self {
        let socket = Self { name, path, root, held: None };
        if socket.path.as_os_str().len() <= MAX_PATH || socket.is_list() {
            return socket;
        }
        let opened = rustix::fs::open(&socket.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        match opened.and_then(|file| Ok((rustix::fs::fstat(&file)?, file))) {
            Ok((stat, file)) => Self::held(socket.name, socket.root, file, &stat),
            // To connect to it will fail for the same reason, and say so.
            Err(_) => socket,
        }
    }

    fn held(name: PathBuf, root: PathBuf, file: OwnedFd, stat: &rustix::fs::Stat) -> Self {
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let held = Held { _file: file, device: stat.st_dev, inode: stat.st_ino };
        Self { name, path, root, held: Some(Arc::new(held)) }
    }

    /// Whether it is no socket, but podman's list of containers.
    pub(super) fn is_list(&self) -> bool {
        self.name.extension().is_some_and(|extension| extension == "json")
    }
}

/// Where to look.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Places of the host's root, the best first.
    roots: Vec<PathBuf>,
    given: Vec<RuntimeSocket>,
    /// Whether the usual places count.
    usual: bool,
}

impl Sockets {
    /// The given ones, then the usual ones of the host.
    pub(super) fn of_host(proc_root: &Path, given: Vec<RuntimeSocket>) -> Self {
        Self { roots: vec![proc_root.join("1/root"), PathBuf::from("/")], given, usual: true }
    }

    /// The given ones only.
    #[cfg(test)]
    pub(super) fn only(given: Vec<RuntimeSocket>) -> Self {
        Self { roots: vec![PathBuf::from("/")], given, usual: false }
    }

    /// Those of a kind that belong to the whole node and exist now, in the order in which they are asked.
    pub(super) fn of_node(&self, kind: Kind) -> Vec<Socket> {
        let mut found: Vec<Socket> = Vec::new();
        for name in self.names(kind) {
            if !found.iter().any(|socket| socket.name == name)
                && let Some(place) = self.place(&name)
            {
                found.push(Socket::at(name, place));
            }
        }
        if kind == Kind::Podman && self.usual {
            found.extend(lists().filter_map(|name| Some(Socket::at(name.clone(), self.place(&name)?))));
        }
        found
    }

    /// Why sockets that were set by hand do not count, if there are such.
    pub(super) fn given_but_absent(&self, kind: Kind) -> Option<String> {
        let given = self.given.iter().filter(|socket| socket.kind == kind);
        let missing = given.map(|socket| &socket.path).find(|path| self.place(path).is_none())?;
        Some(format!("no {kind} socket at {}", missing.display()))
    }

    /// Whether a socket of this name is asked about containers of this user, or of the node where there is none.
    pub(super) fn is_of(name: &Path, user: Option<u32>) -> bool {
        match user {
            Some(uid) => name.starts_with(Path::new(USERS).join(uid.to_string())),
            None => !name.starts_with(USERS),
        }
    }

    /// The names of a kind's sockets, for messages.
    pub(super) fn looked_for(&self, kind: Kind) -> String {
        let names: Vec<_> = self.names(kind).iter().map(|name| name.display().to_string()).collect();
        names.join(", ")
    }

    fn names(&self, kind: Kind) -> Vec<PathBuf> {
        let given = self.given.iter().filter(|socket| socket.kind == kind).map(|socket| socket.path.clone());
        let usual = OF_NODE.iter().filter(|(of, _)| self.usual && *of == kind);
        given.chain(usual.map(|(_, name)| PathBuf::from(name))).collect()
    }

    /// The socket of a user's own runtime. Everything below the user's directory is the user's to shape, so no link is
    /// followed, no mount entered, and the socket must be the user's: else the agent might wait for ever, or speak to
    /// somebody else in the user's place.
    pub(super) fn of_user(&self, kind: Kind, uid: u32) -> Option<Socket> {
        let (_, socket) = OF_USERS.iter().find(|(of, _)| self.usual && *of == kind)?;
        let home = Path::new(USERS).join(uid.to_string());
        let (root, place) = self.place(&home)?;
        let directory = fs::File::open(place).ok()?;
        let path_only = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let file = rustix::fs::openat2(&directory, *socket, path_only, Mode::empty(), resolve).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        if stat.st_uid != uid || FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return None;
        }
        Some(Socket::held(home.join(socket), root, file, &stat))
    }

    /// A root, and the path below it that the host calls so.
    fn place(&self, name: &Path) -> Option<(PathBuf, PathBuf)> {
        self.roots.iter().find_map(|root| Some((root.clone(), host_path::resolve(root, name)?)))
    }
}

/// The names of podman's lists.
fn lists() -> impl Iterator<Item = PathBuf> {
    let of_driver = |driver: &'static str| {
        LISTS
            .iter()
            .map(move |(store, file)| Path::new(store).join(format!("{driver}-containers")).join(file))
    };
    DRIVERS.into_iter().flat_map(of_driver)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn socket(text: &str) -> RuntimeSocket {
        text.parse().unwrap()
    }

    #[test]
    fn sockets_are_given_by_kind_and_path() {
        let cri = RuntimeSocket { kind: Kind::Cri, path: "/run/foo.sock".into() };
        assert_eq!("cri=/run/foo.sock".parse(), Ok(cri.clone()));
        assert_eq!("cri=unix:///run/foo.sock".parse(), Ok(cri));
        let cases = [
            ("/run/foo.sock", "`/run/foo.sock` has no `=`"),
            ("lxc=/run/foo.sock", "`lxc` is no runtime"),
            ("cri=foo.sock", "`foo.sock` is not an absolute path"),
            ("cri=http://x", "`http://x` is not an absolute path"),
            ("docker=", "`` is not an absolute path"),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<RuntimeSocket>(), Err(message.to_owned()));
        }
        let long = format!("cri=/{}", "x".repeat(MAX_PATH));
        assert!(long.parse::<RuntimeSocket>().unwrap_err().contains("107 bytes"));
    }

    #[test]
    fn the_hosts_own_comes_before_what_was_mounted_and_what_was_given_before_the_usual() {
        let machine = tempfile::tempdir().unwrap();
        let host = machine.path().join("1/root");
        let place = |name: &str| {
            let path = host.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let sockets = Sockets::of_host(machine.path(), vec![socket("containerd=/odd/c.sock")]);
        let k3s = place("run/k3s/containerd/containerd.sock");
        let microk8s = place("var/snap/microk8s/common/run/containerd.sock");
        let odd = place("odd/c.sock");
        let found = sockets.of_node(Kind::Containerd);
        let places: Vec<_> = found.iter().map(|socket| socket.path.clone()).take(3).collect();
        assert_eq!(places, [odd, microk8s, k3s]);
        assert_eq!(found[0].name, Path::new("/odd/c.sock"));
    }

    #[test]
    fn a_socket_that_is_not_on_the_host_may_be_mounted_here() {
        let machine = tempfile::tempdir().unwrap();
        let here = machine.path().join("cri.sock");
        let given = socket(&format!("cri={}", here.display()));
        let sockets = Sockets::of_host(machine.path(), vec![given]);
        assert_eq!(sockets.of_node(Kind::Cri), []);
        assert!(sockets.given_but_absent(Kind::Cri).is_some());
        fs::write(&here, "").unwrap();
        let expected = Socket { name: here.clone(), path: here, root: "/".into(), held: None };
        assert_eq!(sockets.of_node(Kind::Cri), [expected]);
        assert_eq!(sockets.given_but_absent(Kind::Cri), None);
    }

    #[test]
    fn users_have_runtimes_of_their_own() {
        let machine = tempfile::tempdir().unwrap();
        let own = rustix::process::getuid().as_raw();
        let users = machine.path().join("1/root/run/user");
        let podman = |uid: u32| {
            let directory = users.join(uid.to_string()).join("podman");
            fs::create_dir_all(&directory).unwrap();
            directory.join("podman.sock")
        };
        let listener = UnixListener::bind(podman(own)).unwrap();
        // Not the user's own, no socket, a link to one, and a link on the way to one.
        let _others = UnixListener::bind(podman(own + 1)).unwrap();
        let sockets = Sockets::of_host(machine.path(), Vec::new());
        let of = |uid| sockets.of_user(Kind::Podman, uid);
        let found = of(own).unwrap();
        assert_eq!(found.name, Path::new(USERS).join(own.to_string()).join("podman/podman.sock"));
        assert_eq!(of(own), Some(found.clone()), "it is the same one");
        UnixStream::connect(&found.path).unwrap();
        listener.accept().unwrap();
        assert_eq!(of(own + 1), None);
        assert!(sockets.of_node(Kind::Podman).iter().all(|socket| Sockets::is_of(&socket.name, None)));

        fs::rename(podman(own), users.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(users.join("elsewhere"), podman(own)).unwrap();
        assert_eq!(of(own), None, "a link");
        fs::remove_file(podman(own)).unwrap();
        fs::write(podman(own), "").unwrap();
        assert_eq!(of(own), None, "a file");
        fs::remove_file(podman(own)).unwrap();
        let _another = UnixListener::bind(podman(own)).unwrap();
        assert!(of(own).is_some_and(|another| another != found), "a daemon that was started anew");
        let directory = users.join(own.to_string()).join("podman");
        fs::rename(&directory, users.join("moved")).unwrap();
        std::os::unix::fs::symlink(users.join("moved"), &directory).unwrap();
        assert_eq!(of(own), None, "a link on the way");
    }

    #[test]
    fn no_link_of_a_user_is_followed_not_even_to_the_users_own() {
        let machine = tempfile::tempdir().unwrap();
        let own = rustix::process::getuid().as_raw();
        let home = machine.path().join("1/root/run/user").join(own.to_string());
        fs::create_dir_all(home.join("podman")).unwrap();
        let sockets = Sockets::of_host(machine.path(), Vec::new());
        let _own = UnixListener::bind(home.join("podman/podman.sock")).unwrap();
        assert!(sockets.of_user(Kind::Podman, own).is_some());
        fs::rename(home.join("podman/podman.sock"), home.join("podman/real.sock")).unwrap();
        std::os::unix::fs::symlink("real.sock", home.join("podman/podman.sock")).unwrap();
        assert_eq!(sockets.of_user(Kind::Podman, own), None, "a relative link beside it");
        fs::remove_file(home.join("podman/podman.sock")).unwrap();
        std::os::unix::fs::symlink("../podman/real.sock", home.join("podman/podman.sock")).unwrap();
        assert_eq!(sockets.of_user(Kind::Podman, own), None, "one that goes up and down again");
        fs::remove_file(home.join("podman/podman.sock")).unwrap();
        fs::rename(home.join("podman/real.sock"), home.join("podman/podman.sock")).unwrap();
        assert!(sockets.of_user(Kind::Podman, own).is_some());
        fs::rename(home.join("podman"), home.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", home.join("podman")).unwrap();
        assert_eq!(sockets.of_user(Kind::Podman, own), None, "a relative link on the way");
    }

    #[test]
    fn a_socket_whose_path_is_too_long_here_is_reached_all_the_same() {
        let machine = tempfile::tempdir().unwrap();
        let directory = format!("/{}", "x".repeat(90));
        let given = socket(&format!("cri={directory}/long.sock"));
        let host = machine.path().join("1/root").join(&directory[1..]);
        fs::create_dir_all(&host).unwrap();
        // It cannot be bound by its long path either.
        let listener = UnixListener::bind(machine.path().join("s")).unwrap();
        fs::rename(machine.path().join("s"), host.join("long.sock")).unwrap();
        let sockets = Sockets::of_host(machine.path(), vec![given.clone()]);
        let found = sockets.of_node(Kind::Cri).remove(0);
        assert!(host.join("long.sock").as_os_str().len() > MAX_PATH);
        assert_eq!(found.name, given.path);
        UnixStream::connect(&found.path).unwrap();
        listener.accept().unwrap();
        assert_eq!(sockets.of_node(Kind::Cri).first(), Some(&found), "it is the same one");
        let _another = UnixListener::bind(machine.path().join("t")).unwrap();
        fs::rename(machine.path().join("t"), host.join("long.sock")).unwrap();
        assert_ne!(sockets.of_node(Kind::Cri).first(), Some(&found), "a daemon that was started anew");
    }

    #[test]
    fn podmans_lists_come_after_its_services() {
        let machine = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = machine.path().join("1/root").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let lists = [
            "var/lib/containers/storage/overlay-containers/containers.json",
            "var/lib/containers/storage/overlay-containers/volatile-containers.json",
            "run/containers/storage/overlay-containers/volatile-containers.json",
            "var/lib/containers/storage/zfs-containers/volatile-containers.json",
        ]
        .map(place);
        let service = place("run/podman/podman.sock");
        let found = Sockets::of_host(machine.path(), Vec::new()).of_node(Kind::Podman);
        let own: Vec<_> = found.iter().filter(|socket| socket.path.starts_with(machine.path())).collect();
        let own: Vec<_> = own.iter().map(|socket| (socket.path.clone(), socket.is_list())).collect();
        let lists = lists.into_iter().map(|list| (list, true));
        assert_eq!(own, [(service, false)].into_iter().chain(lists).collect::<Vec<_>>());
    }

    #[test]
    fn links_of_the_host_are_followed_on_the_host() {
        let machine = tempfile::tempdir().unwrap();
        let host = machine.path().join("1/root");
        fs::create_dir_all(host.join("run/odd")).unwrap();
        fs::create_dir_all(host.join("var")).unwrap();
        std::os::unix::fs::symlink("/run", host.join("var/run")).unwrap();
        fs::write(host.join("run/odd/cri.sock"), "").unwrap();
        let sockets = Sockets::of_host(machine.path(), vec![socket("cri=/var/run/odd/cri.sock")]);
        let found = sockets.of_node(Kind::Cri);
        let found = found.first().map(|socket| (socket.name.clone(), socket.path.clone()));
        assert_eq!(found, Some(("/var/run/odd/cri.sock".into(), host.join("run/odd/cri.sock"))));
        assert_eq!(sockets.given_but_absent(Kind::Cri), None);
    }

    #[test]
    fn what_was_looked_for_is_named() {
        let sockets = Sockets::of_host(Path::new("/proc"), vec![socket("cri=/odd/c.sock")]);
        assert_eq!(sockets.looked_for(Kind::Cri), "/odd/c.sock, /run/crio/crio.sock, /run/cri-dockerd.sock");
    }
}
