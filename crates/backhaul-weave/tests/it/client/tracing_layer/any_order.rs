//! Spans that are entered, left and closed in any order, between calls by hand, beside a naive
//! model of where a thread is.

use std::collections::{BTreeMap, BTreeSet};

use backhaul_weave as weave;
use proptest::prelude::*;
use tracing::{Span, info_span};
use weave::{CallRecord, CallStatus};

use super::traced;
use crate::client::support::logging;

/// Spans are chosen by a number, of those that there are.
#[derive(Debug, Clone)]
enum Step {
    Begin,
    BeginBelow(usize),
    BeginRoot,
    Enter(usize),
    Leave(usize),
    Close(usize),
    Record(usize),
    /// A call by hand, and what is done in it.
    Call(Vec<Step>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = prop_oneof![
        4 => Just(Step::Begin),
        1 => any::<usize>().prop_map(Step::BeginBelow),
        1 => Just(Step::BeginRoot),
        6 => any::<usize>().prop_map(Step::Enter),
        5 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::Record),
    ];
    let step = leaf.prop_recursive(4, 60, 12, |inner| {
        prop::collection::vec(inner, 0..12).prop_map(Step::Call)
    });
    prop::collection::vec(step, 0..40)
}

/// What is done, and what is expected of it. Spans and calls have numbers from 1 on.
#[derive(Default)]
struct World {
    spans: BTreeMap<u64, Span>,
    recorded: BTreeSet<u64>,
    calls: BTreeSet<u64>,
    begun: u64,
    /// Who was entered and not left since, in order, as often as that happened.
    entered: Vec<u64>,
    /// The number above each.
    above: BTreeMap<u64, u64>,
}

impl World {
    /// The innermost: of one that was entered again in itself the first time counts, and a
    /// span that is entered in a call which stands below it changes nothing.
    fn current(&self) -> u64 {
        let mut current = 0;
        for (at, number) in self.entered.iter().enumerate() {
            let is_again = self.entered[..at].contains(number);
            let is_inside = self.calls.contains(&current) && self.is_below(current, *number);
            if !is_again && !is_inside {
                current = *number;
            }
        }
        current
    }

    fn is_below(&self, mut number: u64, span: u64) -> bool {
        while number != 0 && number != span {
            number = self.above[&number];
        }
        number == span
    }

    fn chosen(&self, number: usize) -> Option<u64> {
        self.spans.keys().nth(number % self.spans.len().max(1)).copied()
    }

    fn begins(&mut self, above: u64) -> u64 {
        self.begun += 1;
        self.above.insert(self.begun, above);
        self.begun
    }

    fn take(&mut self, steps: &[Step]) {
        for step in steps {
            let chosen = match step {
                Step::BeginBelow(at) | Step::Enter(at) | Step::Leave(at) => self.chosen(*at),
                Step::Close(at) | Step::Record(at) => self.chosen(*at),
                Step::Begin | Step::BeginRoot | Step::Call(_) => Some(0),
            };
            if let Some(chosen) = chosen {
                self.step(step, chosen);
            }
        }
    }

    fn step(&mut self, step: &Step, chosen: u64) {
        match step {
            Step::Begin => {
                let n = self.begins(self.current());
                self.spans.insert(n, info_span!("span", n, late = tracing::field::Empty));
            }
            Step::BeginBelow(_) => {
                let n = self.begins(chosen);
                let parent = &self.spans[&chosen];
                let span = info_span!(parent: parent, "span", n, late = tracing::field::Empty);
                self.spans.insert(n, span);
            }
            Step::BeginRoot => {
                let n = self.begins(0);
                let span = info_span!(parent: None, "span", n, late = tracing::field::Empty);
                self.spans.insert(n, span);
            }
            Step::Enter(_) => self.enter(chosen),
            Step::Leave(_) => self.leave(chosen),
            Step::Close(_) => {
                while self.entered.contains(&chosen) {
                    self.leave(chosen);
                }
                self.spans.remove(&chosen);
            }
            Step::Record(_) => {
                self.spans[&chosen].record("late", chosen);
                self.recorded.insert(chosen);
            }
            Step::Call(steps) => {
                let n = self.begins(self.current());
                self.calls.insert(n);
                weave::call("call").input("n", n).run(|| {
                    self.entered.push(n);
                    self.take(steps);
                    self.entered.retain(|entered| *entered != n);
                });
            }
        }
    }

    fn enter(&mut self, span: u64) {
        self.spans[&span].with_subscriber(|(id, dispatch)| dispatch.enter(id));
        self.entered.push(span);
    }

    /// Leaves it once, if it is entered.
    fn leave(&mut self, span: u64) {
        if let Some(at) = self.entered.iter().rposition(|entered| *entered == span) {
            self.spans[&span].with_subscriber(|(id, dispatch)| dispatch.exit(id));
            self.entered.remove(at);
        }
    }
}

fn number(call: &CallRecord) -> u64 {
    call.inputs()["n"].to_string().parse().unwrap()
}

#[test]
fn spans_in_any_order_stand_where_the_thread_was() {
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() };
    let run = |steps: Vec<Step>| {
        let logging = logging();
        let mut world = World::default();
        traced(|| {
            world.take(&steps);
            let (entered, current) = (world.current(), weave::current_call());
            let current = current.map(|call| call.id());
            for (at, _) in world.spans.clone().iter().rev() {
                world.step(&Step::Close(0), *at);
            }
            let calls = logging.calls();
            let of_current = calls.iter().find(|call| Some(call.id()) == current.as_deref());
            prop_assert_eq!(of_current.map_or(0, number), entered);
            prop_assert!(weave::current_call().is_none());
            Ok(())
        })?;
        let calls = logging.calls();
        let numbers: BTreeMap<&str, u64> =
            calls.iter().map(|call| (call.id(), number(call))).collect();
        let above: BTreeMap<u64, u64> = calls
            .iter()
            .map(|call| (number(call), call.parent_id().map_or(0, |id| numbers[id])))
            .collect();
        prop_assert_eq!(above, world.above);
        for call in &calls {
            prop_assert_eq!(call.status(), CallStatus::Success);
            let late = call.output().get("late").map(|late| late.to_string());
            let n = number(call);
            prop_assert_eq!(late, world.recorded.contains(&n).then(|| n.to_string()));
        }
        Ok(())
    };
    proptest::test_runner::TestRunner::new(config).run(&steps(), run).unwrap();
}
