//! The table: medians over rounds, and ratios taken within each round.

use std::collections::BTreeMap;
use std::fmt;

use crate::engines::{ALL, Engine, Measured};

#[derive(Default)]
pub struct Table {
    rounds: BTreeMap<(u64, Engine), Measured>,
}

impl Table {
    pub fn add(&mut self, round: u64, measured: (Engine, Measured)) {
        self.rounds.insert((round, measured.0), measured.1);
    }

    fn column(&self, engine: Engine, value: fn(&Measured) -> f64) -> Spread {
        spread(
            self.rounds
                .iter()
                .filter(|((_, of), _)| *of == engine)
                .map(|(_, m)| value(m))
                .collect(),
        )
    }

    /// Ratio of two engines' rates within each round.
    fn ratio(&self, ours: Engine, peer: Engine) -> Spread {
        let ratios =
            self.rounds.iter().filter(|((_, of), _)| *of == ours).filter_map(|((round, _), m)| {
                Some(m.rate / self.rounds.get(&(*round, peer))?.rate)
            });
        spread(ratios.collect())
    }
}

/// The lowest, the median and the highest round.
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

pub fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    Spread { low: at(0), median: at(values.len() / 2), high: at(values.len().saturating_sub(1)) }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| engine | producers | acknowledged records/s: median (low to high) | p50 / p99 us | flushes/record | block bytes/record | CPU s/100k | peak MB |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for engine in ALL {
            let rate = self.column(engine, |m| m.rate);
            writeln!(
                f,
                "| {} | {} | {:.0} ({:.0} to {:.0}) | {:.0} / {:.0} | {:.3} | {:.0} | {:.2} | {:.1} |",
                engine.name(),
                engine.producers(),
                rate.median,
                rate.low,
                rate.high,
                self.column(engine, |m| m.p50_us).median,
                self.column(engine, |m| m.p99_us).median,
                self.column(engine, |m| m.flushes).median,
                self.column(engine, |m| m.block_bytes).median,
                self.column(engine, |m| m.cpu_per_100k).low,
                self.column(engine, |m| m.peak_mb).median,
            )?;
        }
        writeln!(f, "\n| ratio of rates within a round | median (low to high) |\n|---|---|")?;
        for (ours, peer) in crate::engines::PAIRS {
            let ratio = self.ratio(ours, peer);
            writeln!(
                f,
                "| backhaul / {}, {} producers | {:.2} ({:.2} to {:.2}) |",
                peer.name(),
                ours.producers(),
                ratio.median,
                ratio.low,
                ratio.high
            )?;
        }
        Ok(())
    }
}
