//! What the intake bounds, and why there.

use std::time::Duration;

use crate::intake::MostBytes;

/// Bytes of bodies. As they come over the wire: thirty times the largest batch that a
/// backhaul sends; a client that sends more is better off with several requests, since a
/// broken link costs it the whole one. JSON of run records shrinks to a tenth and less, so
/// that the second is what a compressed request meets. In flight: four of the largest.
pub(crate) const MOST_BYTES: MostBytes =
    MostBytes { received: 32_000_000, decompressed: 64_000_000, in_flight: 256_000_000 };

/// Records in one request: more than two full windows of a device, and few enough
/// that one request holds no other up for long.
pub(crate) const MAX_RECORDS: usize = 10_000;

/// Bytes of a request's head. A window of 4,096 sequences without neighbours takes
/// up to 86 KB as `Backhaul-Sequences`; the rest of a head is below 2 KB.
pub(crate) const MAX_HEAD_BYTES: usize = 96 * 1024;

/// Header lines of a request: ten times what known clients and proxies send.
pub(crate) const MAX_HEADERS: usize = 100;

/// From the first byte that is awaited to the end of a request's head; so also how
/// long an idle connection is kept. Longer than the pause between two batches.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Without one more byte of the body for this long, the sender is gone. Also what each
/// body may take whatever its size.
pub(crate) const BODY_GRACE: Duration = Duration::from_secs(30);

/// What has to come of a body in each second after [`BODY_GRACE`], on the average, so
/// that one which comes drop by drop does not keep its connection from others. Half of
/// what a modem of 2,400 bit/s manages under TLS. A backhaul on a slower link, down to
/// half of this, runs into its own 60 seconds before, and then sends less at a time.
pub(crate) const BODY_BYTES_PER_SECOND: u64 = 100;

/// How long open requests may go on once the process was told to stop: service
/// managers kill after 10 seconds and more.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
