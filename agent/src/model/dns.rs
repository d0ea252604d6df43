//! What a DNS answer says.

use std::net::IpAddr;

/// A name that the table of names holds; valid until that table forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(pub u32);

/// Who asked for a name, as far as its socket tells: a container that has a cgroup or a network of its own is told from
/// others. One that has several is several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asker {
    /// Cgroup on the unified hierarchy.
    pub cgroup_v2: u64,
    /// Network namespace; 0 when unknown.
    pub netns: u32,
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name that was asked for: lower case, without the dot at its end.
    pub name: Box<str>,
    /// Its addresses, of aliases too; none when the name has others than that.
    pub addresses: Vec<IpAddr>,
}
