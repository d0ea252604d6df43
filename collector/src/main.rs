//! The collector as a server.
fn main() {}
