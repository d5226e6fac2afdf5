//! Test seams of backhaul. Unpublished: it serves the tests of the other crates.
//!
//! - [`SimDisk`] is a file system in memory that knows what is durable and what
//!   is not, and builds the images that a power cut could leave
//!   ([`SimDisk::crash_image`], [`SimDisk::on_flush`], [`CrashStyle`]).
//! - [`FaultyDisk`] wraps any disk and fails the calls it is told to ([`Faults`]).
//! - [`ManualClock`] stands still until a test moves it.
//! - [`Prng`] is the source of every choice: one seed, one run.

mod content;
mod crash_image;
mod crash_style;
pub mod errno;
mod faults;
mod faulty_disk;
mod file_node;
mod manual_clock;
mod name_op;
mod prng;
mod sim_disk;
mod sim_file;
mod sim_snapshot;
mod sim_state;

pub use crash_style::{CrashStyle, Order, Scramble, Tear};
pub use faults::{Call, Fault, Faults};
pub use faulty_disk::FaultyDisk;
pub use manual_clock::ManualClock;
pub use prng::Prng;
pub use sim_disk::SimDisk;
pub use sim_snapshot::{FlushPoint, SimSnapshot};
