//! What a child of fork(2) says.
#![allow(unsafe_code, reason = "fork(2) has no safe form; the child only calls and exits")]

use std::io::{Read as _, Write as _};

/// Forks, and gives back what `speak` says in the child, which then ends by `_exit`, without
/// running destructors of what it shares with the parent.
///
/// # Panics
/// Where there is no child to be had, or it does not come to its end.
#[expect(clippy::unwrap_used, reason = "a test whose pipe is broken has to fail")]
pub fn said_by_a_fork(speak: impl FnOnce() -> String) -> String {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: the child calls functions that allocate and take no lock that another
    // thread could hold (glibc's allocator survives a fork), and leaves by _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        let written = writer.write_all(speak().as_bytes());
        // SAFETY: it does not return.
        unsafe { libc::_exit(i32::from(written.is_err())) };
    }
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0), "the child said {said}");
    said
}
