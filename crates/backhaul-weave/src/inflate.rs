//! One gzip member, read as far as it goes.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

/// The largest window that deflate has: 32 KiB.
const WINDOW_BITS: u8 = 15;

/// Inflates the member at which `file` stands. Unlike flate2's own readers it gives all that
/// comes before damage, to the byte, before it says that there is some.
pub(crate) struct Member<R> {
    file: R,
    inflater: Decompress,
    is_at_end: bool,
}

impl<R: BufRead> Member<R> {
    pub(crate) fn new(file: R) -> Self {
        Self { file, inflater: Decompress::new_gzip(WINDOW_BITS), is_at_end: false }
    }
}

impl<R: BufRead> Read for Member<R> {
    /// # Errors
    /// `InvalidData` for what is no gzip or fails its checksum, `UnexpectedEof` for a member
    /// that is cut short.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.is_at_end && !out.is_empty() {
            let input = self.file.fill_buf()?;
            let is_all = input.is_empty();
            let (read_before, given_before) = (self.inflater.total_in(), self.inflater.total_out());
            let status = self.inflater.decompress(input, out, FlushDecompress::None);
            let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
            self.file.consume(moved(self.inflater.total_in(), read_before));
            self.is_at_end = matches!(status, Ok(Status::StreamEnd));
            let given = moved(self.inflater.total_out(), given_before);
            if given > 0 {
                // Damage is told by the next call: the inflater stays where it failed.
                return Ok(given);
            }
            match status {
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                Ok(_) if is_all && !self.is_at_end => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(_) => {}
            }
        }
        Ok(0)
    }
}
