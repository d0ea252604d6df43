//! The format of a tracepoint's record, for the program that must do without BTF.

use std::{fs, path::Path};

/// Where tracefs may be mounted; debugfs carries it on old systems.
const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Fields of `sock:inet_sock_set_state` and the globals that take their offsets.
const FIELDS: [(&str, &str); 11] = [
    ("skaddr", "TP_SKADDR"),
    ("oldstate", "TP_OLDSTATE"),
    ("newstate", "TP_NEWSTATE"),
    ("sport", "TP_SPORT"),
    ("dport", "TP_DPORT"),
    ("family", "TP_FAMILY"),
    ("protocol", "TP_PROTOCOL"),
    ("saddr", "TP_SADDR"),
    ("daddr", "TP_DADDR"),
    ("saddr_v6", "TP_SADDR_V6"),
    ("daddr_v6", "TP_DADDR_V6"),
];

/// Offsets for the globals `TP_*`.
///
/// # Errors
///
/// A sentence that says what is missing.
pub fn inet_sock_set_state() -> Result<Vec<(&'static str, u32)>, String> {
    let file = |mount: &&str| Path::new(mount).join("events/sock/inet_sock_set_state/format");
    let format = MOUNTS
        .iter()
        .find_map(|mount| fs::read_to_string(file(mount)).ok())
        .ok_or_else(|| format!("tracefs is not mounted or not readable at {}", MOUNTS.join(" or ")))?;
    parse(&format)
}

fn parse(format: &str) -> Result<Vec<(&'static str, u32)>, String> {
    let offset = |name: &str| format.lines().find_map(|line| field_offset(line, name));
    FIELDS
        .iter()
        .map(|(field, global)| {
            let offset =
                offset(field).ok_or_else(|| format!("sock:inet_sock_set_state has no field `{field}`"))?;
            Ok((*global, offset))
        })
        .collect()
}

/// The offset in a line like `field:__u8 saddr[4]; offset:32; size:4; signed:0;` if it declares `name`.
fn field_offset(line: &str, name: &str) -> Option<u32> {
    let mut parts = line.trim().split(';');
    let declaration = parts.next()?.strip_prefix("field:")?;
    let declared = declaration.rsplit([' ', '*']).next()?.split('[').next()?;
    let offset = parts.find_map(|part| part.trim().strip_prefix("offset:"))?;
    (declared == name).then(|| offset.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: inet_sock_set_state\nID: 1\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:int oldstate;\toffset:16;\tsize:4;\tsigned:1;\n\
        \tfield:int newstate;\toffset:20;\tsize:4;\tsigned:1;\n\
        \tfield:__u16 sport;\toffset:24;\tsize:2;\tsigned:0;\n\
        \tfield:__u16 dport;\toffset:26;\tsize:2;\tsigned:0;\n\
        \tfield:__u16 family;\toffset:28;\tsize:2;\tsigned:0;\n\
        \tfield:__u16 protocol;\toffset:30;\tsize:2;\tsigned:0;\n\
        \tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;\n\
        \tfield:__u8 daddr[4];\toffset:36;\tsize:4;\tsigned:0;\n\
        \tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;\n\
        \tfield:__u8 daddr_v6[16];\toffset:56;\tsize:16;\tsigned:0;\n";

    #[test]
    fn offsets_come_from_the_running_kernel() {
        let offsets = parse(FORMAT).unwrap();
        assert_eq!(offsets.len(), FIELDS.len());
        assert!(offsets.contains(&("TP_SKADDR", 8)) && offsets.contains(&("TP_DADDR_V6", 56)));
        let moved = FORMAT.replace("offset:36", "offset:44");
        assert!(parse(&moved).unwrap().contains(&("TP_DADDR", 44)));
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = parse(&FORMAT.replace("dport", "rport")).unwrap_err();
        assert_eq!(error, "sock:inet_sock_set_state has no field `dport`");
    }
}
