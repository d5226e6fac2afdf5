//! One member: the unit that segment files are made of, in either form.
//!
//! Bytes are described in `docs/format.md`; this file, `header.rs`, `gzip.rs` and
//! `plain.rs` are the only ones that read or write them.

use super::form::Form;
use super::header::{FORMAT_VERSION, Fault, Header, Kind};
use super::{gzip, plain};
use crate::id::Chain;

/// Commits are whole pages, so that no page that holds acknowledged bytes is
/// ever written again. 4 KiB is the page of the kernel and the usual logical
/// block of flash.
pub(crate) const PAGE: usize = 4096;

/// Bytes that hold a header of any form.
pub(crate) const HEADER_LEN: usize = plain::HEADER_LEN;

/// Most bytes that [`encode_note`] takes.
pub(crate) const MAX_NOTE: usize = gzip::MAX_NOTE;

/// Bytes at the end of a note member without padding that [`end_of_note`] wants.
pub(crate) const NOTE_TAIL: usize = 4 * plain::BLANKS + plain::AFTER_NOTE;

/// Whether a member may start here, as far as its first bytes tell.
pub(crate) fn may_start(bytes: &[u8]) -> bool {
    gzip::may_start(bytes) || plain::may_start(bytes)
}

/// Rewrites a member's header in place; its lengths stay.
pub(crate) fn restamp(member: &mut [u8], header: &Header) {
    match header.form {
        Form::Gzip => gzip::restamp(member, header),
        Form::Plain => plain::write_header(member, header),
    }
}

/// The header at the start of `bytes`; `None`: there is no sound one.
///
/// # Errors
/// `Unsupported` for a sound member of a newer format: nobody may take its page for
/// a damaged or a free one.
pub(crate) fn known_header(bytes: &[u8]) -> std::io::Result<Option<Header>> {
    match read_header(bytes) {
        Ok(header) => Ok(Some(header)),
        Err(Fault::Damaged) => Ok(None),
        Err(Fault::Unsupported(version, features)) => Err(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!(
                "it has a member of format {version} with features {features:#x}, this program \
                 knows format {FORMAT_VERSION}: use a newer backhaul"
            ),
        )),
    }
}

/// Reads a header; `bytes` starts at a member and holds [`HEADER_LEN`] bytes, or what
/// there is of them.
pub(crate) fn read_header(bytes: &[u8]) -> Result<Header, Fault> {
    if gzip::may_start(bytes) { gzip::read_header(bytes) } else { plain::read_header(bytes) }
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// At commit: nothing below about a page, zlib's level 1 above, where the
    /// flush costs more than the bytes.
    Commit,
    /// At sealing: zlib's level 6, in the background.
    Seal,
}

/// Makes data members, and keeps the compressor's memory from one to the next.
#[derive(Debug)]
pub(crate) struct Encoder(gzip::Deflater);

impl Encoder {
    pub(crate) fn new(level: Level) -> Self {
        Self(gzip::Deflater::new(level))
    }

    /// Appends a data member that holds `records` to `out`. `padded`: it ends on
    /// a page boundary of `out`. The header's lengths and CRC are filled in here.
    pub(crate) fn data(
        &mut self,
        header: &Header,
        records: &[u8],
        padded: bool,
        out: &mut Vec<u8>,
    ) {
        match header.form {
            Form::Gzip => self.0.data(header, records, padded, out),
            Form::Plain => plain::data(header, records, padded, out),
        }
    }
}

/// A member without records that carries `note`, padded to whole pages where asked.
pub(crate) fn encode_note(header: &Header, note: &[u8], padded: bool) -> Vec<u8> {
    match header.form {
        Form::Gzip => gzip::encode_note(header, note, padded),
        Form::Plain => plain::encode_note(header, note, padded),
    }
}

/// The note of a member made by [`encode_note`], if it is whole.
pub(crate) fn read_note(member: &[u8], header: &Header) -> Option<Vec<u8>> {
    let len = usize::try_from(header.content_len).ok()?;
    let note = match header.form {
        Form::Gzip => gzip::note(member, len)?,
        Form::Plain => plain::note(member, len)?,
    };
    (crc32fast::hash(&note) == header.content_crc).then_some(note)
}

