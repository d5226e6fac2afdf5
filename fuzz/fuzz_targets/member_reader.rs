//! Segment files that were damaged in any way: opening and reading them neither
//! panics nor hangs, and what stands before the damage stays readable.
#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use backhaul_fuzz::{Input, number_of, numbered, open_in, read_all, use_up};
use backhaul_store::{ErrorKind, Lane, Layout};
use backhaul_testkit::SimDisk;
use libfuzzer_sys::fuzz_target;

/// A sound spool: sealed and open segments in two lanes.
struct Base {
    files: BTreeMap<PathBuf, Vec<u8>>,
    segments: Vec<Segment>,
}

struct Segment {
    path: PathBuf,
    /// Where each member begins and ends, and the numbers of its records.
    members: Vec<(usize, usize, Vec<u64>)>,
}

fn base(compress: bool) -> &'static Base {
    static BASES: [OnceLock<Base>; 2] = [OnceLock::new(), OnceLock::new()];
    BASES[usize::from(compress)].get_or_init(|| {
        let disk = SimDisk::new();
        let spool = open_in(&disk, Layout::Segments, compress).unwrap();
        for number in 1..=20 {
            let lane = if number % 4 == 0 { Lane::Critical } else { Lane::Normal };
            let len = [10, 300, 900, 5_000][number as usize % 4];
            spool.append(numbered(number, len).lane(lane)).unwrap();
            if number == 12 {
                spool.maintain().unwrap();
            }
        }
        let tickets: Vec<_> =
            (21..=30).map(|number| spool.submit(numbered(number, 300)).unwrap()).collect();
        tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
        drop(spool);
        let files: BTreeMap<_, _> = disk
            .paths()
            .into_iter()
            .map(|path| (path.clone(), disk.read_file(&path).unwrap()))
            .collect();
        let segments = files
            .iter()
            .filter(|(path, _)| path.to_string_lossy().starts_with("/spool/2026"))
            .map(|(path, bytes)| Segment { path: path.clone(), members: members(bytes) })
            .collect();
        Base { files, segments }
    })
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Blanks of a plain member's header; a newline follows.
const BLANKS: usize = 464;

fn is_gzip(member: &[u8]) -> bool {
    member.starts_with(&[0x1f, 0x8b])
}

/// A member's header as the table in `docs/format.md` numbers it, in either form.
fn header(member: &[u8]) -> [u8; 72] {
    if is_gzip(member) {
        return member[..72].try_into().unwrap();
    }
    let byte = |blanks: &[u8]| blanks.iter().fold(0, |byte, blank| byte << 1 | (blank & 1));
    let bytes: Vec<u8> = member[..BLANKS].chunks(8).map(byte).collect();
    let mut header = [0; 72];
    header[12..14].copy_from_slice(&bytes[..2]);
    header[16..].copy_from_slice(&bytes[2..]);
    header
}

fn members(bytes: &[u8]) -> Vec<(usize, usize, Vec<u64>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + u32_at(&header(&bytes[at..]), 60);
        found.push((at, end, Vec::new()));
        at = end;
    }
    found
}

/// Which records stand in which member, told once by reading the sound spool with
/// each member's page damaged in turn would be slow; the first sequence and the count
/// in each header say it as well.
fn numbers_before(
    segment: &Segment,
    bytes: &[u8],
    at: usize,
    all: &BTreeMap<(u8, u64), u64>,
) -> Vec<u64> {
    let mut numbers = Vec::new();
    for (start, end, _) in segment.members.iter().filter(|(_, end, _)| *end <= at) {
        let header = header(&bytes[*start..*end]);
        if header[17] == 1 {
            let first = u64::from_le_bytes(header[44..52].try_into().unwrap());
            let count = u32_at(&header, 52) as u64;
            numbers.extend(
                (first..first + count).filter_map(|sequence| all.get(&(header[36], sequence))),
            );
        }
    }
    numbers
}

/// Lane and sequence of each record to its number.
fn by_sequence(compress: bool) -> &'static BTreeMap<(u8, u64), u64> {
    static ALL: [OnceLock<BTreeMap<(u8, u64), u64>>; 2] = [OnceLock::new(), OnceLock::new()];
    ALL[usize::from(compress)].get_or_init(|| {
        let disk = SimDisk::new();
        base(compress).files.iter().for_each(|(path, bytes)| disk.write_file(path, bytes).unwrap());
        let spool = open_in(&disk, Layout::Segments, compress).unwrap();
        let records = read_all(&spool);
        assert_eq!(records.len(), 30);
        records
            .iter()
            .map(|record| {
                let position = record.id.position;
                ((position.chain.lane as u8, position.sequence.0), number_of(&record.body).unwrap())
            })
            .collect()
    })
}

