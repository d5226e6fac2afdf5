//! What became of the records of a batch that was sent in several requests.

use backhaul_sync::{LinkError, LinkErrorKind, Verdict};

/// What became of each record so far.
#[derive(Debug)]
pub(super) struct Fates {
    fates: Vec<Fate>,
    /// The last request that failed.
    failure: Option<LinkError>,
}

#[derive(Debug, Clone)]
enum Fate {
    /// It was not sent yet.
    Open,
    Said(Verdict),
    Failed {
        error: LinkError,
        /// Whether no other record was in the request.
        alone: bool,
    },
}

impl Fates {
    pub(super) fn new(records: usize) -> Self {
        Self { fates: vec![Fate::Open; records], failure: None }
    }

    /// Notes a verdict on a record.
    pub(super) fn say(&mut self, record: usize, verdict: Verdict) {
        self.set(record, Fate::Said(verdict));
    }

    /// Notes that the request failed in which these records were, `alone` or with others. What
    /// the server refused alone, in its own words, is refused for good.
    pub(super) fn fail(&mut self, records: &[usize], error: &LinkError, alone: bool) {
        let is_settled = alone && is_refusal(error) && !error.is_doubtful();
        if !is_settled {
            self.failure = Some(error.clone());
        }
        for record in records {
            let fate = match is_settled {
                true => Fate::Said(rejected(error)),
                false => Fate::Failed { error: error.clone(), alone },
            };
            self.set(*record, fate);
        }
    }

    /// Notes that nothing of which nothing became yet can be sent.
    pub(super) fn fail_open(&mut self, error: &LinkError) {
        self.failure = Some(error.clone());
        for fate in self.fates.iter_mut().filter(|fate| matches!(fate, Fate::Open)) {
            *fate = Fate::Failed { error: error.clone(), alone: false };
        }
    }

    /// A verdict for each record. Where none got through it is an error, of the batch as a
    /// whole, and the courier finds out about it.
    pub(super) fn conclude(self) -> Result<Vec<Verdict>, LinkError> {
        let is_through = |fate: &Fate| {
            use Verdict::{Delivered, Duplicate, Rejected};
            matches!(fate, Fate::Said(Delivered | Duplicate | Rejected { .. }))
        };
        let any_is_through = self.fates.iter().any(is_through);
        let Self { fates, failure } = self;
        match failure {
            Some(error) if !any_is_through => Err(error),
            failure => Ok(fates.into_iter().map(|fate| verdict(fate, failure.as_ref())).collect()),
        }
    }

    fn set(&mut self, record: usize, fate: Fate) {
        if let Some(slot) = self.fates.get_mut(record) {
            *slot = fate;
        }
    }
}

/// A verdict where others of the batch got through. `failure`: what kept those from being sent
/// of which nothing became.
fn verdict(fate: Fate, failure: Option<&LinkError>) -> Verdict {
    match fate {
        Fate::Said(verdict) => verdict,
        Fate::Failed { error, alone: true } if is_refusal(&error) => rejected(&error),
        // The server failed over it and over no other.
        Fate::Failed { error, alone: true } if is_failure_of_the_server(&error) => {
            Verdict::Later { reason: error.to_string(), retry_after: None, spends_retry: true }
        }
        Fate::Failed { error, .. } => Verdict::BrokenOff(error),
        Fate::Open => match failure {
            Some(error) => Verdict::BrokenOff(error.clone()),
            None => waits("it waits for its turn", None),
        },
    }
}

/// A verdict on what has to wait through no fault of its own.
pub(super) fn waits(
    reason: impl Into<String>,
    retry_after: Option<std::time::Duration>,
) -> Verdict {
    Verdict::Later { reason: reason.into(), retry_after, spends_retry: false }
}

/// A verdict on what the server will never take.
pub(super) fn rejected(error: &LinkError) -> Verdict {
    let status = error.status();
    let reason = match status {
        Some(status) => format!("HTTP {status}: {}", error.reason()),
        None => error.to_string(),
    };
    Verdict::Rejected { reason, status }
}

/// Whether a request was refused for what is in it.
pub(super) fn is_refusal(error: &LinkError) -> bool {
    matches!(error.kind(), LinkErrorKind::TooLarge | LinkErrorKind::BadBatch)
}

/// Whether the server itself failed, and did not ask to wait.
pub(super) fn is_failure_of_the_server(error: &LinkError) -> bool {
    error.kind() == LinkErrorKind::Busy
        && error.retry_after().is_none()
        && error.status().is_some_and(|status| status >= 500)
}

/// Whether there is no such path on the server.
pub(super) fn is_no_path(error: &LinkError) -> bool {
    matches!(error.status(), Some(404 | 405)) && !is_refusal(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16) -> LinkError {
        LinkError::of_status(status, "so")
    }

    #[test]
    fn where_nothing_got_through_it_is_about_the_batch() {
        let mut fates = Fates::new(3);
        fates.fail(&[0, 1], &error(503), false);
        fates.say(2, waits("its start waits", None));
        assert_eq!(fates.conclude().unwrap_err(), error(503));
    }

    #[test]
    fn a_record_that_the_server_fails_over_alone_pays_for_it() {
        let mut fates = Fates::new(4);
        fates.say(0, Verdict::Delivered);
        fates.fail(&[1], &error(500), true);
        fates.fail(&[2, 3], &error(500), false);
        let spends =
            |verdict: &Verdict| matches!(verdict, Verdict::Later { spends_retry: true, .. });
        let verdicts = fates.conclude().unwrap();
        assert_eq!(verdicts.iter().map(spends).collect::<Vec<_>>(), [false, true, false, false]);
    }

    #[test]
    fn a_record_refused_in_the_servers_own_words_is_refused_for_good() {
        let mut fates = Fates::new(2);
        fates.fail(&[0], &error(422), true);
        fates.fail(&[1], &error(422).doubtful(), true);
        let verdicts = fates.conclude().unwrap();
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Rejected { .. })));
        let mut fates = Fates::new(1);
        fates.fail(&[0], &error(422).doubtful(), true);
        assert!(fates.conclude().is_err());
    }
}
