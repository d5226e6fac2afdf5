//! Test seams of backhaul. Unpublished: it serves the tests of the other crates.
//!
//! - [`SimDisk`] is a file system in memory that knows what is durable and what
//!   is not, and builds the images that a power cut could leave
//!   ([`SimDisk::crash_image`], [`SimDisk::on_flush`], [`CrashStyle`]).
//! - [`FaultyDisk`] wraps any disk and fails the calls it is told to ([`Faults`]).
//! - [`FaultLink`] is a TCP proxy to be switched while it is in use: refused, half-open,
//!   reset or cut at a place ([`LinkFault`]), slow ([`Pace`]), flapping.
//! - [`Cable`] is a real link between two network namespaces, to be unplugged.
//! - [`FaultServer`] is a web server that answers by a script and keeps what it was asked.
//! - [`Oracle`] holds what was acknowledged against what arrived.
//! - [`said_by_a_fork`] is what a child of fork(2) says of what its parent has open.
//! - [`ManualClock`] stands still until a test moves it.
//! - [`WeaveServer`] is a real Weave trace server; [`weave_agent`] logs to one with the real
//!   client, and [`weave_holdings`] says what came of it.
//! - [`FaultServer::llm`] is a server of models that goes wrong by number ([`LlmScenario`]),
//!   and [`BlackHole`] an address that does not answer at all.
//! - [`LlamaServer`] is a real local server of a [`TinyModel`]; [`openai_probe`] and its like
//!   ask one with real clients.
//! - [`Prng`] is the source of every choice: one seed, one run.

mod black_hole;
mod cable;
mod content;
mod crash_image;
mod crash_style;
pub mod errno;
mod fault_link;
mod fault_server;
mod faults;
mod faulty_disk;
mod file_node;
mod fork;
mod http_head;
mod llm;
mod long_wire;
mod manual_clock;
mod name_op;
mod oracle;
mod prng;
mod programs;
mod sim_disk;
mod sim_file;
mod sim_snapshot;
mod sim_state;
mod weave_server;

pub use black_hole::BlackHole;
pub use cable::Cable;
pub use crash_style::{CrashStyle, Order, Scramble, Tear};
pub use fault_link::{Ending, FaultLink, LinkCounts, LinkFault, LinkState, LinkUp, Pace, Point};
#[cfg(feature = "tls")]
pub use fault_server::Certificate;
pub use fault_server::{Answer, FaultServer, Intake, Request, hub_answer, hub_items};
pub use faults::{Call, Fault, Faults};
pub use faulty_disk::FaultyDisk;
pub use fork::said_by_a_fork;
pub use llm::{
    CLOUD_REQUEST_ID, CLOUD_TEXT, LOCAL_TEXT, LlamaOptions, LlamaServer, LlmScenario, LlmScript,
    TinyModel, anthropic_probe, openai_node_probe, openai_probe,
};
pub use manual_clock::ManualClock;
pub use oracle::{Difference, Differences, Ends, Failed, Item, Oracle};
pub use prng::Prng;
pub use sim_disk::SimDisk;
pub use sim_snapshot::{FlushPoint, SimSnapshot};
pub use weave_server::{
    WeaveServer, weave_agent, weave_holdings, weave_plain_agent, weave_steady_agent,
};

/// A host name that no DNS server knows, by RFC 6761. Where the machine's DNS server does
/// not answer at all, it takes seconds to learn so.
pub const UNKNOWN_HOST: &str = "hub.backhaul.invalid";
