//! Linux error numbers, as the store meets them in `io::Error::raw_os_error`.

use std::io;

/// No such file or directory.
pub const ENOENT: i32 = 2;
/// Input/output error.
pub const EIO: i32 = 5;
/// The handle does not allow this (a write through a read handle).
pub const EBADF: i32 = 9;
/// Permission denied.
pub const EACCES: i32 = 13;
/// The name is taken.
pub const EEXIST: i32 = 17;
/// A rename across file systems.
pub const EXDEV: i32 = 18;
/// A file stands where a directory is needed.
pub const ENOTDIR: i32 = 20;
/// A directory stands where a file is needed.
pub const EISDIR: i32 = 21;
/// Invalid argument.
pub const EINVAL: i32 = 22;
/// Too many open files in this process.
pub const EMFILE: i32 = 24;
/// The file is too large.
pub const EFBIG: i32 = 27;
/// No space left on the device.
pub const ENOSPC: i32 = 28;
/// The file system is read-only.
pub const EROFS: i32 = 30;
/// The name is longer than a file system takes (255 bytes).
pub const ENAMETOOLONG: i32 = 36;
/// The directory is not empty.
pub const ENOTEMPTY: i32 = 39;
/// The user's disk quota is used up.
pub const EDQUOT: i32 = 122;

/// The `io::Error` with this number.
pub(crate) fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
