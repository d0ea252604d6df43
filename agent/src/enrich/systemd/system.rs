//! Which services belong to the system rather than to what runs on it, as Coroot's agent draws the line.

use super::UnitProperties;

/// Beginnings of the names of units that every distribution has.
const PREFIXES: [&str; 14] = [
    "dbus",
    "getty",
    "irqbalance",
    "multipathd",
    "networkd-dispatcher",
    "packagekit",
    "qemu-guest-agent",
    "rpcbind",
    "serial-getty",
    "snapd",
    "system-getty",
    "system-serial",
    "systemd-",
    "unattended-upgrades",
];

/// Whether a service is the system's: by its name at once, by its type and trigger when systemd has told them. What
/// runs once, is started by a timer, or is reached over the bus only, belongs to the system.
pub fn is_system_service(container_id: &str, properties: Option<&UnitProperties>) -> bool {
    let unit = container_id.rsplit('/').next().unwrap_or_default();
    PREFIXES.iter().any(|prefix| unit.starts_with(prefix))
        || properties.is_some_and(|properties| {
            matches!(&*properties.kind, "oneshot" | "dbus") || properties.triggered_by.ends_with(".timer")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_between_system_and_services() {
        let properties = |kind: &str, triggered_by: &str| {
            Some(UnitProperties { kind: kind.into(), triggered_by: triggered_by.into() })
        };
        let cases = [
            ("/system.slice/systemd-journald.service", None, true),
            ("/system.slice/getty@tty1.service", None, true),
            ("/system.slice/nginx.service", None, false),
            ("/system.slice/nginx.service", properties("forking", ""), false),
            ("/system.slice/nginx.service", properties("notify", "nginx.socket"), false),
            ("/system.slice/backup.service", properties("oneshot", ""), true),
            ("/system.slice/upower.service", properties("dbus", ""), true),
            ("/system.slice/logrotate.service", properties("simple", "logrotate.timer"), true),
            ("/talos/kubelet", None, false),
        ];
        for (id, properties, expected) in cases {
            assert_eq!(is_system_service(id, properties.as_ref()), expected, "{id} {properties:?}");
        }
    }
}
