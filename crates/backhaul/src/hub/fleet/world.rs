//! A whole fleet and its hub, moved from event to event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use backhaul_testkit::Prng;

use super::super::admission::{Admission, Told};
use super::device::Device;
use super::figures::Figures;
use super::plan::{HubKind, Plan};

/// What the sabotaged hub tells all that it refuses.
const SAME_FOR_ALL: Duration = Duration::from_secs(30);

/// A fleet that needs so many times the ideal time is not waited for.
pub(super) const MOST_IDEALS: u32 = 3;

/// The devices' links come back within the same second, and the fleet drains.
pub(super) fn run(plan: &Plan) -> Figures {
    World::new(plan).run()
}

struct World<'a> {
    plan: &'a Plan,
    devices: Vec<Device>,
    admission: Admission,
    /// When each device comes next. The number keeps those of one moment in order.
    coming: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    events: u64,
    /// Devices that have not sent all they had yet.
    behind: Vec<bool>,
    figures: Figures,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut lots = Prng::new(plan.seed);
        let devices: Vec<Device> =
            (0..plan.devices).map(|_| Device::new(plan, &mut lots)).collect();
        let backlog = devices.iter().map(|device| device.made(plan, plan.outage)).sum();
        let mut world = Self {
            plan,
            admission: Admission::new(plan.capacity()),
            coming: BinaryHeap::new(),
            events: 0,
            behind: vec![true; devices.len()],
            figures: Figures::new(plan, backlog),
            devices,
        };
        for index in 0..world.devices.len() {
            let up = plan.outage + Duration::from_nanos(lots.below(1_000_000_000));
            let at = world.devices[index].link_is_up(up);
            world.comes(at, index);
        }
        world
    }

    fn comes(&mut self, at: Duration, device: usize) {
        self.events += 1;
        self.coming.push(Reverse((at, self.events, device)));
    }

    fn run(mut self) -> Figures {
        let end = self.plan.outage + self.figures.ideal * MOST_IDEALS;
        while self.figures.drained.is_none()
            && let Some(Reverse((now, _, index))) = self.coming.pop()
        {
            if now > end {
                break;
            }
            let at = self.step(now, index);
            self.comes(at, index);
        }
        self.figures
    }

    /// A device comes; gives when it comes next.
    fn step(&mut self, now: Duration, index: usize) -> Duration {
        let plan = self.plan;
        let device = &mut self.devices[index];
        let records = device.batch(plan, now);
        if records == 0 {
            return device.next_record(plan, now);
        }
        let since = now - plan.outage;
        let told = match plan.hub {
            HubKind::Admission => {
                let next = device.next_batch(plan, now, records);
                self.admission.ask(now, device.sender(), records, next)
            }
            HubKind::Open => Told::Store { after: Duration::ZERO, next: None },
            HubKind::Limit if self.figures.stored_at(since) < plan.capacity().get() => {
                Told::Store { after: Duration::ZERO, next: None }
            }
            HubKind::Limit => Told::Come { after: SAME_FOR_ALL },
        };
        self.figures.asked(since);
        match told {
            Told::Come { after } => {
                self.figures.refused(since, records);
                device.told(plan, now, whole_seconds(after))
            }
            Told::Store { after, next } => {
                let now = now + after;
                self.figures.stored(now - plan.outage, records);
                let next = device.stored(plan, now, records, next.map(whole_seconds));
                if self.behind[index] && device.delivered == device.made(plan, now) {
                    self.behind[index] = false;
                    self.figures.one_drained(now - plan.outage);
                }
                next
            }
        }
    }
}

/// As a header says it.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}
