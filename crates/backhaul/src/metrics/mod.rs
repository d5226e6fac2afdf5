//! What is measured, under which names. Described in `docs/operating.md` too.

mod page;

use std::collections::BTreeMap;
use std::fmt::Display;

use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE as HEADER;
use backhaul_store::{Books, Status, Timestamp};
use backhaul_sync::{BandwidthStatus, SyncManager, SyncStatus};

pub(crate) use self::page::Page;
use crate::model_report::ModelReport;
use crate::offline::OutageReport;

/// The header of an answer with a page.
pub(crate) const CONTENT_TYPE: [(HeaderName, &str); 1] =
    [(HEADER, "text/plain; version=0.0.4; charset=utf-8")];

/// A family of values.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident $kind:ident $name:literal $help:literal;)*) => {
        $(pub(crate) const $constant: Metric =
            Metric { name: $name, kind: stringify!($kind), help: $help };)*
        /// All there are.
        #[cfg(test)]
        const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    SPOOL_RECORDS gauge "backhaul_spool_records" "Records by lane and by what became of them.";
    SPOOL_ACCEPTED counter "backhaul_spool_accepted_total" "Records that were acknowledged.";
    SPOOL_OLDEST_AGE gauge "backhaul_spool_oldest_age_seconds" "Age of the oldest waiting record; 0 while none waits.";
    SPOOL_BYTES gauge "backhaul_spool_bytes" "Bytes on disk of the spool's folder.";
    SPOOL_CAP_BYTES gauge "backhaul_spool_cap_bytes" "Bytes that the spool's folder may take.";
    SPOOL_HIGH_WATER gauge "backhaul_spool_high_water" "1 while a limit is close: cap, free_bytes or free_inodes.";
    SPOOL_TROUBLE gauge "backhaul_spool_trouble" "1 while the spool cannot store records.";
    SPOOL_OVERSIZED gauge "backhaul_spool_oversized_records" "Waiting records that are larger than the data cap ever allows.";
    SPOOL_UNKNOWN gauge "backhaul_spool_unknown_records" "Calls of tools that wait for somebody to say whether they were done.";
    SPOOL_QUARANTINED gauge "backhaul_spool_quarantined_files" "Damaged pieces that were set aside.";
    SYNC_ONLINE gauge "backhaul_sync_online" "1 if there is a link, as far as it is known.";
    SYNC_PAUSED gauge "backhaul_sync_paused" "1 while the destination is paused until somebody acts.";
    SYNC_RUNNING gauge "backhaul_sync_running" "1 while a batch is under way.";
    SYNC_LAST_SUCCESS gauge "backhaul_sync_last_success_timestamp_seconds" "When records were last delivered.";
    SYNC_NEXT_ATTEMPT gauge "backhaul_sync_next_attempt_timestamp_seconds" "When the next attempt is due.";
    LINK_CHECKS counter "backhaul_link_checks_total" "Checks whether there is a link.";
    LINK_CHECK_BYTES counter "backhaul_link_check_bytes_total" "Bytes that these checks put on the wire, both ways.";
    FAILING_RULES gauge "backhaul_failing_rules" "Rules of what goes first that fail, and count 0 where they do.";
    BUDGET_USED gauge "backhaul_budget_used_bytes" "Bytes of the data cap that are used.";
    BUDGET_LIMIT gauge "backhaul_budget_limit_bytes" "The data cap.";
    BUDGET_LEFT gauge "backhaul_budget_left_bytes" "Bytes that are left of the data cap, by the kind of traffic.";
    OUTAGE gauge "backhaul_outage" "1 while an outage that was asked for lasts.";
    MODEL_ASKED gauge "backhaul_model_asked" "1 while a model is asked, 0 while it is left alone.";
    MODEL_CREDENTIALS gauge "backhaul_model_credentials_refused" "1 while a model's server does not take the key.";
    MODEL_ANSWERS counter "backhaul_model_answers_total" "Calls that a model has answered.";
    MODEL_FAILURES counter "backhaul_model_failures_total" "Tries of a model that failed.";
    HUB_ACCEPTED counter "backhaul_hub_accepted_total" "Records that were received and stored since the start.";
    HUB_DUPLICATES counter "backhaul_hub_duplicates_total" "Records that were received and here already.";
    ADMISSION_BACKLOG gauge "backhaul_admission_backlog_seconds" "For how long ahead refused senders were given places.";
    HTTP_REQUESTS counter "backhaul_http_requests_total" "Requests answered, by status.";
}

/// What a page shows of spools and their couriers, by the names of the spools.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) spools: BTreeMap<String, Status>,
    pub(crate) couriers: BTreeMap<String, SyncStatus>,
    pub(crate) outage: Option<OutageReport>,
    pub(crate) models: Vec<ModelReport>,
}

impl Measured {
    /// Adds what a courier says of itself.
    pub(crate) fn add_courier(&mut self, spool: &str, courier: &SyncManager) {
        self.couriers.insert(spool.to_owned(), courier.status());
    }

    pub(crate) fn write(&self, page: &mut Page) {
        self.write_books(page);
        self.write_spools(page);
        self.write_couriers(page);
        let budget = self.couriers.values().find_map(|courier| courier.bandwidth.as_ref());
        budget.into_iter().for_each(|budget| write_budget(page, budget));
        page.family(&OUTAGE).value(&[], u8::from(self.outage.is_some()));
        self.write_models(page);
    }

