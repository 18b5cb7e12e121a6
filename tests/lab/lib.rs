//! The laboratory: a small network of namespaces with a gateway in its middle, and the means to try things in it.
//!
//! Everything lives in namespaces that a `Lab` makes and deletes again; no packet leaves them. All hosts share one Ethernet,
//! cut in two by the gateway, which has no address of its own (bridge mode):
//!
//! ```text
//!  noc   office   embargoed   stranger            server   candidate
//!    \      \        /          /                    \       /
//!     +------ switch "outside" --- [outside0 gateway inside0] --- switch "inside" ---+
//! ```
//!
//! Beside it, for tests and benches alike: large policy sets (`scenario`), and the comparison of compiled and reference on
//! them (`equality`), which need no network.
//!
//! Needs root, `ip`, `ethtool`, `ping` and `tcpdump`. What is missing is an error with a name, never a skipped test.

pub mod attempt;
pub mod binaries;
pub mod craft;
pub mod deadline;
pub mod documents;
pub mod equality;
pub mod failure;
pub mod floods;
pub mod frames;
pub mod gateway;
pub mod handover;
pub mod namespace;
pub mod process;
pub mod relay;
#[path = "../../benches/scenario/mod.rs"]
pub mod scenario;
pub mod servers;
pub mod stations;
pub mod streams;
#[path = "../../benches/support/mod.rs"]
pub mod support;
pub mod topology;
pub mod transfers;
