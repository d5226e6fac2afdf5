//! `docs/fleet.md`, with its curves.

use super::chart::{Curve, Diagram, svg};
use super::figures::{Figures, Second};
use super::plan::{HubKind, Plan};
use super::world::{self, MOST_IDEALS};

/// Points of a curve over the whole time.
const COLUMNS: usize = 380;
/// Seconds that are shown one by one.
const FIRST: usize = 120;
const BLUE: &str = "#1f5fa8";
const ORANGE: &str = "#c8641e";

pub(super) struct Page {
    pub(super) text: String,
    pub(super) chart: String,
}

impl Page {
    pub(super) fn of(at_once: &Plan, spread_out: &Plan) -> Self {
        let [first, second] = [at_once, spread_out].map(world::run);
        let rows = [
            row("at once", &first),
            row(&format!("`fleet_spread_seconds` {}", spread_out.spread.as_secs()), &second),
            row(
                "at once; a tenth of the devices ignores `Retry-After` and comes every 1 to 5 s",
                &world::run(&Plan { rude: 0.1, ..at_once.clone() }),
            ),
            row(
                "*without admission*",
                &world::run(&Plan { hub: HubKind::Open, ..at_once.clone() }),
            ),
            row(
                "*a plain limit: `Retry-After: 30` for all, no jitter*",
                &world::run(&Plan { hub: HubKind::Limit, jitter: false, ..at_once.clone() }),
            ),
        ];
        Self {
            text: text(at_once, [&first, &second], &rows.join("\n")),
            chart: chart(&first, &second),
        }
    }
}

fn text(plan: &Plan, [figures, spread_out]: [&Figures; 2], rows: &str) -> String {
    let Plan { devices, batch_size, .. } = plan;
    let hours = plan.outage.as_secs_f64() / 3600.0;
    let every = plan.record_every.as_secs_f64();
    let capacity = figures.capacity;
    let ideal = figures.ideal.as_secs_f64() / 3600.0;
    let most_requests = figures.most_requests();
    let [refused, refused_if_spread] =
        [figures, spread_out].map(|figures| figures.refused_share() * 100.0);
    let needed = 1.0 / figures.refused_share();
    format!(
        "# A fleet comes back

`scripts/fleet` writes this page; nothing here is written by hand. {devices} simulated devices make a record every {every} s each, and lose their link
for {hours:.1} hours; all links come back within the same second. The hub stores {capacity} records a second
(`serve --records-per-second {capacity}`), twice what the fleet makes. A simulated clock drives the code that the hub and the courier
run: `hub/admission.rs` whole, and of the courier what decides when it tries again and how much it then sends (`sync_manager/outage.rs` and
`pace.rs`, batches of up to {batch_size}). An exchange takes 20 to 200 ms. The ideal, {ideal:.2} hours, is a hub that is never idle before all
have drained, while the devices go on making records.

| the fleet comes back | most stored in one second / capacity | until all had drained / ideal | refused requests | records sent in vain | most requests in one second |
|---|---|---|---|---|---|
{rows}

- **Peak** counts the records that begin to be stored in a second, from one full second to the next. At most 1.5 is asked for: found is one batch above 1.
- **Requests** are all, refused ones too, and they peak far above the bound for stored records: {most_requests} in one second. Without a spread each device
  tries at once, since a link may not last: the first second sees one request of one record from each, and almost all are refused before their bodies
  are read. From then on nobody comes without having been told when. Who cannot bear the first second sets a spread.
- **Refused** are {refused:.1} % of the requests, and {refused_if_spread:.1} % with the spread. That is above the 1 % that was aimed at. A device cannot know
  when its turn is before it has asked: nearly each is refused once, and told, and needs some {needed:.0} requests in all. A spread that is short beside
  the draining spares few of them that. What it costs is one head and one answer of each device; the column beside it says how few records went in vain.
- **Drained**: each device has had nothing waiting at some moment. At most 1.3 is asked for. A part of the time (1/40) is promised to nobody, so that a lost second does not push
  others back for ever; and near the end devices come with fewer records than they had time for.
- A spread that is as long as the draining itself only makes it longer: its last devices begin when the others are done.
- The rows in italics are there to fail: the tests see that they do.

![curves](fleet.svg)
"
    )
}

fn row(name: &str, figures: &Figures) -> String {
    let time = match figures.drained {
        Some(_) => format!("{:.2}", figures.time()),
        None => format!("not after {MOST_IDEALS}"),
    };
    format!(
        "| {name} | {:.2} | {time} | {:.1} % | {:.2} % | {} |",
        figures.peak(),
        figures.refused_share() * 100.0,
        figures.records_in_vain() * 100.0,
        figures.most_requests()
    )
}

fn chart(at_once: &Figures, spread_out: &Figures) -> String {
    let curve = |name, colour, points| Curve { name, colour, points };
    let stored = [
        curve("with fleet_spread_seconds", ORANGE, highest(spread_out)),
        curve("at once", BLUE, highest(at_once)),
    ];
    let requests = [
        curve("all requests", ORANGE, first(at_once, |second| second.requests)),
        curve("refused", BLUE, first(at_once, |second| second.refused)),
    ];
    let hours = |figures: &Figures| figures.seconds.len() as f64 / 3600.0;
    svg(&[
        Diagram {
            title: "Records stored in a second / capacity: the highest second of each minute or so",
            unit_of_time: "h",
            longest: hours(at_once).max(hours(spread_out)),
            highest: 2.0,
            bounds: &[(1.0, ""), (1.5, "bound")],
            curves: &stored,
        },
        Diagram {
            title: "At once: requests in each of the first seconds (cut off at 500)",
            unit_of_time: "s",
            longest: FIRST as f64,
            highest: 500.0,
            bounds: &[],
            curves: &requests,
        },
    ])
}

/// The highest second of each column, over the capacity.
fn highest(figures: &Figures) -> Vec<(f64, f64)> {
    let seconds = figures.seconds.len().div_ceil(COLUMNS);
    let columns = figures.seconds.chunks(seconds).enumerate();
    columns
        .map(|(index, column)| {
            let most = column.iter().map(|second| second.stored).max().unwrap_or(0);
            let share = f64::from(most) / f64::from(figures.capacity);
            ((index * seconds) as f64 / 3600.0, share.min(2.0))
        })
        .collect()
}

fn first(figures: &Figures, count: fn(&Second) -> u32) -> Vec<(f64, f64)> {
    let seconds = figures.seconds.iter().take(FIRST).enumerate();
    seconds.map(|(index, second)| (index as f64, f64::from(count(second)).min(500.0))).collect()
}
