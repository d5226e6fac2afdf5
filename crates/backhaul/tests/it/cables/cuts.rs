//! The link goes in the middle of a drain, and comes back.

use std::time::Duration;

use backhaul_testkit::{Cable, Differences};

use super::{Setup, World, run, sleep};

const RECORDS: usize = 240;
/// Something that is done to a cable.
type Act = fn(&Cable);
/// Answers vanish, and nobody is told: no packet is as small.
const SWALLOW: &str = "bfifo limit 1";
const PASS: &str = "pfifo";

/// A drain over a link of 2 Mbit/s that goes twice, for as long as it takes.
fn drains(mut world: World, host: &str, down: Act, up: Act) -> Result<(), Differences> {
    world.cable.shape_device("tbf rate 2mbit burst 4kb limit 60kb");
    world.enqueue(RECORDS, 2000);
    let World { cable, queue, .. } = &world;
    let mut setup = Setup::of(host, world.port());
    // A request fits into what TCP sends before it is answered.
    setup.sync.batch_size = Some(4);
    run(cable, async || {
        let device = setup.start(queue).await;
        for left in [200, 130] {
            device.has_left(left).await;
            down(cable);
            sleep(Duration::from_millis(1200)).await;
            assert!(device.pending() > 0, "it was over too soon");
            up(cable);
        }
        device.has_left(0).await;
        device.stop().await;
    });
    world.check().map(drop)
}

#[test]
fn an_interface_that_goes_down_and_up_in_a_drain_loses_and_repeats_nothing() {
    let world = World::new(Cable::plugged());
    drains(world, Cable::HUB, Cable::unplug, Cable::plug).unwrap();
}

#[test]
fn a_plug_that_is_pulled_at_the_other_end_in_a_drain_loses_and_repeats_nothing() {
    let (down, up): (Act, Act) =
        (|cable| cable.on_hub("link set lan down"), |cable| cable.on_hub("link set lan up"));
    drains(World::new(Cable::plugged()), Cable::HUB, down, up).unwrap();
}

#[test]
fn a_default_route_that_goes_and_comes_in_a_drain_loses_and_repeats_nothing() {
    let (down, up): (Act, Act) = (
        |cable| cable.on_device("route del default"),
        |cable| cable.on_device("route add default via 10.9.0.2"),
    );
    let world = World::new(Cable::plugged());
    up(&world.cable);
    drains(world, Cable::BEYOND, down, up).unwrap();
}

#[test]
fn another_address_in_a_drain_loses_and_repeats_nothing() {
    let (down, up): (Act, Act) = (
        |cable| cable.on_device("addr flush dev wan"),
        |cable| cable.on_device("addr add 10.9.0.9/24 dev wan"),
    );
    drains(World::new(Cable::plugged()), Cable::HUB, down, up).unwrap();
}

#[test]
fn answers_that_vanish_without_a_word_in_a_drain_cost_no_record_and_repeat_none() {
    let (down, up): (Act, Act) = (|cable| cable.shape_hub(SWALLOW), |cable| cable.shape_hub(PASS));
    drains(World::new(Cable::plugged()), Cable::HUB, down, up).unwrap();
}

#[test]
fn the_oracle_notices_a_hub_that_stores_twice_what_was_sent_twice() {
    // The answers to what is under way are lost, and the device gives it up.
    let (down, up): (Act, Act) = (
        |cable| {
            cable.shape_hub(SWALLOW);
            std::thread::sleep(Duration::from_millis(1000));
            cable.unplug();
            cable.shape_hub(PASS);
        },
        Cable::plug,
    );
    let world = World::with_hub(Cable::plugged(), &["--sabotage-dedupe"]);
    let wrong = drains(world, Cable::HUB, down, up).unwrap_err();
    assert!(wrong.to_string().contains("arrived 2 times"), "{wrong}");
}
