use std::fs;

use super::*;

/// Writes BTF the way a compiler would, for structures small enough to read.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    /// A structure: members are name, type id, bit offset (with the size of a bit field in the top byte).
    fn structure(&mut self, name: &str, bit_fields: bool, members: &[(&str, u32, u32)]) {
        let name = self.name(name);
        let info = u32::from(bit_fields) << 31 | kind::STRUCT << 24 | members.len() as u32;
        self.words(&[name, info, 64]);
        for (member, ty, bits) in members {
            let member = self.name(member);
            self.words(&[member, *ty, *bits]);
        }
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        blob.extend(MAGIC.to_ne_bytes());
        blob.extend([1, 0]);
        let lengths = [24, 0, self.types.len() as u32, self.types.len() as u32, self.strings.len() as u32];
        blob.extend(lengths.iter().flat_map(|word: &u32| word.to_ne_bytes()));
        blob.extend(&self.types);
        blob.extend(&self.strings);
        blob
    }
}

fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    let name = writer.name("int");
    writer.words(&[name, kind::INT << 24, 4, 32]);
    writer.structure("inner", false, &[("x", 1, 0), ("y", 1, 32)]);
    writer.structure("", false, &[("hidden", 1, 64)]);
    let alias = writer.name("inner_t");
    writer.words(&[alias, kind::TYPEDEF << 24, 2]);
    writer.structure(
        "outer",
        true,
        &[("first", 4, 0), ("", 3, 128), ("bit", 1, 3 << 24 | 260), ("last", 1, 320)],
    );
    let (name, red, green) = (writer.name("colour"), writer.name("red"), writer.name("green"));
    writer.words(&[name, kind::ENUM << 24 | 2, 4, red, 7, green, 9]);
    writer.blob()
}

#[test]
fn members_are_found_through_typedefs_and_anonymous_structures() {
    let blob = sample();
    let btf = Btf::parse(&blob).unwrap();
    assert_eq!(btf.offset("outer", "first.y"), Ok(4));
    assert_eq!(btf.offset("outer", "hidden"), Ok(24));
    assert_eq!(btf.offset("outer", "last"), Ok(40));
    assert_eq!(btf.bit("outer", "bit"), Ok(260));
    assert_eq!(btf.enumerator("colour", "green"), Ok(9));
}

#[test]
fn what_is_not_there_is_named() {
    let blob = sample();
    let btf = Btf::parse(&blob).unwrap();
    let absent = btf.offset("outer", "gone").unwrap_err();
    assert_eq!(absent.to_string(), "the kernel has no `gone` in `outer`");
    assert!(matches!(btf.offset("outer", "bit"), Err(BtfError::BitField { .. })));
    assert!(matches!(btf.bit("outer", "gone"), Err(BtfError::Absent { .. })));
    assert!(matches!(btf.offset("nothing", "x"), Err(BtfError::Absent { .. })));
    assert!(matches!(btf.enumerator("colour", "blue"), Err(BtfError::Absent { .. })));
}

#[test]
fn every_cut_and_every_flipped_byte_is_an_error_or_an_answer_but_never_a_panic() {
    let blob = sample();
    for end in 0..blob.len() {
        let _ = Btf::parse(&blob[..end]).map(|btf| btf.offset("outer", "last"));
    }
    for at in 0..blob.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = blob.clone();
            damaged[at] ^= flip;
            let _ = Btf::parse(&damaged)
                .map(|btf| (btf.offset("outer", "first.y"), btf.enumerator("colour", "red")));
        }
    }
    assert!(matches!(Btf::parse(b"hello, world"), Err(BtfError::Magic { .. })));
}

#[test]
fn the_running_kernel_has_every_required_offset() {
    let Ok(blob) = fs::read("/sys/kernel/btf/vmlinux") else {
        return crate::skip::record("no BTF of the running kernel");
    };
    let offsets = crate::kernel::offsets::resolve(&Btf::parse(&blob).unwrap());
    assert_eq!(offsets.missing, []);
    let value = |name| offsets.values.iter().find(|(global, _)| *global == name).map(|(_, value)| *value);
    // skc_dport and skc_num are neighbours in a union since Linux 2.6: a check that does not depend on the version.
    assert_eq!(value("SOCK_NUM").unwrap(), value("SOCK_DPORT").unwrap() + 2);
}

#[test]
fn a_sparse_copy_has_the_same_ids() {
    let mut writer = Writer::new();
    writer.structure("a", false, &[]);
    let name = writer.name("btf_trace_knock");
    writer.words(&[name, kind::TYPEDEF << 24, 1]);
    writer.structure("b", false, &[]);
    let name = writer.name("bpf_iter_door");
    writer.words(&[name, kind::FUNC << 24, 1]);
    let blob = writer.blob();
    let btf = Btf::parse(&blob).unwrap();
    let hooks = [Hook::Iterator("door"), Hook::Tracepoint("knock"), Hook::Tracepoint("absent")];
    let copy = sparse(&btf, &hooks).unwrap();
    let copy = Btf::parse(&copy).unwrap();
    assert_eq!(copy.find(kind::TYPEDEF, "btf_trace_knock"), Ok(Some(2)));
    assert_eq!(copy.find(kind::FUNC, "bpf_iter_door"), Ok(Some(4)));
    assert_eq!(copy.find(kind::TYPEDEF, "btf_trace_absent"), Ok(None));
}

#[test]
fn arguments_of_a_tracepoint_are_told_by_type() {
    let mut writer = Writer::new();
    let name = writer.name("int");
    writer.words(&[name, kind::INT << 24, 4, 32]);
    writer.structure("task_struct", false, &[]);
    writer.words(&[0, kind::PTR << 24, 2]);
    writer.words(&[0, kind::PTR << 24, 0]);
    // void (*)(void *, struct task_struct *, int)
    writer.words(&[0, kind::FUNC_PROTO << 24 | 3, 0, 0, 4, 0, 3, 0, 1]);
    writer.words(&[0, kind::PTR << 24, 5]);
    let name = writer.name("btf_trace_knock");
    writer.words(&[name, kind::TYPEDEF << 24, 6]);
    let blob = writer.blob();
    let btf = Btf::parse(&blob).unwrap();
    let argument = |index| btf.argument("knock", index).map(Option::unwrap_or_default);
    assert_eq!(argument(0).as_deref(), Ok("task_struct"));
    assert_eq!(argument(1).as_deref(), Ok("int"));
    assert_eq!(argument(2).as_deref(), Ok(""), "it has only two");
    assert!(matches!(btf.argument("absent", 0), Err(BtfError::Absent { .. })));
}

#[test]
fn enumerators_come_with_their_values() {
    let blob = sample();
    let btf = Btf::parse(&blob).unwrap();
    assert_eq!(btf.enumerators("colour"), Ok(vec![("red".to_owned(), 7), ("green".to_owned(), 9)]));
    assert_eq!(btf.enumerators("shape"), Ok(Vec::new()));
}
