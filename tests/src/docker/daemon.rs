//! The dockerd behind the containers, and the image they are made of.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{LOCK, NETWORK, SOCKET, docker};
use crate::process::{Process, run};
use crate::{oci, wait};

const BRIDGE: &str = "sonde-tests0";
const SUBNET: &str = "10.213.77.0/24";

/// A dockerd in use, with the tests' image and network.
#[derive(Debug)]
pub(super) struct Daemon {
    image: String,
    _supervisor: Supervisor,
    _directory: TempDir,
}

impl Daemon {
    /// Uses the dockerd that runs, or starts one.
    #[track_caller]
    pub(super) fn start(traffic: &Path) -> Self {
        let directory =
            tempfile::Builder::new().prefix("sonde-docker").tempdir().expect("create a directory");
        let image = format!("sonde-tests:{}", std::process::id());
        let supervisor = Supervisor::start(directory.path(), &image);
        import_image(&image, traffic, directory.path());
        let name = format!("com.docker.network.bridge.name={BRIDGE}");
        run(docker().args(["network", "create", "--subnet", SUBNET, "--opt", &name, NETWORK]));
        Self { image, _supervisor: supervisor, _directory: directory }
    }

    /// The tests' image.
    pub(super) fn image(&self) -> &str {
        &self.image
    }
}

/// What the shell in front of dockerd does: at the end of dockerd, or at SIGTERM, which also comes with the end of the
/// test process, it brings everything back. It holds the lock of the machine until then, so that the next run
/// never meets a dockerd that is going away. What a dockerd has said that ended by itself stays until the test has shown it.
const SUPERVISE: &str = r#"
exec 9>"$LOCK"
flock 9 || exit 1
trap 'asked=1; kill "$daemon"' TERM INT
if docker version >/dev/null 2>&1; then
    docker network rm "$NETWORK" >/dev/null 2>&1
    sleep infinity 9>&- & daemon=$!
    echo "dockerd was there"
    wait "$daemon"
    docker network rm "$NETWORK"
    docker rmi --force "$IMAGE"
    rm -rf "${ROOT%/root}"
    exit
fi
dockerd --data-root "$ROOT/data" --exec-root "$ROOT/exec" --pidfile "$ROOT/pid" --host "unix://$SOCKET" \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=false 9>&- &
daemon=$!
wait "$daemon"; wait "$daemon"
ip link delete "$BRIDGE" 2>/dev/null
umount --lazy "$ROOT"/exec/netns/* "$ROOT"/data/overlay2/*/merged "$ROOT/data" 2>/dev/null
rm -rf "$ROOT" "$SOCKET"
[ -z "$asked" ] || rm -rf "${ROOT%/root}"
"#;

/// The shell in front of dockerd. It is asked to end, never killed: it has to clean up.
#[derive(Debug)]
struct Supervisor(Process);

impl Supervisor {
    /// Waits for its turn on the machine, then for dockerd to answer.
    #[track_caller]
    fn start(directory: &Path, image: &str) -> Self {
        let root = directory.join("root");
        fs::create_dir(&root).expect("create dockerd's directory");
        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISE]).env("ROOT", &root).env("LOCK", LOCK).env("IMAGE", image);
        command.env("SOCKET", SOCKET).env("BRIDGE", BRIDGE).env("NETWORK", NETWORK);
        command.env_remove("DOCKER_CONTEXT").env("DOCKER_HOST", format!("unix://{SOCKET}"));
        let process = Process::start_with("dockerd", command, directory, "TERM", Stdio::null());
        let mut supervisor = Self(process);
        wait::until_within(10 * wait::DEADLINE, "dockerd to answer", || {
            supervisor.0.assert_running();
            let said = supervisor.0.output();
            // dockerd's own words: what answers on the socket may still be another one that is about to end.
            wait::ensure(said.contains("API listen on") || said.contains("dockerd was there"), || said)
        });
        supervisor
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // A dockerd that does not end in time is no reason to abort a test that is failing already.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.terminate()));
    }
}

/// The image of the tests, with `traffic` as its program.
#[track_caller]
fn import_image(image: &str, traffic: &Path, directory: &Path) {
    let archive = directory.join("image.tar");
    oci::pack(&oci::root(traffic, directory), &archive, &["."]);
    let entry = r#"ENTRYPOINT ["/bin/traffic"]"#;
    run(docker().args(["import", "--change", entry]).arg(&archive).arg(image));
}
