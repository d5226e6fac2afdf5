//! What an agent can do now: more with a network than without.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backhaul_sync::{Connectivity, ConnectivityMonitor};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Tells what can be done now, for agents that do with less while there is no network.
///
/// It follows a [`ConnectivityMonitor`] or is set by hand; before the first check it is offline.
/// Clones are one.
///
/// ```
/// use backhaul_llm::CapabilityManager;
///
/// let capabilities = CapabilityManager::new(
///     [
///         ("vision", true.into()),
///         ("function_calling", true.into()),
///         ("max_tokens", 128_000.into()),
///     ],
///     [
///         ("vision", false.into()),          // The local model sees no images.
///         ("function_calling", true.into()), // It calls tools.
///         ("max_tokens", 8_000.into()),      // Its context is smaller.
///     ],
/// );
///
/// // The agent does what can be done.
/// let input = if capabilities.is_available("vision") { "the image" } else { "what is known of it" };
/// assert_eq!(input, "what is known of it");
///
/// capabilities.set_online(true);
/// assert!(capabilities.is_available("vision"));
/// assert_eq!(capabilities.get("max_tokens"), Some(128_000.into()));
/// ```
#[derive(Clone)]
pub struct CapabilityManager(Arc<Inner>);

struct Inner {
    now: watch::Sender<Capabilities>,
    /// The task that hears a monitor. Who holds it may say whether there is a network.
    follower: Mutex<Option<AbortHandle>>,
}

impl CapabilityManager {
    /// A manager of what can be done with a network and without, by name. It is offline.
    pub fn new<K: Into<String>, L: Into<String>>(
        online: impl IntoIterator<Item = (K, Value)>,
        offline: impl IntoIterator<Item = (L, Value)>,
    ) -> Self {
        let (online, offline) = (named(online), named(offline));
        let now = watch::Sender::new(Capabilities { is_online: false, online, offline });
        Self(Arc::new(Inner { now, follower: Mutex::default() }))
    }

    // --- Being asked -----------------------------------------------------------

    /// Whether something can be done: it is named, and neither `false`, `null`, 0, nor empty.
    pub fn is_available(&self, name: &str) -> bool {
        self.0.now.borrow().is_available(name)
    }

    /// The value of a name, such as a number of tokens.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.0.now.borrow().get(name).cloned()
    }

    /// What can be done now, to go by for the length of a run.
    pub fn current(&self) -> Capabilities {
        self.0.now.borrow().clone()
    }

    /// What can be done and its changes, for tasks that wait for them. Who is slow hears of the
    /// newest alone. It ends with the manager.
    ///
    /// ```
    /// # use backhaul_llm::CapabilityManager;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let manager = CapabilityManager::new([("vision", true.into())], [("vision", false.into())]);
    /// let mut changes = manager.subscribe();
    /// manager.set_online(true);
    /// changes.changed().await?;
    /// assert!(changes.borrow_and_update().is_available("vision"));
    /// # Ok::<(), tokio::sync::watch::error::RecvError>(())
    /// # }).unwrap();
    /// ```
    pub fn subscribe(&self) -> watch::Receiver<Capabilities> {
        self.0.now.subscribe()
    }

    // --- Telling ---------------------------------------------------------------

    /// Goes by a monitor from now on, in place of another one. While that knows nothing, what is
    /// known here stays. The monitor is neither started nor kept running.
    ///
    /// It needs a tokio runtime.
    pub fn follow(&self, monitor: &ConnectivityMonitor) {
        let (inner, mut state) = (Arc::downgrade(&self.0), monitor.subscribe());
        let mut follower = self.0.follower();
        self.0.hear(*state.borrow_and_update());
        let task = tokio::spawn(async move {
            while state.changed().await.is_ok() {
                let Some(inner) = inner.upgrade() else { return };
                let follower = inner.follower();
                // One that was replaced meanwhile has nothing to say any more.
                if follower.as_ref().map(AbortHandle::id) == tokio::task::try_id() {
                    inner.hear(*state.borrow_and_update());
                }
            }
        });
        end(follower.replace(task.abort_handle()));
    }

    /// Says whether it is online, until it is said otherwise. It follows no monitor then.
    pub fn set_online(&self, is_online: bool) {
        let mut follower = self.0.follower();
        end(follower.take());
        self.0.change(|now| now.is_online = is_online);
    }

    /// Replaces what can be done with a network.
    pub fn set_online_capabilities<K: Into<String>>(
        &self,
        capabilities: impl IntoIterator<Item = (K, Value)>,
    ) {
        self.0.change(|now| now.online = named(capabilities));
    }

    /// Replaces what can be done without one.
    pub fn set_offline_capabilities<K: Into<String>>(
        &self,
        capabilities: impl IntoIterator<Item = (K, Value)>,
    ) {
        self.0.change(|now| now.offline = named(capabilities));
    }
}