    fn write_models(&self, page: &mut Page) {
        if self.models.is_empty() {
            return;
        }
        let mut write = |metric: &Metric, value: fn(&ModelReport) -> u64| {
            page.family(metric);
            for model in &self.models {
                let labels = [("model", model.name.as_str()), ("source", model.source.as_str())];
                page.value(&labels, value(model));
            }
        };
        write(&MODEL_ASKED, |model| u64::from(model.state != "open"));
        write(&MODEL_CREDENTIALS, |model| u64::from(model.credentials.is_some()));
        write(&MODEL_ANSWERS, |model| model.answered);
        write(&MODEL_FAILURES, |model| model.failed);
    }

    fn write_books(&self, page: &mut Page) {
        let by_lane = |(name, status): (&'_ String, &'_ Status)| -> Vec<(String, String, Books)> {
            let lanes = status.lanes.iter();
            lanes.map(|(lane, books)| (name.clone(), lane.to_string(), *books)).collect()
        };
        let by_lane: Vec<_> = self.spools.iter().flat_map(by_lane).collect();
        page.family(&SPOOL_RECORDS);
        for (spool, lane, books) in &by_lane {
            for (standing, count) in books.parts() {
                page.value(&[("spool", spool), ("lane", lane), ("standing", standing)], count);
            }
        }
        page.family(&SPOOL_ACCEPTED);
        for (spool, lane, books) in &by_lane {
            page.value(&[("spool", spool), ("lane", lane)], books.accepted);
        }
    }

    fn write_spools(&self, page: &mut Page) {
        let spools = &self.spools;
        each(page, spools, &SPOOL_OLDEST_AGE, |it| {
            Some(it.oldest_age.unwrap_or_default().as_secs())
        });
        each(page, spools, &SPOOL_BYTES, |it| Some(it.bytes));
        each(page, spools, &SPOOL_CAP_BYTES, |it| it.max_bytes);
        page.family(&SPOOL_HIGH_WATER);
        for (spool, status) in spools {
            for limit in ["cap", "free_bytes", "free_inodes"] {
                let is_close = status.high_water.is_some_and(|alert| alert.name() == limit);
                page.value(&[("spool", spool), ("limit", limit)], u8::from(is_close));
            }
        }
        each(page, spools, &SPOOL_TROUBLE, |it| Some(u8::from(it.trouble.is_some())));
        page.family(&SPOOL_OVERSIZED);
        for (spool, status) in spools {
            let waiting = status.oversized.saturating_sub(status.summarized);
            for (summarized, count) in [("yes", status.summarized), ("no", waiting)] {
                page.value(&[("spool", spool), ("summarized", summarized)], count);
            }
        }
        each(page, spools, &SPOOL_UNKNOWN, |it| Some(it.unknown));
        each(page, spools, &SPOOL_QUARANTINED, |it| Some(it.quarantined));
    }

    fn write_couriers(&self, page: &mut Page) {
        let couriers = &self.couriers;
        each(page, couriers, &SYNC_ONLINE, |it| it.is_online.map(u8::from));
        each(page, couriers, &SYNC_PAUSED, |it| Some(u8::from(it.paused.is_some())));
        each(page, couriers, &SYNC_RUNNING, |it| Some(u8::from(it.is_syncing)));
        each(page, couriers, &LINK_CHECKS, |it| Some(it.connectivity.as_ref()?.probes));
        each(page, couriers, &LINK_CHECK_BYTES, |it| Some(it.connectivity.as_ref()?.bytes));
        each(page, couriers, &FAILING_RULES, |it| Some(it.failing_rules.len()));
        each(page, couriers, &SYNC_LAST_SUCCESS, |it| it.last_sync_at.map(seconds));
        each(page, couriers, &SYNC_NEXT_ATTEMPT, |it| it.next_attempt_at.map(seconds));
    }
}

/// A family with a value for each spool that has one.
fn each<T, V: Display>(
    page: &mut Page,
    spools: &BTreeMap<String, T>,
    metric: &Metric,
    value: impl Fn(&T) -> Option<V>,
) {
    let mut values = spools.iter().filter_map(|(spool, it)| Some((spool, value(it)?))).peekable();
    if values.peek().is_some() {
        page.family(metric);
    }
    for (spool, value) in values {
        page.value(&[("spool", spool)], value);
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000_000)
}

/// The data cap of the device.
fn write_budget(page: &mut Page, status: &BandwidthStatus) {
    page.family(&BUDGET_USED).value(&[], status.used_bytes);
    if let Some(limit) = status.limit_bytes {
        page.family(&BUDGET_LIMIT).value(&[], limit);
    }
    if let (Some(normal), Some(critical)) = (status.left_bytes, status.left_critical_bytes) {
        page.family(&BUDGET_LEFT)
            .value(&[("traffic", "normal")], normal)
            .value(&[("traffic", "critical")], critical);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_and_are_described() {
        let described = include_str!("../../../../docs/operating.md");
        for Metric { name, kind, help } in ALL {
            assert!(described.contains(&format!("| `{name}")), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
            assert!(name.starts_with("backhaul_") && help.ends_with('.'), "{name}");
        }
    }
}
