//! What may happen to a spool, and how often.

use backhaul_store::WhenFull;
use proptest::prelude::*;

use super::item::{LANES, LENGTHS};

#[derive(Debug, Clone)]
pub(super) struct New {
    pub(super) lane: usize,
    pub(super) len: usize,
    pub(super) stream: Option<u8>,
    pub(super) expires_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    Duplicate,
    Later(u64),
    Rejected,
    Expired,
    Dropped,
    Held,
    /// Left unsettled when the batch is dropped.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Wait,
    DropAndMaintain,
    DropAndFlush,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Append(New),
    /// Acknowledged without a flush.
    AppendRelaxed(New),
    Burst(Vec<New>, End),
    Take {
        records: usize,
        bytes: usize,
    },
    /// Settles the oldest batch in flight, and drops it.
    Settle(Vec<Verdict>),
    /// Settles any record, in flight or not, settled or not.
    Operate(usize, Verdict),
    Requeue(usize),
    Advance(u64),
    Maintain,
    Flush,
    Reopen,
    Kill,
    PowerCut(u64),
}

#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) cap: Option<(u64, WhenFull)>,
    pub(super) keep_s: u64,
    /// Whether what is sent next is chosen.
    pub(super) chosen: bool,
}

fn new_record() -> impl Strategy<Value = New> {
    let stream = prop_oneof![3 => Just(None), 2 => (0..3u8).prop_map(Some)];
    let expires = prop_oneof![6 => Just(None), 1 => (1..20u64).prop_map(Some)];
    (0..LANES.len(), 0..LENGTHS.len(), stream, expires)
        .prop_map(|(lane, len, stream, expires_s)| New { lane, len, stream, expires_s })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        8 => Just(Verdict::Delivered),
        2 => Just(Verdict::Duplicate),
        3 => (0..12u64).prop_map(Verdict::Later),
        2 => Just(Verdict::Rejected),
        1 => Just(Verdict::Expired),
        1 => Just(Verdict::Dropped),
        1 => Just(Verdict::Held),
        2 => Just(Verdict::Nothing),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        4 => Just(End::Wait),
        1 => Just(End::DropAndMaintain),
        1 => Just(End::DropAndFlush),
    ];
    let bytes = prop_oneof![3 => Just(1 << 20), 1 => 0..10_000usize];
    prop_oneof![
        10 => new_record().prop_map(Step::Append),
        3 => new_record().prop_map(Step::AppendRelaxed),
        5 => (prop::collection::vec(new_record(), 1..10), end)
            .prop_map(|(records, end)| Step::Burst(records, end)),
        8 => (1..12usize, bytes).prop_map(|(records, bytes)| Step::Take { records, bytes }),
        8 => prop::collection::vec(verdict(), 1..6).prop_map(Step::Settle),
        2 => (any::<usize>(), verdict()).prop_map(|(which, verdict)| Step::Operate(which, verdict)),
        3 => any::<usize>().prop_map(Step::Requeue),
        4 => (1..8_000u64).prop_map(Step::Advance),
        5 => Just(Step::Maintain),
        1 => Just(Step::Flush),
        2 => Just(Step::Reopen),
        2 => Just(Step::Kill),
        3 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

pub(super) fn setup() -> impl Strategy<Value = Setup> {
    let policy = prop_oneof![
        Just(WhenFull::Reject),
        Just(WhenFull::DropOldest),
        Just(WhenFull::DropLowestPriority),
    ];
    let cap = prop_oneof![
        2 => Just(None),
        3 => (prop_oneof![Just(128u64 << 10), Just(192 << 10)], policy).prop_map(Some),
    ];
    let keep_s = prop_oneof![Just(1), Just(10), Just(7 * 24 * 3600)];
    (cap, keep_s, any::<bool>()).prop_map(|(cap, keep_s, chosen)| Setup { cap, keep_s, chosen })
}
