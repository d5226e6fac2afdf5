//! What the hub counts, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backhaul_store::Status;

use super::Receipt;

/// Requests by their status.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<BTreeMap<u16, u64>>);

impl Requests {
    pub(crate) fn count(&self, status: u16) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }

    fn by_status(&self) -> BTreeMap<u16, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All metrics at one moment.
pub(crate) fn text(
    status: &Status,
    records: Receipt,
    requests: &Requests,
    backlog: Option<Duration>,
) -> String {
    let mut page = Page::default();
    page.metric("backhaul_spool_records", "gauge", "Records of the spool by what became of them.");
    let books = &status.books;
    let [settled @ .., pending] = books.parts();
    for (state, count) in std::iter::once(pending).chain(settled) {
        page.value(&format!("{{spool=\"runs\",state=\"{state}\"}}"), count);
    }
    page.metric("backhaul_spool_accepted_total", "counter", "Records that the spool acknowledged.");
    page.value("{spool=\"runs\"}", books.accepted);
    page.metric("backhaul_spool_bytes", "gauge", "Bytes on disk of the spool.");
    page.value("{spool=\"runs\"}", status.bytes);
    if let Some(cap) = status.max_bytes {
        page.metric("backhaul_spool_cap_bytes", "gauge", "Bytes that the spool may take.");
        page.value("{spool=\"runs\"}", cap);
    }
    page.metric("backhaul_spool_trouble", "gauge", "1 while the spool cannot store records.");
    page.value("{spool=\"runs\"}", u64::from(status.trouble.is_some()));
    page.metric("backhaul_intake_records_total", "counter", "Records received, by outcome.");
    page.value("{outcome=\"accepted\"}", records.accepted);
    page.value("{outcome=\"duplicate\"}", records.duplicates);
    page.metric("backhaul_http_requests_total", "counter", "Requests answered, by status.");
    for (status, count) in requests.by_status() {
        page.value(&format!("{{status=\"{status}\"}}"), count);
    }
    if let Some(backlog) = backlog {
        let help = "For how long ahead refused senders were given places.";
        page.metric("backhaul_admission_backlog_seconds", "gauge", help);
        page.value("", backlog.as_secs());
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn metric(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, labels: &str, value: u64) {
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }
}
