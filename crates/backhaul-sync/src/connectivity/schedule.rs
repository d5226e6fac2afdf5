//! When to look next.
//!
//! A link that is fine is looked at less and less often, one in doubt soon and then less
//! often too. Traffic that gets through stands for a look. An alarm asks for one at once:
//! the network changed, or traffic contradicts the state. There are machines whose network
//! changes all the time, and hubs that are down for days: so alarms have a credit.

use std::time::Duration;

use super::credit::Credit;
use crate::backoff::Backoff;

/// A change of the network comes as several events within milliseconds; one look is for all.
const GATHER: Duration = Duration::from_millis(50);
/// A network that comes up tells of a carrier, addresses and routes one by one: looks for
/// two of those at once. Afterwards 8,640 a day, 30 MB, if it never rests.
const NETWORK_ALARMS: (Duration, u32) = (Duration::from_secs(10), 10);
/// Looks cut short in a row: where changes never end, some look comes to its end.
const MOST_CUT_SHORT: u32 = 4;
/// A second look at once. Afterwards one in each interval.
const TRAFFIC_ALARMS: u32 = 2;

#[derive(Debug)]
pub(super) struct Schedule {
    /// Waits while the link is in doubt or down.
    doubt: Backoff,
    /// Waits while it is fine.
    calm: Backoff,
    due: Option<Duration>,
    /// The alarm that asked for the look that is due.
    alarm: Option<Alarm>,
    is_looking: bool,
    /// Looks in a row that were.
    cut_short: u32,
    doubts: u32,
    calms: u32,
    network: Credit,
    traffic: Credit,
}

#[derive(Debug, Clone, Copy)]
enum Alarm {
    Network,
    Traffic,
}

impl Schedule {
    pub(super) fn new(doubt: Backoff, calm: Backoff) -> Self {
        let (price, at_once) = NETWORK_ALARMS;
        Self {
            doubt,
            calm,
            due: None,
            alarm: None,
            is_looking: false,
            cut_short: 0,
            doubts: 0,
            calms: 0,
            network: Credit::new(price, at_once),
            traffic: Credit::new(doubt.max, TRAFFIC_ALARMS),
        }
    }

    /// When the next look is due. A look that is under way then is to be cut short.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Starts anew: a look at once.
    pub(super) fn restart(&mut self, now: Duration) {
        self.pause();
        self.due = Some(now);
    }

    /// No look is due or under way any more. What alarms have used up stays so.
    pub(super) fn pause(&mut self) {
        let (network, traffic) = (self.network, self.traffic);
        *self = Self { network, traffic, ..Self::new(self.doubt, self.calm) };
    }

    /// A look begins.
    pub(super) fn begin(&mut self, now: Duration) {
        if std::mem::replace(&mut self.is_looking, true) {
            self.cut_short = self.cut_short.saturating_add(1);
        }
        self.due = None;
        match self.alarm.take() {
            Some(Alarm::Network) => self.network.spend(now),
            Some(Alarm::Traffic) => self.traffic.spend(now),
            None => {}
        }
    }

    /// A look came to its end.
    pub(super) fn ended(&mut self, now: Duration, is_calm: bool) {
        (self.is_looking, self.cut_short) = (false, 0);
        let wait = if is_calm { self.next_calm() } else { self.next_doubt() };
        self.bring_forward(now.saturating_add(wait), None);
    }

    /// The network changed. Where nothing got through before, a look that is under way may
    /// be stuck in a network that is no more: it is cut short. Gives whether there is a look
    /// at once.
    pub(super) fn network_changed(&mut self, now: Duration, is_online: bool) -> bool {
        if self.is_looking && (is_online || self.cut_short >= MOST_CUT_SHORT) {
            return false;
        }
        if self.network.is_ample(now) {
            (self.doubts, self.calms) = (0, 0);
        }
        let soon = now.saturating_add(GATHER);
        self.bring_forward(self.network.since().max(soon), Some(Alarm::Network));
        self.network.since() <= soon
    }

    /// Traffic contradicts the state.
    pub(super) fn suspect(&mut self, now: Duration) {
        if !self.is_looking {
            self.bring_forward(self.traffic.since().max(now), Some(Alarm::Traffic));
        }
    }

    /// Traffic got through where it was to be expected: the next look can wait.
    pub(super) fn put_off(&mut self, now: Duration) {
        self.doubts = 0;
        self.alarm = None;
        let wait = self.calm.delay(self.calms.saturating_sub(1));
        // The end of a look that is under way says when the next is due.
        self.due = (!self.is_looking).then(|| now.saturating_add(wait));
    }

    fn next_calm(&mut self) -> Duration {
        self.doubts = 0;
        let wait = self.calm.delay(self.calms);
        self.calms = self.calms.saturating_add(1);
        wait
    }

    fn next_doubt(&mut self) -> Duration {
        self.calms = 0;
        let wait = self.doubt.delay(self.doubts);
        self.doubts = self.doubts.saturating_add(1);
        wait
    }

