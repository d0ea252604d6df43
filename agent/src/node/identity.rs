//! Who the machine is.

use std::fs;
use std::path::Path;

/// Names of the machine, read once at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The operating system's id, or what comes closest to it.
    pub machine_id: String,
    /// The firmware's id, or the machine's where the firmware tells none.
    pub system_uuid: String,
    /// Name of the host.
    pub hostname: String,
    /// Release of the kernel.
    pub kernel: String,
}

impl NodeIdentity {
    /// Reads the names of the host whose procfs is at `proc_root`. Every name has a value: without a machine id the
    /// firmware's one serves, and without both the host's name.
    pub fn read(proc_root: &Path) -> Self {
        let host = super::host_root(proc_root);
        let hostname = hostname(proc_root, &host);
        let firmware = system_uuid(&host);
        let machine_id = ["etc/machine-id", "var/lib/dbus/machine-id"]
            .iter()
            .find_map(|path| line(&host.join(path)).filter(|id| id != "uninitialized"))
            .or_else(|| firmware.clone().map(|uuid| uuid.replace('-', "")))
            .unwrap_or_else(|| hostname.clone());
        Self {
            system_uuid: firmware.unwrap_or_else(|| machine_id.clone()),
            machine_id,
            hostname,
            kernel: line(&proc_root.join("sys/kernel/osrelease")).unwrap_or_else(|| "unknown".into()),
        }
    }
}

/// `sys/kernel/hostname` shows the reader's own namespace: it is the host's only when process 1 shares it.
fn hostname(proc_root: &Path, host: &Path) -> String {
    let namespace = |process: &str| fs::read_link(proc_root.join(process).join("ns/uts")).ok();
    let shared = namespace("self").zip(namespace("1")).is_none_or(|(own, host)| own == host);
    let own = || line(&proc_root.join("sys/kernel/hostname"));
    let name = if shared { own() } else { line(&host.join("etc/hostname")).or_else(own) };
    name.unwrap_or_else(|| "unknown".into())
}

/// PCs have it in the DMI table, Xen and s390 guests from the hypervisor, some ARM boards in the device tree.
fn system_uuid(root: &Path) -> Option<String> {
    ["sys/class/dmi/id/product_uuid", "sys/hypervisor/uuid", "sys/firmware/devicetree/base/system-id"]
        .iter()
        .find_map(|path| line(&root.join(path)))
        .map(|uuid| uuid.to_ascii_lowercase())
        .filter(|uuid| uuid.bytes().any(|b| b.is_ascii_alphanumeric() && b != b'0'))
}

/// The first line of a file if there is anything on it.
fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!line.is_empty()).then(|| line.to_owned())
}