/// The last four bytes of the note of a file's last member, made without padding, told by
/// the last [`NOTE_TAIL`] bytes of the file; anything, where it has no such member.
pub(crate) fn end_of_note(tail: &[u8]) -> Option<[u8; 4]> {
    // Gzip's trailer ends with the length of nothing.
    if tail.ends_with(b"\n") { plain::end_of_note(tail) } else { gzip::end_of_note(tail) }
}

/// A free page of a segment.
pub(crate) fn filler_page(form: Form, nonce: u64, chain: Chain) -> Vec<u8> {
    encode_note(&Header { nonce, ..Header::new(form, Kind::Filler, chain) }, b"", true)
}

/// The same data member with another header and without padding. `None`: it is
/// not long enough to be a member.
pub(crate) fn repack(member: &[u8], header: &Header) -> Option<Vec<u8>> {
    match header.form {
        Form::Gzip => gzip::repack(member, header),
        Form::Plain => plain::repack(member, header),
    }
}

/// Whether the padding of a data member leaves the file one that others can read.
pub(crate) fn is_padding_whole(member: &[u8], header: &Header) -> bool {
    match header.form {
        // Whatever stands there: nobody reads gzip's extra field.
        Form::Gzip => true,
        Form::Plain => plain::is_padding_whole(member, header),
    }
}

