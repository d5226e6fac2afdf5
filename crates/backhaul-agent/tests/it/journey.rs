//! Records on their way from a queue over a link to a server, and what became of each.

use std::sync::Arc;
use std::time::Duration;

use backhaul_agent::{CloudRunLogger, CloudRunLoggerBuilder, OfflineQueue, RunRecord};
use backhaul_store::{RecordId, Standing};
use backhaul_sync::{BlockedKind, SyncManager, SyncOptions, SyncReport};
use backhaul_testkit::{Answer, Ends, FaultLink, FaultServer, Intake, Oracle, Request};

use crate::device::{Device, failed, record};

/// No request of a healthy link takes as long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// A device with records, a link, and a hub that stores before it answers.
pub(crate) struct Journey {
    pub(crate) device: Device,
    pub(crate) queue: OfflineQueue,
    pub(crate) intake: Intake,
    pub(crate) server: FaultServer,
    pub(crate) link: FaultLink,
    pub(crate) oracle: Oracle,
    timeout: Duration,
    options: SyncOptions,
    courier: Option<SyncManager>,
}

impl Journey {
    /// A journey of `count` records: every third in no stream, the others in two.
    pub(crate) fn of(count: usize) -> Self {
        Self::to(count, Intake::new())
    }

    pub(crate) fn to(count: usize, intake: Intake) -> Self {
        let server = FaultServer::hub(&intake).unwrap();
        let link = FaultLink::to(server.address()).unwrap();
        let device = Device::new();
        let options = SyncOptions {
            backoff_jitter: false,
            backoff_initial: Duration::from_millis(10),
            backoff_max: Duration::from_millis(40),
            ..SyncOptions::default()
        };
        let mut journey = Self {
            queue: device.queue(),
            device,
            intake,
            server,
            link,
            oracle: Oracle::new(),
            timeout: PATIENCE,
            options,
            courier: None,
        };
        for n in 0..count {
            let mut record = record(&format!("run_{n}"));
            if let Some(stream) = [None, Some("a"), Some("b")][n % 3] {
                record.metadata.insert("stream".into(), stream.into());
            }
            journey.enqueue(&record);
        }
        journey
    }

    /// How long a request may take.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn options(mut self, change: impl FnOnce(&mut SyncOptions)) -> Self {
        change(&mut self.options);
        self
    }

    pub(crate) fn enqueue(&mut self, record: &RunRecord) -> RecordId {
        let id = self.queue.enqueue(record).unwrap();
        let stream = record.metadata.get("stream").and_then(|stream| stream.as_str());
        self.oracle.acknowledged(id.to_string(), stream, record.to_json());
        id
    }

    /// A logger that goes to an address, with the timeout of this journey.
    pub(crate) fn logger(&self, url: impl Into<String>) -> CloudRunLoggerBuilder {
        let clock = Arc::new(self.device.clock.clone());
        CloudRunLogger::builder(url).timeout(self.timeout).clock(clock)
    }

    /// The courier over the link, until another one is bound.
    pub(crate) fn courier(&mut self) -> SyncManager {
        if self.courier.is_none() {
            self.send_to(self.logger(self.link.url()));
        }
        self.courier.clone().unwrap()
    }

    /// Has another logger deliver from now on.
    pub(crate) fn send_to(&mut self, logger: CloudRunLoggerBuilder) {
        self.courier = None;
        self.queue.bind(Arc::new(logger.build().unwrap()));
        self.courier = Some(self.queue.sync_manager(self.options.clone()).unwrap());
    }

    pub(crate) async fn sync(&mut self) -> SyncReport {
        self.courier().sync_now().await
    }

    /// A sync that is kept from its end by something of a kind. The reason.
    pub(crate) async fn is_blocked(&mut self, kind: BlockedKind) -> String {
        let blocked = self.sync().await.blocked_by.unwrap();
        assert_eq!(blocked.kind, kind, "{blocked}");
        blocked.reason
    }

    /// Syncs until nothing waits, with time for what was put off, and checks.
    pub(crate) async fn arrives(&mut self) {
        for _ in 0..50 {
            self.device.clock.advance(Duration::from_secs(24 * 3600));
            if self.sync().await.remaining == 0 {
                return self.check();
            }
        }
        panic!("it does not arrive: {:?}", self.courier().status());
    }

    /// Goes back to the link, which is healthy, with all the time in the world, and arrives.
    pub(crate) async fn arrives_over_the_link(&mut self) {
        self.timeout = PATIENCE;
        self.send_to(self.logger(self.link.url()));
        self.arrives().await;
    }

    /// Holds what was acknowledged against what there is.
    pub(crate) fn check(&self) {
        self.oracle.check(&self.ends()).unwrap_or_else(|wrong| panic!("{wrong}"));
        let books = self.queue.stats().unwrap().books;
        assert!(books.balance(), "{books:?}");
        assert_eq!(books.accepted, self.oracle.len() as u64);
    }

    pub(crate) fn ends(&self) -> Ends {
        let waiting = self.queue.list(Some(Standing::Pending)).unwrap();
        Ends {
            arrived: self.intake.items(),
            failed: failed(&self.queue),
            waiting: waiting.iter().map(|it| it.id.to_string()).collect(),
        }
    }

    /// That no record has lost a try to the circumstances.
    pub(crate) fn assert_no_try_was_spent(&self) {
        for entry in self.queue.list(Some(Standing::Pending)).unwrap() {
            assert_eq!((entry.attempts, entry.last_error), (0, None), "{}", entry.id);
        }
    }

    /// How often each record was offered to the hub, in the order of their ids.
    pub(crate) fn offers(&self) -> Vec<u64> {
        self.intake.offers().into_values().collect()
    }

    /// Has the hub answer with this before it is itself again.
    pub(crate) fn answers_once(&self, answer: Answer) {
        self.server.next(answer);
    }

    /// Has something else than the hub answer.
    pub(crate) fn answers(&self, script: impl FnMut(&Request) -> Answer + Send + 'static) {
        self.server.answers(script);
    }
}
