//! The dates of HTTP headers.

use backhaul_store::Timestamp;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}
