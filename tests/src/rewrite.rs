//! A stand-in for a socket load balancer: programs at `cgroup/connect4` and `connect6` that replace one address by
//! another before the socket connects, as Cilium does for services.
//!
//! The programs are a dozen instructions each, written here into a minimal object file, for there is no assembler on a
//! bare machine.

mod elf;

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::programs::{CgroupAttachMode, CgroupSockAddr};

/// Offsets in `struct bpf_sock_addr`, include/uapi/linux/bpf.h.
const USER_IP4: i16 = 4;
const USER_IP6: i16 = 8;
const USER_PORT: i16 = 24;

/// A rewriting in force; ends when dropped.
#[derive(Debug)]
pub struct Rewrite {
    /// Dropping it detaches the program.
    _attached: Ebpf,
}

impl Rewrite {
    /// Makes every process in a v2 control group connect to `backend` when it asks for `service`.
    ///
    /// # Errors
    /// When the kernel refuses, or the addresses are of different families.
    pub fn attach(cgroup: &Path, service: SocketAddr, backend: SocketAddr) -> Result<Self> {
        ensure!(service.is_ipv4() == backend.is_ipv4(), "{service} and {backend} are of different families");
        let section = if service.is_ipv4() { "cgroup/connect4" } else { "cgroup/connect6" };
        let object = elf::object(section, "rewrite", &program(&words(service), &words(backend)));
        let mut ebpf = Ebpf::load(&object).context("load the object")?;
        let program = ebpf.program_mut("rewrite").context("the object has no program")?;
        let program: &mut CgroupSockAddr = program.try_into()?;
        program.load().context("load the program")?;
        let group = File::open(cgroup).with_context(|| format!("open {}", cgroup.display()))?;
        // A link: several may be there, whatever the mode is called.
        program.attach(&group, CgroupAttachMode::Single).context("attach the program")?;
        Ok(Self { _attached: ebpf })
    }
}

/// Where an address stands in the context, and what stands there: in network order, as it is in memory.
fn words(address: SocketAddr) -> Vec<(i16, u32)> {
    let mut words = match address.ip() {
        IpAddr::V4(ip) => vec![(USER_IP4, u32::from_ne_bytes(ip.octets()))],
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            let (words, _) = octets.as_chunks::<4>();
            let offsets = (USER_IP6..).step_by(4);
            offsets.zip(words.iter().map(|word| u32::from_ne_bytes(*word))).collect()
        }
    };
    words.push((USER_PORT, u32::from(address.port().to_be())));
    words
}

/// `if all words of the service match, store those of the backend; return 1`, which lets the call go on.
fn program(service: &[(i16, u32)], backend: &[(i16, u32)]) -> Vec<u8> {
    const LOAD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
    const STORE: u8 = 0x63; // BPF_STX | BPF_MEM | BPF_W
    const MOVE: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
    const JUMP_UNEQUAL: u8 = 0x5d; // BPF_JMP | BPF_JNE | BPF_X
    const EXIT: u8 = 0x95;
    let [result, context, found, other] = [0, 1, 2, 3];
    let mut left = i16::try_from(3 * service.len() + 2 * backend.len()).expect("a few instructions");
    let mut code = Vec::new();
    for (offset, word) in service {
        left -= 3;
        code.push(instruction(LOAD, found, context, *offset, 0));
        code.push(instruction(MOVE, other, 0, 0, *word));
        code.push(instruction(JUMP_UNEQUAL, found, other, left, 0));
    }
    for (offset, word) in backend {
        code.push(instruction(MOVE, found, 0, 0, *word));
        code.push(instruction(STORE, context, found, *offset, 0));
    }
    code.push(instruction(MOVE, result, 0, 0, 1));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    code.concat()
}

/// `struct bpf_insn`, as a little-endian machine has it.
fn instruction(code: u8, target: u8, source: u8, offset: i16, value: u32) -> [u8; 8] {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = value.to_le_bytes();
    [code, source << 4 | target, low, high, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_leads_to_the_end() {
        let words = words("10.0.0.1:443".parse().unwrap());
        let code = program(&words, &words);
        let instructions: Vec<&[u8]> = code.chunks(8).collect();
        assert_eq!(instructions.len(), 3 * 2 + 2 * 2 + 2);
        for (index, jump) in instructions.iter().enumerate().filter(|(_, code)| code[0] == 0x5d) {
            assert_eq!(index + 1 + usize::from(jump[2]), instructions.len() - 2, "jump {index}");
        }
    }
}
