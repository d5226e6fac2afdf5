//! The machine's own events, on a real interface: a device and a hub in network namespaces
//! of their own, with a pair of virtual interfaces between them.
//!
//! Checks are an hour apart, so that nothing but an event can change a state in time. A
//! second monitor that hears no events shows it.
//!
//! These tests make network namespaces, so they need root, as in CI.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backhaul_store::SystemClock;
use backhaul_sync::{
    Connectivity, ConnectivityMonitor, ConnectivityOptions, HttpProbe, LinkEvents, SystemLinkEvents,
};
use backhaul_testkit::Cable;

use super::support::{World, becomes};
use Connectivity::{Offline, Online};

/// Far below the hour that checks are apart, far above what an event takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server at the hub that answers 200 to all. Gives its port.
fn serve(cable: &Cable) -> u16 {
    let listener = cable.with_hub(|| TcpListener::bind("0.0.0.0:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                request.push(byte[0]);
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _ = stream.write_all(answer);
        }
    });
    port
}

/// Runs a test on the device.
fn run<F: Future<Output = ()>>(cable: &Cable, test: impl FnOnce() -> F + Send) {
    cable.with_device(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            tokio::time::timeout(10 * PATIENCE, test()).await.unwrap();
        });
    });
}

/// A monitor whose checks are an hour apart.
async fn monitor(host: &str, port: u16, links: Arc<dyn LinkEvents>) -> ConnectivityMonitor {
    let options = ConnectivityOptions {
        check_urls: vec![format!("http://{host}:{port}/").parse().unwrap()],
        timeout_seconds: 1,
        check_interval_seconds: 3600,
        check_stable_interval_seconds: 3600,
        check_retry_interval: Duration::from_secs(3600),
        failures_to_go_offline: 1,
        min_online: Duration::ZERO,
        ..ConnectivityOptions::default()
    };
    let clock = Arc::new(SystemClock::new());
    let probe = Arc::new(HttpProbe::new(clock.clone()));
    let monitor = ConnectivityMonitor::new_on(options, probe, links, clock).unwrap();
    monitor.start().await;
    monitor
}

/// Waits for a state that only an event can bring, and says how long it took.
async fn is_told(monitor: &ConnectivityMonitor, state: Connectivity, what: &str) {
    let began = Instant::now();
    tokio::time::timeout(PATIENCE, becomes(monitor, state)).await.expect(what);
    println!("{what}: {state} after {:?}", began.elapsed());
}

#[test]
fn an_interface_that_comes_up_or_goes_down_is_noticed_at_once() {
    let cable = Cable::new();
    let port = serve(&cable);
    cable.address();
    run(&cable, async || {
        let listening = monitor(Cable::HUB, port, Arc::new(SystemLinkEvents)).await;
        let deaf = monitor(Cable::HUB, port, Arc::new(World::deaf())).await;
        is_told(&listening, Offline, "before").await;
        becomes(&deaf, Offline).await;
        for _ in 0..3 {
            cable.plug();
            is_told(&listening, Online, "up").await;
            assert_eq!(deaf.state(), Offline, "only an event could tell");
            cable.unplug();
            is_told(&listening, Offline, "down").await;
        }
    });
}

#[test]
fn a_plug_that_is_pulled_at_the_other_end_is_noticed_at_once() {
    let cable = Cable::plugged();
    let port = serve(&cable);
    run(&cable, async || {
        let listening = monitor(Cable::HUB, port, Arc::new(SystemLinkEvents)).await;
        is_told(&listening, Online, "before").await;
        for _ in 0..2 {
            cable.on_hub("link set lan down");
            is_told(&listening, Offline, "pulled").await;
            cable.on_hub("link set lan up");
            is_told(&listening, Online, "plugged in").await;
        }
    });
}

#[test]
fn an_address_that_comes_after_the_carrier_is_noticed_at_once() {
    let cable = Cable::new();
    let port = serve(&cable);
    run(&cable, async || {
        let listening = monitor(Cable::HUB, port, Arc::new(SystemLinkEvents)).await;
        is_told(&listening, Offline, "before").await;
        cable.plug();
        cable.address();
        is_told(&listening, Online, "address").await;
        cable.on_device("addr del 10.9.0.1/24 dev wan");
        is_told(&listening, Offline, "no address").await;
    });
}

#[test]
fn a_default_route_that_comes_after_the_address_is_noticed_at_once() {
    let cable = Cable::plugged();
    let port = serve(&cable);
    run(&cable, async || {
        let listening = monitor(Cable::BEYOND, port, Arc::new(SystemLinkEvents)).await;
        is_told(&listening, Offline, "before").await;
        cable.on_device("route add default via 10.9.0.2");
        is_told(&listening, Online, "route").await;
        cable.on_device("route del default");
        is_told(&listening, Offline, "no route").await;
        // The kernel says nothing of a route that goes with its interface.
        cable.on_device("route add default via 10.9.0.2");
        is_told(&listening, Online, "route").await;
        cable.unplug();
        is_told(&listening, Offline, "down").await;
        cable.plug();
        cable.on_device("route add default via 10.9.0.2");
        is_told(&listening, Online, "the same route").await;
    });
}

/// Bytes and packets both ways over the device's interface.
fn traffic() -> (u64, u64) {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix("wan:")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    (numbers[0] + numbers[8], numbers[1] + numbers[9])
}

#[test]
fn what_is_counted_is_at_least_what_goes_over_the_interface() {
    let cable = Cable::plugged();
    let port = serve(&cable);
    run(&cable, async || {
        let listening = monitor(Cable::HUB, port, Arc::new(SystemLinkEvents)).await;
        is_told(&listening, Online, "before").await;
        let (bytes, packets, counted) = (traffic().0, traffic().1, listening.status().bytes);
        for _ in 0..50 {
            listening.stop().await;
            listening.start().await;
            becomes(&listening, Online).await;
        }
        let counted = listening.status().bytes - counted;
        // Without the headers of Ethernet, which no carrier counts.
        let packets = traffic().1 - packets;
        let sent = traffic().0 - bytes - 14 * packets;
        println!("50 probes: {sent} bytes in {packets} packets, {counted} counted");
        assert!(packets >= 50 * 8, "{packets}");
        assert!(counted >= sent && counted <= sent * 2, "{sent} {counted}");
    });
}
