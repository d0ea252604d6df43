//! DNS: program `dns_ingress`; metric `ip_to_fqdn`.
//!
//! [`parse`] reads what anybody on the network may have sent: every access is checked, names are followed backwards
//! only, and what is malformed is an error, never a panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sonde_abi::{DecodeError, dns};

use crate::model::{Answer, Asker};

/// Bytes of a message's header.
const HEADER: usize = 12;
/// Bytes of type and class behind a name.
const TYPE_AND_CLASS: usize = 4;
/// Longest name in text form (RFC 1035 §3.1: 255 bytes on the wire).
const NAME_MAX: usize = 253;
/// Aliases followed from the name that was asked for.
const ALIASES_MAX: usize = 16;

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends inside its header or its question.
    #[error("the message is cut off")]
    Short,
    /// It is not a response to one question about the internet.
    #[error("the message is no answer to one question")]
    NoAnswer,
    /// The name that was asked for has bytes that no host name has, or is none.
    #[error("the name is not one of a host")]
    Name,
}

/// Who asked, and the message of a record from the ring.
///
/// # Errors
///
/// As [`super::decode`].
pub fn decode(bytes: &[u8]) -> Result<(Asker, &[u8]), DecodeError> {
    let (to, message) = dns::message(bytes)?;
    Ok((Asker { cgroup_v2: to.cgroup_v2, netns: to.netns }, message))
}

/// Reads an answer. Of one that is cut off inside its records, those that are whole are read.
///
/// # Errors
///
/// See [`Malformed`].
pub fn parse(message: &[u8]) -> Result<Answer, Malformed> {
    const RESPONSE: u8 = 0x80;
    let header = message.get(..HEADER).ok_or(Malformed::Short)?;
    if header[2] & RESPONSE == 0 || [header[4], header[5]] != [0, 1] {
        return Err(Malformed::NoAnswer);
    }
    let (name, end) = name(message, HEADER).ok_or(Malformed::Short)?;
    if word(message, end + 2).ok_or(Malformed::Short)? != CLASS_IN {
        return Err(Malformed::NoAnswer);
    }
    let text = host_name(&name).ok_or(Malformed::Name)?;
    let records = u16::from_be_bytes([header[6], header[7]]);
    let records = Records::read(message, end + TYPE_AND_CLASS, records);
    Ok(Answer { addresses: records.addresses_of(name), name: text })
}

/// The records of an answer that matter here. A message of 1,232 bytes has at most 111 of them.
#[derive(Default)]
struct Records {
    aliases: Vec<(Vec<u8>, Vec<u8>)>,
    addresses: Vec<(Vec<u8>, IpAddr)>,
}

impl Records {
    fn read(message: &[u8], mut at: usize, count: u16) -> Self {
        let mut records = Self::default();
        for _ in 0..count {
            let Some(end) = records.read_one(message, at) else { break };
            at = end;
        }
        records
    }

    /// Reads the record at an offset; returns where the next one begins.
    fn read_one(&mut self, message: &[u8], at: usize) -> Option<usize> {
        const TTL: usize = 4;
        let (owner, at) = name(message, at)?;
        let (kind, class) = (word(message, at)?, word(message, at + 2)?);
        let len = usize::from(word(message, at + TYPE_AND_CLASS + TTL)?);
        let begin = at + TYPE_AND_CLASS + TTL + 2;
        let data = message.get(begin..begin + len)?;
        match (class, kind) {
            (CLASS_IN, TYPE_A) => {
                let bytes: [u8; 4] = data.try_into().ok()?;
                self.addresses.push((owner, Ipv4Addr::from(bytes).into()));
            }
            (CLASS_IN, TYPE_AAAA) => {
                let bytes: [u8; 16] = data.try_into().ok()?;
                self.addresses.push((owner, Ipv6Addr::from(bytes).to_canonical()));
            }
            (CLASS_IN, TYPE_CNAME) => self.aliases.push((owner, name(message, begin)?.0)),
            _ => {}
        }
        Some(begin + len)
    }

    /// Addresses of a name and of the aliases that it leads to, in whatever order the records came.
    fn addresses_of(&self, mut name: Vec<u8>) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for _ in 0..=ALIASES_MAX {
            let own = self.addresses.iter().filter(|(owner, _)| *owner == name).map(|(_, ip)| *ip);
            found.extend(own);
            match self.aliases.iter().find(|(owner, _)| *owner == name) {
                Some((_, target)) => name.clone_from(target),
                None => break,
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The name at an offset, labels in lower case joined by dots, and where it ends. A pointer (RFC 1035 §4.1.4) leads
/// further back than where the part before it began, so that no name goes in circles.
fn name(message: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    const POINTER: u8 = 0xc0;
    let (mut name, mut at, mut begin, mut end) = (Vec::new(), at, at, None);
    loop {
        let len = *message.get(at)?;
        match len & POINTER {
            0 if len == 0 => return Some((name, end.unwrap_or(at + 1))),
            0 => {
                let label = message.get(at + 1..at + 1 + usize::from(len))?;
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend(label.iter().map(u8::to_ascii_lowercase));
                if name.len() > NAME_MAX {
                    return None;
                }
                at += 1 + label.len();
            }
            POINTER => {
                let target = usize::from(word(message, at)? & 0x3fff);
                end = end.or(Some(at + 2));
                if target >= begin {
                    return None;
                }
                (at, begin) = (target, target);
            }
            _ => return None,
        }
    }
}

/// A name as text, when it has only what names of hosts and services have.
fn host_name(name: &[u8]) -> Option<Box<str>> {
    let is_known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let text = std::str::from_utf8(name).ok()?;
    (!name.is_empty() && name.iter().all(is_known)).then(|| text.into())
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
#[path = "dns/tests.rs"]
mod tests;
