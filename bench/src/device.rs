//! What the kernel counted: flushes and bytes of the block device, memory of a process.

use std::path::Path;
use std::process::Child;

/// Counters of the device under a path, from `/sys/dev/block`.
#[derive(Clone, Copy, Default)]
pub struct Counters {
    pub bytes_written: u64,
    pub flushes: u64,
}

pub fn counters(path: &Path) -> Counters {
    use std::os::linux::fs::MetadataExt;
    let Ok(metadata) = std::fs::metadata(path) else { return Counters::default() };
    let device = metadata.st_dev();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    let stat =
        std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap_or_default();
    let fields: Vec<u64> = stat.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    Counters {
        bytes_written: fields.get(6).copied().unwrap_or(0) * 512,
        flushes: fields.get(15).copied().unwrap_or(0),
    }
}

/// Peak resident memory of this process in bytes (`VmHWM`).
pub fn peak_memory() -> u64 {
    Process::own().peak_memory()
}

/// User and system time of this process in seconds.
pub fn cpu_seconds() -> f64 {
    Process::own().cpu_seconds()
}

/// A process, as the kernel sees it.
#[derive(Clone)]
pub struct Process(String);

impl Process {
    fn own() -> Self {
        Self("self".to_owned())
    }

    pub fn of(child: &Child) -> Self {
        Self(child.id().to_string())
    }

    /// In bytes (`VmRSS`).
    pub fn memory(&self) -> u64 {
        self.field("VmRSS:")
    }

    /// The most that it was (`VmHWM`).
    pub fn peak_memory(&self) -> u64 {
        self.field("VmHWM:")
    }

    fn field(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// User and system time of all its threads.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<f64> =
            after.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // utime and stime are the 14th and 15th fields; state, the third, is no number.
        (fields.get(10).unwrap_or(&0.0) + fields.get(11).unwrap_or(&0.0)) / 100.0
    }
}
