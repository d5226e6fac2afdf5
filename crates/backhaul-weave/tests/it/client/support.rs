//! A client that logs to a folder of its own, and what it logged.

use backhaul_weave as weave;
use tempfile::TempDir;
use weave::{CallRecord, WeaveClient};

/// A client, current until the process ends, and its folder.
pub(crate) struct Logging {
    pub(crate) dir: TempDir,
    pub(crate) client: WeaveClient,
}

/// Starts logging to `me/mine` offline.
pub(crate) fn logging() -> Logging {
    logging_as(|init| init)
}

pub(crate) fn logging_as(change: impl FnOnce(weave::Init) -> weave::Init) -> Logging {
    let dir = tempfile::tempdir().unwrap();
    let init = weave::init("me/mine").offline(true).offline_dir(dir.path());
    let client = change(init).start().unwrap();
    Logging { dir, client }
}

impl Logging {
    /// All calls, as they began.
    pub(crate) fn calls(&self) -> Vec<CallRecord> {
        weave::calls().list().unwrap()
    }

    /// The only call.
    pub(crate) fn call(&self) -> CallRecord {
        let [call] = <[CallRecord; 1]>::try_from(self.calls()).unwrap();
        call
    }

    /// The call of an op of which there is one.
    pub(crate) fn call_of(&self, op: &str) -> CallRecord {
        let calls = weave::calls().op(op).list().unwrap();
        let [call] = <[CallRecord; 1]>::try_from(calls).unwrap();
        call
    }
}

/// What an exception says: its type and its message.
pub(crate) fn exception(call: &CallRecord) -> (String, String) {
    let said: serde_json::Value = serde_json::from_str(call.exception().unwrap()).unwrap();
    let text = |field: &str| said[field].as_str().unwrap().to_owned();
    (text("type"), text("message"))
}