/// The records of a data member, checked. `None`: it is damaged. `skip_checksum`
/// is a test-only seam.
pub(crate) fn read_records(member: &[u8], header: &Header, skip_checksum: bool) -> Option<Vec<u8>> {
    let records = match header.form {
        Form::Gzip => gzip::records(member, header, skip_checksum)?,
        Form::Plain => plain::records(member, header)?,
    };
    let sound = crc32fast::hash(&records) == header.content_crc;
    (sound || skip_checksum).then_some(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Lane;
    use std::io::Read;

    fn header(form: Form) -> Header {
        let chain = Chain { lane: Lane::High, writer: 2 };
        let (nonce, commit) = (7, 3);
        Header {
            nonce,
            commit,
            first_sequence: 42,
            count: 2,
            ..Header::new(form, Kind::Data, chain)
        }
    }

    fn data(form: Form, records: &[u8], padded: bool, out: &mut Vec<u8>) {
        Encoder::new(Level::Commit).data(&header(form), records, padded, out);
    }

    /// The lines that are not blank, as any reader of the form finds them.
    fn lines(form: Form, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match form {
            Form::Gzip => {
                flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut text).unwrap();
            }
            Form::Plain => text.extend_from_slice(bytes),
        }
        assert!(text.is_empty() || text.ends_with(b"\n"));
        let lines = text.split_inclusive(|&byte| byte == b'\n');
        lines.filter(|line| !line.trim_ascii().is_empty()).flatten().copied().collect()
    }

    /// A line of this length.
    fn line(len: usize, fill: u8) -> Vec<u8> {
        let mut line = vec![fill; len];
        line.extend(b"\n");
        line
    }

    #[test]
    fn members_of_every_size_are_whole_pages_and_read_back() {
        for form in Form::ALL {
            // Around what a page holds: 4,011 bytes as gzip, 3,631 as they are.
            let around = (3_625..3_640).chain(4_000..4_020);
            for len in [1, 100].into_iter().chain(around).chain([4_096, 10_000, 200_000]) {
                let records: Vec<u8> = (1..len)
                    .map(|i: u64| b'a' + u8::try_from(i * i % 26).unwrap())
                    .chain([b'\n'])
                    .collect();
                let mut out = Vec::new();
                data(form, &records, true, &mut out);
                assert_eq!(out.len() % PAGE, 0);
                let parsed = read_header(&out).unwrap();
                assert_eq!(parsed.total_len as usize, out.len());
                assert_eq!((parsed.form, parsed.first_sequence, parsed.commit), (form, 42, 3));
                assert_eq!(read_records(&out, &parsed, false).unwrap(), records);
                assert_eq!(lines(form, &out), if len == 1 { vec![] } else { records }, "{form:?}");
            }
        }
    }

    #[test]
    fn a_member_that_starts_inside_a_page_is_padded_to_the_next_boundary() {
        for form in Form::ALL {
            let mut out = Vec::new();
            data(form, &line(5000, b'a'), false, &mut out);
            data(form, &line(5000, b'b'), true, &mut out);
            assert_eq!(out.len() % PAGE, 0);
            assert_eq!(lines(form, &out).len(), 10_002);
        }
    }

    #[test]
    fn padding_that_others_cannot_read_is_noticed() {
        for form in Form::ALL {
            let (mut out, records) = (Vec::new(), line(2_000, b'a'));
            data(form, &records, true, &mut out);
            let parsed = read_header(&out).unwrap();
            assert!(is_padding_whole(&out, &parsed));
            out[1_000] = 0xff;
            assert_eq!(read_records(&out, &parsed, false), Some(records));
            assert_eq!(is_padding_whole(&out, &parsed), form == Form::Gzip);
        }
    }

    #[test]
    fn a_member_is_repacked_without_its_padding() {
        for form in Form::ALL {
            let (mut out, records) = (Vec::new(), line(100, b'a'));
            data(form, &records, true, &mut out);
            let parsed = read_header(&out).unwrap();
            let packed = repack(&out, &Header { nonce: 8, ..parsed }).unwrap();
            let parsed = read_header(&packed).unwrap();
            assert_eq!((parsed.nonce, parsed.total_len as usize), (8, packed.len()));
            assert!(packed.len() < 600, "{form:?}");
            assert_eq!(read_records(&packed, &parsed, false).unwrap(), records);
            assert_eq!(lines(form, &packed), records);
        }
    }

    #[test]
    fn a_free_page_holds_nothing_to_any_reader() {
        for form in Form::ALL {
            let page = filler_page(form, 9, header(form).chain);
            assert_eq!(page.len(), PAGE);
            assert_eq!(read_header(&page).unwrap().kind, Kind::Filler);
            assert_eq!(lines(form, &page), b"");
        }
    }

    #[test]
    fn a_note_reads_back_and_its_end_is_found_from_the_end_of_the_file() {
        for form in Form::ALL {
            for padded in [true, false] {
                let note: Vec<u8> = (0..=255).collect();
                let member = encode_note(&header(form), &note, padded);
                let parsed = read_header(&member).unwrap();
                assert_eq!(parsed.total_len as usize, member.len());
                assert_eq!(member.len().is_multiple_of(PAGE), padded);
                assert_eq!(read_note(&member, &parsed), Some(note));
                assert_eq!(lines(form, &member), b"");
                let tail = &member[member.len() - NOTE_TAIL..];
                assert_eq!(end_of_note(tail) == Some([252, 253, 254, 255]), !padded);
            }
        }
    }

    #[test]
    fn any_flipped_bit_of_header_or_content_is_noticed() {
        for form in Form::ALL {
            let mut out = Vec::new();
            data(form, b"{\"a\":1}\n", true, &mut out);
            let whole = read_header(&out).unwrap();
            let header_len = form.header_len();
            for offset in (0..header_len).chain(PAGE - 30..PAGE) {
                let mut bent = out.clone();
                bent[offset] ^= 0x10;
                let read =
                    read_header(&bent).ok().and_then(|header| read_records(&bent, &header, false));
                let same = read.as_deref() == Some(b"{\"a\":1}\n".as_slice());
                assert!(read.is_none() || same, "offset {offset}");
                assert!(offset >= header_len || read_header(&bent) != Ok(whole), "offset {offset}");
            }
        }
    }

    #[test]
    fn a_record_is_no_member_whatever_blanks_it_holds() {
        let mut member = Vec::new();
        data(Form::Plain, b"{\"a\":1}\n", false, &mut member);
        // A body is one line, so that it can hold all of a header but the newline.
        let body = member[..Form::Plain.header_len() - 1].to_vec();
        let forged = [b"{".as_slice(), &body, b"\"a\":1}\n"].concat();
        assert!(read_header(&member).is_ok());
        assert!((0..forged.len()).all(|at| read_header(&forged[at..]).is_err()));
    }

    #[test]
    fn a_newer_format_is_named_and_not_guessed() {
        let chain = header(Form::Gzip).chain;
        let mut page = filler_page(Form::Gzip, 9, chain);
        page[16] = 9;
        let crc = crc32fast::hash(&page[..68]);
        page[68..72].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(read_header(&page), Err(Fault::Unsupported(9, 0)));
        // The other form's codec.
        let mut page = filler_page(Form::Plain, 9, chain);
        plain::write_header(&mut page, &Header::new(Form::Gzip, Kind::Filler, chain));
        assert_eq!(read_header(&page), Err(Fault::Unsupported(1, 0)));
    }
}
