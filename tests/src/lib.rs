//! The harness of the end-to-end tests: real servers, real containers, real kernels.
//!
//! Everything a test starts is a guard: it ends with its value, also when the test panics, and with the test
//! process, also when that is killed ([`process`]). A server listens on a free port and keeps its data in a
//! directory of its own. Conditions are waited for with a deadline ([`wait`]); nothing sleeps for an effect.
//! What the machine lacks is a skip with a reason ([`skip`]), never a silent pass.
//!
//! | module | holds |
//! |---|---|
//! | [`made_up`] | a machine of files only, with what this one lacks |
//! | [`http_server`] | stand-ins that speak HTTP |
//! | [`product`] | the product's two binaries |
//! | [`stand_in`] | a machine of the test's own, as the agent sees it |
//! | [`docker`], [`containerd`], [`cri`], [`podman`], [`lxc`] | containers of every runtime, of an image made by [`oci`] |
//! | [`netns`], [`cgroup`] | network namespaces, services |
//! | [`cgroup_files`] | what the kernel says of a process' groups |
//! | [`tsdb`], [`promql`] | Prometheus and VictoriaMetrics, and questions to them |
//! | [`http`], [`remote_write`], [`exposition`] | the wire, written here again so that the product is not its own judge |
//! | [`traffic`] | connections and bytes in exact numbers, in a process of their own |
//! | [`datagrams`], [`dns`] | datagrams in exact numbers; a small name server |
//! | [`strace`] | the order of system calls |
//! | [`guest`] | what PID 1 of the kernel matrix does |

#![forbid(unsafe_code)]

pub mod cgroup;
pub mod cgroup_files;
pub mod containerd;
pub mod cri;
pub mod datagrams;
pub mod dns;
pub mod docker;
pub mod exposition;
pub mod guest;
pub mod http;
pub mod http_server;
pub mod lxc;
pub mod made_up;
pub mod nat;
pub mod netns;
pub mod oci;
pub mod podman;
pub mod process;
pub mod product;
pub mod promql;
pub mod remote_write;
pub mod rewrite;
pub mod router;
pub mod skip;
pub mod stand_in;
pub mod strace;
pub mod traffic;
pub mod tsdb;
pub mod wait;
