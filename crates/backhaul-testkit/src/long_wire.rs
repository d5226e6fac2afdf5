//! A wire whose packets take their time, as over a satellite.
#![allow(unsafe_code, reason = "TUNSETIFF is an ioctl without a safe form")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// `ifreq` of linux/if.h, with flags.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// `_IOW('T', 202, int)` of linux/if_tun.h.
const TUNSETIFF: u32 = 0x4004_54ca;
/// Packets of IP, bare.
const RAW_IP: libc::c_short = 0x0001 | 0x1000;
/// More than any packet has.
const PACKET: usize = 1 << 16;

/// An interface whose packets are read and written here, in the namespace of this thread.
pub(crate) fn interface(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: RAW_IP, rest: [0; 22] };
    request.name.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    // SAFETY: the kernel reads and writes an `ifreq`, which outlives the call.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &raw mut request) };
    if made < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// Carries packets both ways, each for as long, until the process ends.
pub(crate) fn join(ends: [File; 2], delay: Duration) -> io::Result<()> {
    let [left, right] = ends;
    carry(left.try_clone()?, right.try_clone()?, delay);
    carry(right, left, delay);
    Ok(())
}

fn carry(mut from: File, mut to: File, delay: Duration) {
    let (sender, packets) = channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        for (at, packet) in packets {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            // An interface that is down takes none: the packet is lost.
            let _ = to.write(&packet);
        }
    });
    std::thread::spawn(move || {
        let mut packet = vec![0; PACKET];
        while let Ok(length) = from.read(&mut packet) {
            let copy = packet.get(..length).unwrap_or_default().to_vec();
            if sender.send((Instant::now() + delay, copy)).is_err() {
                break;
            }
        }
    });
}