    fn bring_forward(&mut self, at: Duration, alarm: Option<Alarm>) {
        if self.due.is_none_or(|due| at < due) {
            (self.due, self.alarm) = (Some(at), alarm);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// From 1 s to 30 s in doubt, from 30 s to 300 s in calm; a look is due at once.
    fn schedule() -> Schedule {
        let waits = |initial, max| Backoff {
            initial: seconds(initial),
            max: seconds(max),
            jitter: 0.0,
            ..Backoff::default()
        };
        let mut schedule = Schedule::new(waits(1, 30), waits(30, 300));
        schedule.restart(seconds(0));
        schedule
    }

    /// A look that takes no time; gives the wait until the next.
    fn look(schedule: &mut Schedule, is_calm: bool) -> u64 {
        let now = schedule.due().unwrap();
        schedule.begin(now);
        assert_eq!(schedule.due(), None);
        schedule.ended(now, is_calm);
        (schedule.due().unwrap() - now).as_secs()
    }

    /// Looks that take a time each, during which and between which alarms never end: how
    /// many began, and how many came to their end, in 600 s.
    fn looks_of(
        alarm: fn(&mut Schedule, Duration),
        takes: Duration,
        is_calm: bool,
    ) -> (usize, usize) {
        let (mut schedule, mut ends) = (schedule(), None);
        let (mut begun, mut ended) = (0, 0);
        for step in 0..60_000 {
            let now = Duration::from_millis(10 * step);
            if ends.is_some_and(|at| at <= now) {
                schedule.ended(now, is_calm);
                ended += 1;
                ends = None;
            }
            alarm(&mut schedule, now);
            if schedule.due().is_some_and(|due| due <= now) {
                schedule.begin(now);
                begun += 1;
                ends = Some(now + takes);
            }
        }
        (begun, ended)
    }

    #[test]
    fn a_link_that_is_fine_is_looked_at_less_and_less_often() {
        let mut schedule = schedule();
        let waits: Vec<u64> = (0..6).map(|_| look(&mut schedule, true)).collect();
        assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
        assert_eq!(look(&mut schedule, false), 1, "in doubt, soon");
        assert_eq!(look(&mut schedule, true), 30, "and then from the beginning");
    }

    #[test]
    fn a_link_that_is_down_is_looked_at_up_to_once_an_interval() {
        let mut schedule = schedule();
        let waits: Vec<u64> = (0..7).map(|_| look(&mut schedule, false)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_change_of_the_network_has_it_looked_at_at_once_and_soon_again() {
        let mut schedule = schedule();
        while look(&mut schedule, false) < 30 {}
        let now = schedule.due().unwrap() - seconds(10);
        schedule.network_changed(now, false);
        schedule.network_changed(now + GATHER / 2, false);
        assert_eq!(schedule.due(), Some(now + GATHER), "one look for both");
        assert_eq!(look(&mut schedule, false), 1);
    }

    #[test]
    fn each_step_of_a_network_that_comes_up_has_it_looked_at_at_once() {
        let mut schedule = schedule();
        let mut now = seconds(1000);
        for step in 0..10 {
            schedule.restart(now);
            schedule.begin(now);
            schedule.ended(now, false);
            schedule.network_changed(now, false);
            assert_eq!(schedule.due(), Some(now + GATHER), "{step}");
            look(&mut schedule, false);
            now += 2 * GATHER;
        }
        schedule.network_changed(now, false);
        assert!(schedule.due().unwrap() > now + GATHER, "and then more are too many");
    }

    #[test]
    fn a_look_that_may_be_stuck_is_cut_short_and_one_of_a_link_that_is_fine_is_not() {
        let mut schedule = schedule();
        schedule.begin(seconds(0));
        schedule.network_changed(seconds(1), true);
        schedule.suspect(seconds(1));
        assert_eq!(schedule.due(), None);
        schedule.network_changed(seconds(1), false);
        assert_eq!(schedule.due(), Some(seconds(1) + GATHER));
        schedule.ended(seconds(1), true);
        assert_eq!(schedule.due(), Some(seconds(1) + GATHER), "whatever it came to");
    }

    #[test]
    fn alarms_that_never_end_have_it_looked_at_once_in_a_while() {
        let offline: fn(&mut Schedule, Duration) = |it, now| _ = it.network_changed(now, false);
        let online: fn(&mut Schedule, Duration) = |it, now| _ = it.network_changed(now, true);
        let suspect: fn(&mut Schedule, Duration) = |it, now| it.suspect(now);
        for (what, alarm, takes, is_calm, most) in [
            ("offline", offline, seconds(0), false, 600 / 10 + 10 + 5),
            ("offline and slow", offline, seconds(25), false, 600 / 10 + 10),
            ("online", online, seconds(0), true, 600 / 10 + 10),
            ("online and slow", online, seconds(2), true, 600 / 10 + 10),
            ("suspicion", suspect, seconds(0), true, 600 / 30 + 2),
        ] {
            let (begun, ended) = looks_of(alarm, takes, is_calm);
            assert!((20..=most).contains(&begun), "{what}: {begun} in 600 s");
            assert!(begun <= (ended + 1) * 5, "{what}: {ended} of {begun} came to an end");
        }
    }

    #[test]
    fn alarms_count_again_after_a_rest() {
        let mut schedule = schedule();
        let mut now = seconds(0);
        for _ in 0..20 {
            schedule.suspect(now);
            now = schedule.due().unwrap();
            look(&mut schedule, true);
        }
        schedule.suspect(now + seconds(1));
        assert!(schedule.due().unwrap() >= now + seconds(29));
        now += seconds(90);
        schedule.put_off(now);
        schedule.suspect(now);
        assert_eq!(schedule.due(), Some(now));
    }

    #[test]
    fn traffic_that_gets_through_puts_the_look_off() {
        let mut schedule = schedule();
        look(&mut schedule, true);
        look(&mut schedule, true);
        for second in [31, 50, 80] {
            schedule.put_off(seconds(second));
            assert_eq!(schedule.due(), Some(seconds(second + 60)));
        }
        schedule.begin(seconds(140));
        schedule.put_off(seconds(140));
        assert_eq!(schedule.due(), None, "a look under way goes on");
    }
}
