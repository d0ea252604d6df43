//! Lines of `/proc/<pid>/mountinfo`, as proc_pid_mountinfo(5) describes them.
//!
//! Fields are borrowed as they stand, escapes included: who shows one passes it through [`unescape`] first.

use std::borrow::Cow;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::files;

/// One mount, in the order of its fields. The parent and the optional fields are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mount<'a> {
    /// Number of the mount.
    pub id: u64,
    /// `major:minor` that `stat` shows for files of the file system.
    pub device: &'a str,
    /// What of the file system is mounted.
    pub root: &'a str,
    /// Where, as the owner of the list sees it.
    pub mount_point: &'a str,
    /// Options of the mount, separated by commas.
    pub options: &'a str,
    /// Type of the file system.
    pub fstype: &'a str,
    /// What is mounted: a device, a server, or any word.
    pub source: &'a str,
    /// Options of the file system, separated by commas.
    pub super_options: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads one line; `None` when it is cut.
    pub fn parse(line: &'a str) -> Option<Self> {
        // Any number of optional fields stands before the lone hyphen.
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ');
        let id = mount.next()?.parse().ok()?;
        let _parent = mount.next()?;
        let mut filesystem = filesystem.split(' ');
        Some(Self {
            id,
            device: mount.next()?,
            root: mount.next()?,
            mount_point: mount.next()?,
            options: mount.next()?,
            fstype: filesystem.next()?,
            source: filesystem.next()?,
            super_options: filesystem.next()?,
        })
    }
}

/// Bytes read of one list: 4,000 mounts of ordinary length. A container may make 100,000 (`fs.mount-max`) with paths of
/// 4 KiB each.
const MAX_BYTES: u64 = 1024 * 1024;

/// The list of a process, as far as it fits; and whether that is all of it.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> io::Result<(String, bool)> {
    let mut list = String::new();
    let is_whole = files::lines(path, MAX_BYTES, |line| {
        list.push_str(line);
        list.push('\n');
        ControlFlow::Continue(())
    })?;
    Ok((list, is_whole))
}

/// The mounts of a list, in its order, without lines that are cut.
pub(crate) fn mounts(list: &str) -> impl Iterator<Item = Mount<'_>> {
    list.lines().filter_map(Mount::parse)
}

/// Whether an option is among those of a field.
pub(crate) fn has_option(options: &str, name: &str) -> bool {
    options.split(',').any(|option| option == name)
}

/// Undoes the kernel's escapes: spaces, tabs, line feeds, backslashes and number signs are three octal digits
/// (`mangle` in fs/proc_namespace.c). Anything else behind a backslash is left as it stands.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match escaped(part) {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&part[3..]);
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out.into()
}

/// The ASCII character whose three octal digits a text begins with.
fn escaped(text: &str) -> Option<u8> {
    // A sign is a number's beginning to the parser, but no escape's.
    let digits = text.get(..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    u8::from_str_radix(digits, 8).ok().filter(u8::is_ascii)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_told_apart() {
        let mount = Mount {
            id: 36,
            device: "98:0",
            root: "/mnt1",
            mount_point: "/mnt\\0402",
            options: "rw,noatime",
            fstype: "ext3",
            source: "/dev/root",
            super_options: "rw,errors=continue",
        };
        for optional in ["", " master:1", " shared:7 master:1", " unbindable"] {
            let line = format!(
                "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime{optional} - ext3 /dev/root rw,errors=continue"
            );
            assert_eq!(Mount::parse(&line), Some(mount), "{line}");
        }
        let nameless =
            Mount::parse("36 35 0:9 / /x rw - tmpfs  rw").map(|mount| (mount.source, mount.super_options));
        assert_eq!(nameless, Some(("", "rw")), "a source may be empty");
    }

    #[test]
    fn a_line_that_is_cut_is_none() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw";
        assert!(Mount::parse(line).is_some());
        for end in line.match_indices(' ').map(|(end, _)| end) {
            assert_eq!(Mount::parse(&line[..end]), None, "{}", &line[..end]);
        }
        for text in ["", "x 35 98:0 / /x rw - ext3 /dev/root rw", "36 35 98:0 / /x rw ext3 /dev/root rw"] {
            assert_eq!(Mount::parse(text), None, "{text}");
        }
        let list = format!("{line}\n36 35\n{line}\n");
        assert_eq!(mounts(&list).count(), 2);
    }

    #[test]
    fn an_option_is_a_whole_word() {
        assert!(has_option("nosuid,ro", "ro") && has_option("ro", "ro"));
        assert!(!has_option("rw,errors=remount-ro,root", "ro") && !has_option("", "ro"));
    }

    #[test]
    fn escapes_are_undone() {
        for (text, plain) in [
            ("plain", "plain"),
            ("a\\040b", "a b"),
            ("\\011\\012\\043", "\t\n#"),
            ("\\134", "\\"),
            ("\\134040", "\\040"),
            ("x\\", "x\\"),
            ("\\0", "\\0"),
            ("\\999", "\\999"),
            ("\\+12", "\\+12"),
            ("\\351", "\\351"),
            ("\\07ä", "\\07ä"),
        ] {
            assert_eq!(unescape(text), plain, "{text}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_harmless(text in "(?s).{0,400}", lines in "[0-9 /:\\\\a-z,\n-]{0,200}") {
            unescape(&text);
            prop_assert!(mounts(&text).chain(mounts(&lines)).count() <= text.len() + lines.len());
        }

        #[test]
        fn what_was_escaped_comes_back(text in "[ -~\t\n]{0,40}") {
            let escape = |c: char| match c {
                ' ' | '\t' | '\n' | '\\' | '#' => format!("\\{:03o}", u32::from(c)),
                other => other.to_string(),
            };
            let escaped: String = text.chars().map(escape).collect();
            prop_assert_eq!(unescape(&escaped), text);
        }
    }
}
