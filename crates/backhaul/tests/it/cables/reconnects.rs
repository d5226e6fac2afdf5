//! How soon after link-up the first byte of a delivery is at the hub.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backhaul::sync::Connectivity::{Offline, Online};
use backhaul_testkit::Cable;

use super::{PATIENCE, Setup, World, run, sleep};

/// Stands before a hub on its machine, and tells when the first byte of each connection came.
/// Gives its port.
fn doorkeeper(cable: &Cable, hub: u16) -> (u16, Arc<Mutex<Receiver<Instant>>>) {
    let (sender, arrivals) = channel();
    let listener = cable.with_hub(|| TcpListener::bind("0.0.0.0:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    // Threads of the hub's machine, where its address is.
    cable.with_hub(|| {
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                std::thread::spawn(move || pass_on(stream?, hub, &sender));
            }
        });
    });
    (port, Arc::new(Mutex::new(arrivals)))
}

fn pass_on(mut device: TcpStream, hub: u16, arrivals: &Sender<Instant>) -> io::Result<()> {
    let mut first = [0];
    device.read_exact(&mut first)?;
    let _ = arrivals.send(Instant::now());
    let mut hub = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], hub)))?;
    hub.write_all(&first)?;
    let (mut answers, mut back) = (hub.try_clone()?, device.try_clone()?);
    std::thread::spawn(move || io::copy(&mut answers, &mut back));
    io::copy(&mut device, &mut hub)?;
    Ok(())
}

/// Links a device up some times, with a record that waits, and gives how long it took each
/// time until the first byte of it was at the hub; sorted. `None`: it never came.
fn reconnects(
    cable: Cable,
    times: usize,
    set_up: fn(Setup) -> Setup,
    patience: Duration,
) -> Option<Vec<Duration>> {
    cable.address();
    let mut world = World::new(cable);
    let cable = Arc::clone(&world.cable);
    let (door, arrivals) = doorkeeper(&cable, world.port());
    let mut setup = set_up(Setup::of(Cable::HUB, world.port()).by_events_alone());
    setup.hub.set_port(door);
    let took = run(&cable, async || {
        let device = setup.start(&world.queue).await;
        let mut took = Vec::new();
        for _ in 0..times {
            device.is(Offline).await;
            world.enqueue(1, 500);
            let up = Instant::now();
            cable.plug();
            let waited = tokio::task::spawn_blocking({
                let arrivals = Arc::clone(&arrivals);
                move || arrivals.lock().unwrap().recv_timeout(patience)
            });
            let Ok(first_byte) = waited.await.unwrap() else { return None };
            took.push(first_byte.duration_since(up));
            device.has_left(0).await;
            device.is(Online).await;
            // A check under way would have to time out first.
            while device.monitor.status().next_probe_at.is_none() {
                sleep(Duration::from_millis(2)).await;
            }
            cable.unplug();
        }
        device.stop().await;
        took.sort();
        Some(took)
    });
    world.check().unwrap();
    took
}

/// What is promised.
const PROMISED: Duration = Duration::from_millis(500);

#[test]
fn the_first_byte_is_at_the_hub_within_half_a_second_of_link_up() {
    let took = reconnects(Cable::new(), 7, |setup| setup, PATIENCE).unwrap();
    println!("first byte after link-up: {took:?}");
    assert!(took[took.len() / 2] <= PROMISED, "{took:?}");
}

#[test]
fn a_round_trip_of_300_ms_and_a_half_is_all_that_a_long_link_adds() {
    let cable = Cable::long(Duration::from_millis(150));
    cable.shape_device("tbf rate 1mbit burst 4kb limit 60kb");
    cable.shape_hub("tbf rate 1mbit burst 4kb limit 60kb");
    let took = reconnects(cable, 5, |setup| setup, PATIENCE).unwrap();
    println!("first byte after link-up, 300 ms round trip: {took:?}");
    // To connect, and to send.
    assert!(took[0] >= Duration::from_millis(450), "{took:?}");
    assert!(took[took.len() / 2] <= Duration::from_millis(450) + PROMISED, "{took:?}");
}

#[test]
fn a_monitor_that_hears_no_events_does_not_notice_that_the_link_is_up() {
    let patience = Duration::from_secs(3);
    assert_eq!(reconnects(Cable::new(), 1, Setup::deaf, patience), None);
}
