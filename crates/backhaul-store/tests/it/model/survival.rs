//! Kills and power cuts: what has to survive them, and what may be gone.

use backhaul_store::Standing;
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, CrashStyle, Fault, Prng};

use super::item::Fate;
use super::outcome::{Outcome, ensure};
use super::run::Run;
use super::seen::Seen;

impl Run<'_> {
    pub(super) fn records_are_durable(&mut self) {
        self.items.values_mut().for_each(|item| item.durable |= !item.orphaned);
    }

    pub(super) fn ledger_is_durable(&mut self) {
        self.items.values_mut().for_each(|item| item.settled = true);
    }

    /// The process ends without a word: what it still does no longer reaches the disk.
    pub(super) fn die(&mut self) {
        Seen::add(&self.seen.kills, 1);
        self.disk.kill_process();
        self.faults.add(Fault::any(&Call::ALL, EIO));
        self.close();
    }

    pub(super) fn power_cut(&mut self, seed: u64) -> Outcome {
        Seen::add(&self.seen.power_cuts, 1);
        let mut random = Prng::new(seed);
        let style = CrashStyle::random(&mut random);
        self.disk.kill_process();
        self.faults.add(Fault::any(&Call::ALL, EIO));
        self.disk.power_cut(&mut random, &style);
        self.close();
        self.clock.reboot();
        self.open()?;
        self.resynchronise().map_err(|why| format!("after a power cut, {style:?}: {why}"))?;
        self.check_ends()?;
        // What was found is durable by now, whatever it was before.
        self.items.values_mut().for_each(|item| item.orphaned = false);
        self.records_are_durable();
        self.ledger_is_durable();
        Ok(())
    }

    /// After opening: no place of a record is given again. The place of one that a
    /// power cut took may be.
    pub(super) fn check_ends(&mut self) -> Outcome {
        let ends = self.ends()?;
        for (lane, sequence) in self.items.keys() {
            let next = ends.get(lane).copied().unwrap_or(1);
            ensure!(*sequence < next, "{lane}/{sequence} is there, and {next} is given next");
        }
        ensure!(
            ends == self.next || self.lost > 0,
            "{ends:?} are given next, the model has {:?}",
            self.next
        );
        self.next = ends;
        Ok(())
    }

    /// Takes over what the power cut changed, where it was allowed to.
    fn resynchronise(&mut self) -> Outcome {
        let (waiting, failed) = (self.list(Standing::Pending)?, self.list(Standing::Failed)?);
        let mut gone = Vec::new();
        let (mut again, mut lost) = (0, 0);
        for (place, item) in &mut self.items {
            match (item.fate, waiting.get(place)) {
                (Fate::Waiting, None) => {
                    ensure!(!item.durable, "{place:?} was acknowledged and is lost");
                    gone.push(*place);
                    lost += 1;
                }
                (Fate::Delivered | Fate::Duplicate | Fate::Expired, Some(_)) => {
                    ensure!(!item.settled, "{place:?} was {:?}, and waits again", item.fate);
                    item.fate = Fate::Waiting;
                    again += 1;
                }
                _ => {}
            }
            if let (Fate::Waiting, Some(entry)) = (item.fate, waiting.get(place)) {
                item.forget_tries(entry).map_err(|why| format!("{place:?}: {why}"))?;
            }
            if let Some(entry) = waiting.get(place).or(failed.get(place)) {
                item.carry(entry.age, &self.clock).map_err(|why| format!("{place:?}: {why}"))?;
            }
        }
        gone.iter().for_each(|place| drop(self.items.remove(place)));
        self.lost += lost;
        Seen::add(&self.seen.waiting_again, again);
        Seen::add(&self.seen.relaxed_lost, gone.len());
        Ok(())
    }
}
