//! What the tests of several families share.

use std::path::Path;
use std::process::Command;

use sonde_tests::docker::Docker;
use sonde_tests::process::Process;
use sonde_tests::wait;

/// The program that makes exact traffic.
pub const TRAFFIC: &str = env!("CARGO_BIN_EXE_traffic");

/// The rest of a Python server that has made its `listener`: it answers as `traffic serve` does.
pub const SERVE_IN_PYTHON: &str = "
import threading
print('listening', flush=True)
def serve(connection):
    count = 0
    while data := connection.recv(65536):
        count += len(data)
    connection.sendall(count.to_bytes(8, 'big'))
    connection.close()
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
";

/// The dockerd of this run, with an image of [`TRAFFIC`].
#[track_caller]
pub fn docker() -> Docker {
    Docker::shared(Path::new(TRAFFIC))
}

/// A command that makes traffic on the host.
pub fn traffic(arguments: &[&str]) -> Command {
    let mut command = Command::new(TRAFFIC);
    command.args(arguments);
    command
}

/// Starts a server of [`TRAFFIC`] and waits until it listens; `command` is the program, wherever it is to run.
#[track_caller]
pub fn serve(mut command: Command, address: &str, directory: &Path) -> Process {
    command.args(["serve", address]);
    let server = Process::start("server", command, directory);
    wait::until("the server to listen", || {
        wait::ensure(server.output().contains("listening"), || server.output())
    });
    server
}
