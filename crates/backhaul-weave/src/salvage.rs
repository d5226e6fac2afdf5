//! Lines of gzip files that may be damaged: cut short, written by several at once, followed
//! by what a later process appended.
//!
//! The prototype of Weave's offline mode wrote such files: it flushed without a checksum per
//! record, took no lock, and appended a new gzip member behind whatever was there.

use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom};

use crate::inflate::Member;

/// How a gzip member begins: its magic number, and deflate.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Longer lines are no records: 256 MiB, eight times what a Weave server takes in one request.
const LONGEST_LINE: u64 = 256 << 20;

/// What was read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// Lines that were taken.
    pub lines: u64,
    /// Lines that were read and not taken.
    pub refused: u64,
    /// Places at which bytes could not be read: a member that breaks off or is damaged, or
    /// something that is no gzip.
    pub breaks: u64,
}

impl Salvaged {
    /// Whether all of the file was read and taken.
    pub fn is_whole(&self) -> bool {
        (self.refused, self.breaks) == (0, 0)
    }
}

/// Reads the lines of all gzip members that can be found, in their order. `take` says whether
/// a line is what it should be; lines behind damage are only as good as it checks them.
///
/// What is behind a member that breaks off is looked for up to the next one.
///
/// ```
/// use std::io::{Cursor, Write as _};
/// use flate2::{Compression, write::GzEncoder};
///
/// let member = |text: &str| {
///     let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
///     gzip.write_all(text.as_bytes())?;
///     gzip.finish()
/// };
/// let torn = member("{\"n\": 1}\n{\"n\": 2}\n")?;
/// let file = [&torn[..torn.len() - 12], &member("{\"n\": 3}\n")?].concat();
/// let mut lines = Vec::new();
/// let salvaged = backhaul_weave::salvage::lines(Cursor::new(file), |line| {
///     lines.push(line.to_vec());
///     true
/// })?;
/// assert_eq!(lines.last().unwrap(), b"{\"n\": 3}");
/// assert_eq!(salvaged.breaks, 1);
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Where the file cannot be read from the disk. Damage is no error.
pub fn lines(
    mut file: impl BufRead + Seek,
    mut take: impl FnMut(&[u8]) -> bool,
) -> io::Result<Salvaged> {
    let mut salvaged = Salvaged::default();
    let mut from = 0;
    while let Some(start) = next_member(&mut file, from, &mut salvaged)? {
        file.seek(SeekFrom::Start(start))?;
        match member_lines(&mut file, &mut take, &mut salvaged) {
            Ok(()) => from = file.stream_position()?,
            Err(error) if is_damage(&error) => {
                salvaged.breaks += 1;
                from = start + 1;
                // What stands between here and the next member belongs to this break.
                match find_magic(&mut file, from)? {
                    Some(next) => from = next,
                    None => break,
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(salvaged)
}

/// Reads the lines of a file that is not compressed, in their order; see [`lines`].
///
/// ```
/// let file = std::io::Cursor::new(b"{\"n\": 1}\n{\"n\": {\"n\": 3}\n");
/// let salvaged = backhaul_weave::salvage::plain_lines(file, |line| line.ends_with(b"1}"))?;
/// assert_eq!((salvaged.lines, salvaged.refused), (1, 1));
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Where the file cannot be read from the disk.
pub fn plain_lines(
    mut file: impl BufRead,
    mut take: impl FnMut(&[u8]) -> bool,
) -> io::Result<Salvaged> {
    let mut salvaged = Salvaged::default();
    lines_of(&mut file, &mut take, &mut salvaged)?;
    Ok(salvaged)
}

/// What decoders say of bytes that are no gzip, or end too soon.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Where the next member begins at or behind `from`. Bytes before it are a break.
fn next_member(
    file: &mut (impl BufRead + Seek),
    from: u64,
    salvaged: &mut Salvaged,
) -> io::Result<Option<u64>> {
    let start = find_magic(file, from)?;
    let is_at_end = start.is_none() && file.seek(SeekFrom::End(0))? <= from;
    if start != Some(from) && !is_at_end {
        salvaged.breaks += 1;
    }
    Ok(start)
}

fn find_magic(file: &mut (impl BufRead + Seek), from: u64) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(from))?;
    let (mut at, mut known) = (from, 0);
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        for byte in bytes {
            at += 1;
            known = match (MAGIC.get(known) == Some(byte), *byte == MAGIC[0]) {
                (true, _) => known + 1,
                (false, begins) => usize::from(begins),
            };
            if known == MAGIC.len() {
                return Ok(Some(at - known as u64));
            }
        }
        let count = bytes.len();
        file.consume(count);
    }
}

/// The lines of the member that begins here. Afterwards the file stands behind it.
fn member_lines(
    file: &mut impl BufRead,
    take: &mut impl FnMut(&[u8]) -> bool,
    salvaged: &mut Salvaged,
) -> io::Result<()> {
    lines_of(&mut BufReader::new(Member::new(file)), take, salvaged)
}

fn lines_of(
    file: &mut impl BufRead,
    take: &mut impl FnMut(&[u8]) -> bool,
    salvaged: &mut Salvaged,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        // What breaks off in the middle of a line is dropped with it.
        file.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let text = line.trim_ascii_end();
        match text.is_empty() || take(text) {
            true => salvaged.lines += u64::from(!text.is_empty()),
            false => salvaged.refused += 1,
        }
    }
}