fn named<K: Into<String>>(
    capabilities: impl IntoIterator<Item = (K, Value)>,
) -> Arc<Map<String, Value>> {
    Arc::new(capabilities.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn end(follower: Option<AbortHandle>) {
    if let Some(follower) = follower {
        follower.abort();
    }
}

impl Inner {
    fn follower(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        // No call leaves it half changed.
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, state: Connectivity) {
        if state != Connectivity::Unknown {
            self.change(|now| now.is_online = state.is_online());
        }
    }

    /// What comes to the same is no change.
    fn change(&self, change: impl FnOnce(&mut Capabilities)) {
        self.now.send_if_modified(|now| {
            let before = now.clone();
            change(now);
            *now != before
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        end(self.follower().take());
    }
}

impl fmt::Debug for CapabilityManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CapabilityManager").field(&self.current()).finish()
    }
}

/// What could be done at one moment. Cheap to clone.
#[derive(Clone)]
pub struct Capabilities {
    is_online: bool,
    online: Arc<Map<String, Value>>,
    offline: Arc<Map<String, Value>>,
}

impl Capabilities {
    /// Whether that was with a network.
    pub fn is_online(&self) -> bool {
        self.is_online
    }

    /// As [`CapabilityManager::is_available`].
    pub fn is_available(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_truthy)
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values().get(name)
    }

    /// `{"online": …, "capabilities": {…}}`.
    pub fn to_json(&self) -> Value {
        json!({ "online": self.is_online, "capabilities": self.values() })
    }

    fn values(&self) -> &Map<String, Value> {
        if self.is_online { &self.online } else { &self.offline }
    }
}

/// What could be done otherwise does not count.
impl PartialEq for Capabilities {
    fn eq(&self, other: &Self) -> bool {
        self.is_online == other.is_online && self.values() == other.values()
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_so) => *is_so,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use backhaul_sync::ConnectivityOptions;

    use super::*;

    fn manager() -> CapabilityManager {
        CapabilityManager::new(
            [("vision", true.into()), ("max_tokens", 128_000.into())],
            [("vision", false.into()), ("max_tokens", 8_000.into())],
        )
    }

    fn monitor() -> ConnectivityMonitor {
        ConnectivityMonitor::new(ConnectivityOptions::default()).unwrap()
    }

    async fn until(manager: &CapabilityManager, is_online: bool) {
        manager.subscribe().wait_for(|now| now.is_online() == is_online).await.unwrap();
    }

    #[test]
    fn what_is_false_null_zero_or_empty_is_not_available() {
        let no = [json!(false), json!(null), json!(0), json!(0.0), json!(""), json!([]), json!({})];
        let yes = [json!(true), json!(1), json!(-0.5), json!("no"), json!([0]), json!({"a": 0})];
        for (value, is_available) in
            no.map(|value| (value, false)).into_iter().chain(yes.map(|value| (value, true)))
        {
            let manager = CapabilityManager::new::<&str, _>([], [("it", value.clone())]);
            assert_eq!(manager.is_available("it"), is_available, "{value}");
            assert_eq!(manager.get("it"), Some(value));
            assert!(!manager.is_available("another") && manager.get("another").is_none());
        }
    }

    #[test]
    fn it_is_offline_at_first() {
        let manager = manager();
        let capabilities = json!({ "vision": false, "max_tokens": 8_000 });
        let expected = json!({ "online": false, "capabilities": capabilities });
        assert_eq!(manager.current().to_json(), expected);
        manager.set_online(true);
        let capabilities = json!({ "vision": true, "max_tokens": 128_000 });
        let expected = json!({ "online": true, "capabilities": capabilities });
        assert_eq!(manager.current().to_json(), expected);
    }

    #[test]
    fn a_snapshot_stays_as_it_is() {
        let manager = manager();
        let run = manager.current();
        manager.set_online(true);
        assert!(!run.is_online() && !run.is_available("vision"));
        assert_eq!(run.get("max_tokens"), Some(&json!(8_000)));
        assert!(manager.is_available("vision"));
    }

    #[test]
    fn only_changes_are_told() {
        let manager = manager();
        let mut told = manager.subscribe();
        manager.set_online(false);
        manager.set_online_capabilities([("vision", Value::from(1))]);
        manager.set_offline_capabilities([("vision", false.into()), ("max_tokens", 8_000.into())]);
        assert!(!told.has_changed().unwrap());
        manager.set_offline_capabilities([("max_tokens", Value::from(4_000))]);
        assert_eq!(told.borrow_and_update().get("max_tokens"), Some(&json!(4_000)));
        manager.set_online(true);
        assert_eq!(told.borrow_and_update().get("vision"), Some(&json!(1)));
    }

    #[tokio::test]
    async fn it_follows_a_monitor() {
        let (manager, monitor) = (manager(), monitor());
        manager.follow(&monitor);
        assert!(!manager.current().is_online(), "nothing is known");
        monitor.set_online();
        until(&manager, true).await;
        monitor.set_offline();
        until(&manager, false).await;
        monitor.set_online();
        let another = self::manager();
        another.follow(&monitor);
        assert!(another.is_available("vision"), "what is known is known at once");
    }

    #[tokio::test]
    async fn a_monitor_that_knows_nothing_leaves_it_as_it_was() {
        let (manager, monitor) = (manager(), monitor());
        manager.set_online(true);
        manager.follow(&monitor);
        assert!(manager.current().is_online());
        monitor.set_offline();
        until(&manager, false).await;
    }

    #[tokio::test]
    async fn what_is_set_by_hand_or_another_monitor_ends_the_following() {
        let (manager, first, second) = (manager(), monitor(), monitor());
        manager.follow(&first);
        manager.follow(&second);
        first.set_online();
        second.set_offline();
        tokio::task::yield_now().await;
        assert!(!manager.current().is_online());
        second.set_online();
        until(&manager, true).await;
        manager.set_online(false);
        second.set_offline();
        second.set_online();
        tokio::task::yield_now().await;
        assert!(!manager.current().is_online());
    }

    #[tokio::test]
    async fn the_task_that_follows_ends_with_the_manager() {
        let (manager, monitor) = (manager(), monitor());
        manager.follow(&monitor);
        let follower = manager.0.follower().clone().unwrap();
        let other = manager.clone();
        drop(manager);
        tokio::task::yield_now().await;
        assert!(!follower.is_finished());
        drop(other);
        tokio::task::yield_now().await;
        assert!(follower.is_finished());
    }
}
