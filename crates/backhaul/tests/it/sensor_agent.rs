//! The agent that users are shown (`examples/sensor_agent.rs`) in the field: killed at any
//! moment, its network coming and going, for three weeks or for as long as is asked for.
//!
//! Its hub is a process behind a link that fails. The model on its device is a server of the
//! test that sees an alarm each time, so that each run has one message to the people on duty.
//! What is counted lies in the stores, and in what the agent said before it was killed.
//!
//! `BACKHAUL_SENSOR_WEEK=1` has a week with a round each minute in place of three with one in
//! two hours; `BACKHAUL_SENSOR_MINUTES` is how long the agent lives that is not killed.

mod clocked;
#[path = "../../examples/sensor_agent.rs"]
#[allow(dead_code, reason = "the example's `main`")]
mod example;
mod field;
mod process;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use self::clocked::{Clocked, DAY};
use self::field::{Field, Figures};
use crate::examples::program;
use crate::support::alone;

/// The example as it is, with no time between two rounds.
fn example(data_dir: &Path) -> Command {
    let mut command = alone(Command::new(program("sensor_agent")), &[]);
    command.arg(data_dir).arg("0");
    command
}

fn wanted(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn it_goes_on_after_a_kill_wherever_that_falls() {
    let mut field = Field::new(11);
    let kills = wanted("BACKHAUL_KILLS").unwrap_or(12);
    for _ in 0..kills {
        field.live_and_be_killed(&mut example);
    }
    let Figures { rounds, went_on, .. } = field.end(&mut example);
    assert!(rounds > kills && went_on > 0, "the kills hit nothing");
}

/// One life, whose memory, descriptors and disk have to stay as they are.
#[test]
fn it_works_through_outages_without_growing() {
    let mut field = Field::new(12);
    let minutes = wanted("BACKHAUL_SENSOR_MINUTES");
    field.live(Duration::from_secs(minutes.map_or(15, |minutes| 60 * minutes)), &mut example);
    assert!(field.outages > 0, "there was no outage");
    if minutes.is_some() {
        field.does_not_grow();
    }
    field.end(&mut example);
}

/// Days pass between rounds, clocks are wrong after a power cut, and what was delivered long
/// ago is forgotten.
#[test]
fn days_of_outages_and_kills_cost_nothing_and_leave_nothing_behind() {
    let week = wanted("BACKHAUL_SENSOR_WEEK").is_some();
    let (days, round) = if week { (7, DAY / 1440) } else { (21, DAY / 12) };
    let rounds = days * u64::try_from(DAY.as_micros() / round.as_micros()).unwrap();
    let mut field = Field::new(13);
    let mut device = Clocked::new(round);
    while field.rounds() < rounds {
        field.live_and_be_killed(&mut |data_dir| device.start(data_dir));
        device.next_boot(&mut field);
    }
    field.leaves_nothing_behind();
    field.end(&mut |data_dir| device.start(data_dir));
}
