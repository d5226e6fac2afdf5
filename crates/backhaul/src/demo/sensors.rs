//! What the machine itself can be asked: load, memory, temperature, disk, network.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

/// Something to read, and when its reading is an alarm.
pub(crate) struct Sensor {
    pub(crate) name: &'static str,
    /// What is read, as the record says.
    pub(crate) source: String,
    read: Box<dyn Fn() -> anyhow::Result<Reading>>,
}

/// What a sensor said.
pub(crate) struct Reading {
    pub(crate) value: Value,
    /// Why somebody should look at it, where somebody should.
    pub(crate) alarm: Option<String>,
}

impl Sensor {
    pub(crate) fn read(&self) -> anyhow::Result<Reading> {
        (self.read)()
    }
}

/// Busier than this many tasks per processor for a minute is an alarm.
const BUSY_TASKS_PER_CORE: f64 = 4.0;
const HOT_CELSIUS: f64 = 85.0;
const LOW_PERCENT: f64 = 5.0;

/// The sensors of this machine. Not every one has a thermometer.
pub(crate) fn of_this_machine(data_dir: &Path) -> Vec<Sensor> {
    let mut sensors = vec![
        sensor("load", "/proc/loadavg", load),
        sensor("memory", "/proc/meminfo", memory),
        sensor("network", "/proc/net/dev", network),
    ];
    if let Some(zone) = thermometer() {
        let source = zone.clone();
        sensors.push(sensor("temperature", &zone, move || temperature(&source)));
    }
    let dir = data_dir.to_owned();
    let source = format!("statvfs {}", dir.display());
    sensors.push(sensor("disk", &source, move || disk(&dir)));
    sensors
}

fn sensor(
    name: &'static str,
    source: &str,
    read: impl Fn() -> anyhow::Result<Reading> + 'static,
) -> Sensor {
    Sensor { name, source: source.to_owned(), read: Box::new(read) }
}

fn text(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

fn load() -> anyhow::Result<Reading> {
    let text = text("/proc/loadavg")?;
    let mut fields = text.split_whitespace();
    let mut next = || -> anyhow::Result<f64> {
        Ok(fields.next().ok_or_else(|| anyhow!("/proc/loadavg is too short"))?.parse()?)
    };
    let (one, five) = (next()?, next()?);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    let is_busy = one > BUSY_TASKS_PER_CORE * f64::from(cores);
    Ok(Reading {
        value: json!({"load_1m": one, "load_5m": five, "cores": cores}),
        alarm: is_busy.then(|| format!("load is {one} on {cores} cores")),
    })
}

fn memory() -> anyhow::Result<Reading> {
    let text = text("/proc/meminfo")?;
    let field = |name: &str| -> anyhow::Result<u32> {
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.ok_or_else(|| anyhow!("/proc/meminfo says nothing of {name}"))?;
        let kilobytes = line.split_whitespace().nth(1).context("a field without a value")?;
        // In KiB; 32 bits hold 4 TB.
        Ok(kilobytes.parse::<u64>()?.try_into().unwrap_or(u32::MAX))
    };
    let (total, available) = (field("MemTotal:")?, field("MemAvailable:")?);
    let percent = percent(available.into(), total.into());
    Ok(Reading {
        value: json!({"total_kib": total, "available_kib": available, "available_percent": percent}),
        alarm: (percent < LOW_PERCENT).then(|| format!("{percent} % of the memory is left")),
    })
}

/// Bytes over all interfaces but the loop.
fn network() -> anyhow::Result<Reading> {
    let text = text("/proc/net/dev")?;
    let (mut received, mut sent) = (0_u64, 0_u64);
    for line in text.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let counters: Vec<u64> =
            counters.split_whitespace().map_while(|counter| counter.parse().ok()).collect();
        received += counters.first().copied().unwrap_or(0);
        sent += counters.get(8).copied().unwrap_or(0);
    }
    Ok(Reading { value: json!({"received_bytes": received, "sent_bytes": sent}), alarm: None })
}

fn thermometer() -> Option<String> {
    let zones = fs::read_dir("/sys/class/thermal").ok()?;
    let mut paths: Vec<_> = zones.filter_map(|zone| Some(zone.ok()?.path().join("temp"))).collect();
    paths.sort();
    let readable = paths.into_iter().find(|path| fs::read_to_string(path).is_ok())?;
    Some(readable.to_str()?.to_owned())
}

fn temperature(zone: &str) -> anyhow::Result<Reading> {
    let thousandths: i32 = text(zone)?.trim().parse()?;
    let celsius = f64::from(thousandths) / 1000.0;
    Ok(Reading {
        value: json!({"celsius": celsius}),
        alarm: (celsius > HOT_CELSIUS).then(|| format!("{celsius} degrees Celsius")),
    })
}

fn disk(dir: &Path) -> anyhow::Result<Reading> {
    let space = rustix::fs::statvfs(dir).with_context(|| format!("statvfs {}", dir.display()))?;
    let percent = percent(space.f_bavail, space.f_blocks);
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    Ok(Reading {
        value: json!({"free_bytes": free, "free_percent": percent}),
        alarm: (percent < LOW_PERCENT).then(|| format!("{percent} % of the disk is free")),
    })
}

/// To a tenth.
fn percent(part: u64, whole: u64) -> f64 {
    let thousandths = part.saturating_mul(1000) / whole.max(1);
    f64::from(u32::try_from(thousandths).unwrap_or(u32::MAX)) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_sensors_that_can_be_read() {
        let sensors = of_this_machine(Path::new("/"));
        assert!(sensors.len() >= 4);
        for sensor in sensors {
            let reading = sensor.read().unwrap();
            assert!(reading.value.is_object(), "{}", sensor.name);
        }
    }
}
