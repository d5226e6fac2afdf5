//! Files of any name and content in `pending/`, `synced/`, `failed/` and `meta/`: each
//! is a record, in quarantine, or left alone.
#![no_main]

use backhaul_fuzz::{DIR, Input, numbered, open, read_all, use_up};
use backhaul_store::Layout;
use backhaul_testkit::SimDisk;
use libfuzzer_sys::fuzz_target;

const FOLDERS: [&str; 4] = ["pending", "pending", "failed", "meta"];
const NAMES: [&str; 6] = [
    "2024-01-15T10-30-00Z_000042_run_001.json",
    "2024-01-15T10-30-00Z_000042-critical.2_run_001.json",
    "2024-01-15T10:30:00_run_001.json",
    "2024-01-15T10-30-01Z_000043_run_002.json",
    "x.json",
    "2024-01-15T10-30-00Z_18446744073709551615_run.json",
];

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let disk = SimDisk::new();
    for _ in 0..6 {
        if input.is_empty() {
            break;
        }
        let how = input.byte();
        let folder = FOLDERS[usize::from(how) % FOLDERS.len()];
        let name = if how & 16 == 0 {
            NAMES[usize::from(input.byte()) % NAMES.len()].to_owned()
        } else {
            let len = usize::from(input.byte()) % 60;
            let text = String::from_utf8_lossy(input.bytes(len)).replace(['/', '\0'], "_");
            if how & 32 == 0 { format!("2024-01-15T10-30-00Z_{text}.json") } else { text }
        };
        let len = usize::from(input.byte());
        let content = input.bytes(len);
        let content = if how & 64 == 0 {
            [b"{\"n\":1}".as_slice(), &content[..0]].concat()
        } else {
            content.to_vec()
        };
        if ["", ".", ".."].contains(&name.as_str()) {
            continue;
        }
        // A name that no file system takes is none to test.
        let _ = disk.write_file(format!("{DIR}/{folder}/{name}"), &content);
    }
    let spool = open(&disk, Layout::Folder).unwrap();
    let books = spool.status().unwrap().books;
    assert!(books.balance(), "{books:?}");
    let before = read_all(&spool).len();
    if spool.append(numbered(7, 3)).is_ok() {
        assert_eq!(read_all(&spool).len(), before + 1);
    }
    use_up(&spool);
    assert!(spool.status().unwrap().books.balance());
    drop(spool);
    let spool = open(&disk, Layout::Folder).unwrap();
    assert!(spool.status().unwrap().books.balance());
    use_up(&spool);
});
