//! What a DNS answer says.

use std::net::IpAddr;

/// A name that the table of names holds; valid until that table forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(pub u32);

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name that was asked for: lower case, without the dot at its end.
    pub name: Box<str>,
    /// Its addresses, of aliases too; none when the name has others than that.
    pub addresses: Vec<IpAddr>,
}
