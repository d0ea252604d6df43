//! Machines: what registers itself with systemd-machined, and the virtual machines of libvirt and Proxmox.

use super::Runtime;
use super::container::Before;

/// systemd's escape of a dash.
const DASH: &str = "\\x2d";

/// The machine of an element. Names keep systemd's escapes; [`name`] reads them.
///
/// libvirt writes `machine-qemu\x2d<number>\x2d<name>.scope`, on machines without systemd
/// `qemu-<number>-<name>.libvirt-qemu`; the number is another one at every start and is left out. Proxmox has
/// `qemu.slice/<number>.scope`. systemd-nspawn has `machine-<name>.scope`, or a unit `<template>@<name>.service`.
pub(super) fn machine<'a>(element: &'a str, before: &Before<'_>) -> Option<(Runtime, &'a str)> {
    if let Some(rest) = element.strip_suffix(".libvirt-qemu") {
        return Some((Runtime::Qemu, without_number(rest.strip_prefix("qemu-").unwrap_or(rest), "-")));
    }
    if let Some(rest) = element.strip_suffix(".libvirt-lxc") {
        return Some((Runtime::Lxc, without_number(rest.strip_prefix("lxc-").unwrap_or(rest), "-")));
    }
    let found = match before.last? {
        "qemu.slice" => (Runtime::Qemu, element.strip_suffix(".scope")?),
        "machine.slice" => of_machine_slice(element)?,
        _ => return None,
    };
    (!found.1.is_empty()).then_some(found)
}

fn of_machine_slice(element: &str) -> Option<(Runtime, &str)> {
    if let Some(unit) = element.strip_suffix(".service") {
        return Some((Runtime::Nspawn, unit.split_once('@')?.1));
    }
    let name = element.strip_prefix("machine-")?.strip_suffix(".scope")?;
    let after = |kind: &str| name.strip_prefix(kind)?.strip_prefix(DASH);
    if let Some(rest) = after("qemu") {
        return Some((Runtime::Qemu, without_number(rest, DASH)));
    }
    if let Some(rest) = after("lxc") {
        return Some((Runtime::Lxc, without_number(rest, DASH)));
    }
    Some((Runtime::Nspawn, name))
}

/// `<number><dash><name>` without the number.
fn without_number<'a>(text: &'a str, dash: &str) -> &'a str {
    match text.split_once(dash) {
        Some((number, name))
            if !name.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            name
        }
        _ => text,
    }
}
