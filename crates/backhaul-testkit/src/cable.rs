//! A real link between two network namespaces, to be unplugged.
//!
//! A device and a hub have a namespace each, with a pair of virtual interfaces between
//! them. The kernel does the rest: addresses, neighbours, TCP, and the events that it tells
//! of all of it. It takes root and ip(8), as in CI.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::long_wire::{interface, join};

/// A device at [`DEVICE`](Cable::DEVICE), its interface called `wan`, and a hub at
/// [`HUB`](Cable::HUB) on `lan`, and at [`BEYOND`](Cable::BEYOND) behind a route. They are
/// gone with this.
#[derive(Debug)]
pub struct Cable {
    device: String,
    hub: String,
}

impl Cable {
    /// The device, once it has an address.
    pub const DEVICE: &str = "10.9.0.1";
    /// The hub, on the same network as the device.
    pub const HUB: &str = "10.9.0.2";
    /// The hub, where only a default route leads.
    pub const BEYOND: &str = "10.77.0.1";

    /// One that is unplugged: the device's interface is down, and has no address.
    ///
    /// # Panics
    /// Where the machine has no namespaces to give, as all of these do.
    pub fn new() -> Self {
        let cable = Self::without_wire();
        cable.on_device(&format!("link add wan type veth peer name lan netns {}", cable.hub));
        cable.set_hub_up();
        cable
    }

    /// One that is unplugged and carries each packet for `delay`, as raw IP, as a modem does.
    /// It stays in use until the process ends.
    pub fn long(delay: Duration) -> Self {
        let cable = Self::without_wire();
        let ends = [cable.with_device(|| interface("wan")), cable.with_hub(|| interface("lan"))];
        let [device, hub] =
            ends.map(|end| end.unwrap_or_else(|error| failed("tun", &error.to_string())));
        join([device, hub], delay).unwrap_or_else(|error| failed("tun", &error.to_string()));
        cable.set_hub_up();
        cable
    }

    fn without_wire() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let cable =
            Self { device: format!("backhaul-device-{name}"), hub: format!("backhaul-hub-{name}") };
        ip(&format!("netns add {}", cable.device));
        ip(&format!("netns add {}", cable.hub));
        cable
    }

    fn set_hub_up(&self) {
        self.on_hub(&format!("addr add {}/24 dev lan", Self::HUB));
        self.on_hub(&format!("addr add {}/32 dev lan", Self::BEYOND));
        self.on_hub("link set lan up");
        // By which it reaches itself.
        self.on_hub("link set lo up");
    }

    /// One that is plugged in.
    pub fn plugged() -> Self {
        let cable = Self::new();
        cable.address();
        cable.plug();
        cable
    }

    /// Gives the device its address.
    pub fn address(&self) {
        self.on_device(&format!("addr add {}/24 dev wan", Self::DEVICE));
    }

    /// `ip link set wan up`
    pub fn plug(&self) {
        self.on_device("link set wan up");
    }

    /// `ip link set wan down`
    pub fn unplug(&self) {
        self.on_device("link set wan down");
    }

    /// ip(8) on the device.
    pub fn on_device(&self, command: &str) {
        ip(&format!("-n {} {command}", self.device));
    }

    /// ip(8) on the hub.
    pub fn on_hub(&self, command: &str) {
        ip(&format!("-n {} {command}", self.hub));
    }

    /// Sets how the device's packets queue up to leave, as tc(8) has it: `tbf rate 1mbit …`.
    pub fn shape_device(&self, queue: &str) {
        run("tc", &format!("-n {} qdisc replace dev wan root {queue}", self.device));
    }

    /// Sets how the hub's packets queue up to leave.
    pub fn shape_hub(&self, queue: &str) {
        run("tc", &format!("-n {} qdisc replace dev lan root {queue}", self.hub));
    }

    /// Bytes that the device's interface has sent since its queue was last set, headers of
    /// Ethernet included: what [`shape_device`](Cable::shape_device) counts.
    pub fn sent(&self) -> u64 {
        let told = run("tc", &format!("-n {} -s qdisc show dev wan root", self.device));
        let sent =
            told.split_once("Sent ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        sent.unwrap_or_else(|| failed("tc -s qdisc", &told))
    }

    /// A program on the hub.
    pub fn program_on_hub(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.hub, program]);
        command
    }

    /// Does something on the device, in a thread of its own; threads that it starts are
    /// there too.
    ///
    /// # Panics
    /// As `work` does.
    pub fn with_device<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.device, work)
    }

    /// Does something on the hub, in a thread of its own.
    ///
    /// # Panics
    /// As `work` does.
    pub fn with_hub<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.hub, work)
    }
}

impl Default for Cable {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in [&self.device, &self.hub] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn within<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(name);
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves this thread, and those that it starts from now on, into a namespace.
fn enter(name: &str) {
    let entered = File::open(format!("/run/netns/{name}")).and_then(|namespace| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    });
    entered.unwrap_or_else(|error| failed(name, &error.to_string()));
}

fn ip(command: &str) {
    run("ip", command);
}

fn run(program: &str, command: &str) -> String {
    let why = match Command::new(program).args(command.split(' ')).output() {
        Ok(output) if output.status.success() => {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    failed(&format!("{program} {command}"), &why)
}

#[expect(clippy::panic, reason = "a test whose cable is broken has to fail")]
fn failed(what: &str, why: &str) -> ! {
    panic!("{what}: {why}\nThis test makes network namespaces: it needs root and ip(8).");
}