fn fix_crc(bytes: &mut [u8], at: usize) {
    let Some(member) = bytes.get_mut(at..).filter(|member| member.len() > BLANKS) else { return };
    let header = header(member);
    if is_gzip(member) {
        member[68..72].copy_from_slice(&crc32fast::hash(&header[..68]).to_le_bytes());
    } else {
        let crc = crc32fast::hash(&[&header[12..14], &header[16..68]].concat());
        let bits =
            crc.to_le_bytes().into_iter().flat_map(|byte| (0..8).rev().map(move |b| byte >> b & 1));
        let blanks = bits.map(|bit| if bit == 1 { b'\t' } else { b' ' });
        member[BLANKS - 32..BLANKS].iter_mut().zip(blanks).for_each(|(to, blank)| *to = blank);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let first = input.byte();
    // The upper half are plain files.
    let compress = first < 0x80;
    let base = base(compress);
    let by_sequence = by_sequence(compress);
    let disk = SimDisk::new();
    base.files.iter().for_each(|(path, bytes)| disk.write_file(path, bytes).unwrap());
    let segment = &base.segments[usize::from(first) % base.segments.len()];
    let sound = &base.files[&segment.path];
    let mut bytes = sound.clone();
    let mut first_damage = bytes.len();
    let mut is_forged = false;
    if input.byte() == 255 {
        // Anything at all as a segment.
        bytes = input.0.to_vec();
        (first_damage, is_forged) = (0, true);
    } else {
        for _ in 0..8 {
            if input.is_empty() || bytes.is_empty() {
                break;
            }
            let (start, end, _) =
                segment.members[usize::from(input.byte()) % segment.members.len()];
            let how = input.byte();
            // Mostly in the header, where it matters.
            let at = if how & 8 == 0 {
                start
                    + if compress {
                        usize::from(input.byte()) % 72
                    } else {
                        input.number() % BLANKS
                    }
            } else {
                start + input.number()
            };
            let at = at.min(bytes.len() - 1);
            first_damage = first_damage.min(at);
            match how & 7 {
                0 => bytes[at] ^= input.byte().max(1),
                1 | 2 => {
                    let new = input.bytes(usize::from(how >> 4) + 1);
                    let len = new.len().min(bytes.len() - at);
                    bytes[at..at + len].copy_from_slice(&new[..len]);
                }
                3 => {
                    bytes.truncate(at);
                }
                4 => {
                    let end = (at + input.number()).min(bytes.len());
                    bytes[at..end].fill(input.byte());
                }
                5 => {
                    // A member of this file in another's place.
                    let (from, to, _) =
                        segment.members[usize::from(input.byte()) % segment.members.len()];
                    let copied = sound[from..to].to_vec();
                    let len = copied.len().min(bytes.len().saturating_sub(start));
                    first_damage = first_damage.min(start);
                    if let Some(target) = bytes.get_mut(start..start + len) {
                        target.copy_from_slice(&copied[..len]);
                    }
                    is_forged = true;
                }
                6 => {
                    let more = input.bytes(usize::from(how >> 4) * 16).to_vec();
                    let place = end.min(bytes.len());
                    first_damage = first_damage.min(place);
                    bytes.splice(place..place, more);
                    is_forged = true;
                }
                _ => {}
            }
            if how & 0x80 != 0 {
                fix_crc(&mut bytes, start);
                is_forged = true;
            }
        }
    }
    disk.write_file(&segment.path, &bytes).unwrap();
    let spool = match open_in(&disk, Layout::Segments, compress) {
        Ok(spool) => spool,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Damaged), "{error}");
            return;
        }
    };
    let read = read_all(&spool);
    if !is_forged {
        let numbers: Vec<u64> = read.iter().filter_map(|record| number_of(&record.body)).collect();
        for number in numbers_before(segment, sound, first_damage, by_sequence) {
            assert!(
                numbers.contains(&number),
                "record {number} stands before the damage and is lost"
            );
        }
        let wanted: Vec<u64> = base
            .segments
            .iter()
            .filter(|other| other.path != segment.path)
            .flat_map(|other| {
                numbers_before(other, &base.files[&other.path], usize::MAX, by_sequence)
            })
            .collect();
        for number in wanted {
            assert!(
                numbers.contains(&number),
                "record {number} stands in another file and is lost"
            );
        }
        assert!(spool.status().unwrap().books.balance());
    }
    use_up(&spool);
    drop(spool);
    if let Ok(spool) = open_in(&disk, Layout::Segments, compress) {
        let _ = spool.append(numbered(99, 10));
        use_up(&spool);
    }
});
