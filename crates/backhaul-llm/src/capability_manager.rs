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
    sides: Mutex<Sides>,
}

/// What the snapshots are made of.
struct Sides {
    online: Arc<Map<String, Value>>,
    offline: Arc<Map<String, Value>>,
    is_online: bool,
    /// What holds while a monitor knows nothing.
    is_online_at_first: bool,
    /// The task that hears a monitor.
    follower: Option<AbortHandle>,
}

impl CapabilityManager {
    /// A manager of what can be done with a network and without, by name. It is offline.
    pub fn new<K: Into<String>, L: Into<String>>(
        online: impl IntoIterator<Item = (K, Value)>,
        offline: impl IntoIterator<Item = (L, Value)>,
    ) -> Self {
        let sides = Sides {
            online: named(online),
            offline: named(offline),
            is_online: false,
            is_online_at_first: false,
            follower: None,
        };
        let now = watch::Sender::new(sides.now());
        Self(Arc::new(Inner { now, sides: Mutex::new(sides) }))
    }

    /// The same, taken for online while nothing is known.
    #[must_use]
    pub fn initially_online(self) -> Self {
        self.0.change(|sides| (sides.is_online, sides.is_online_at_first) = (true, true));
        self
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

    // --- Being told ------------------------------------------------------------

    /// What can be done and its changes, for tasks that wait for them.
    pub fn subscribe(&self) -> watch::Receiver<Capabilities> {
        self.0.now.subscribe()
    }

    /// Has `callback` called after each change with what can be done then, on a thread that may
    /// wait, one call at a time. A state that ends while it is busy is not told of. One that
    /// panics is logged and called again next time.
    ///
    /// It needs a tokio runtime, and ends with the manager.
    pub fn on_change(&self, callback: impl Fn(Capabilities) + Send + Sync + 'static) -> OnChange {
        let task = tokio::spawn(call_at_changes(self.subscribe(), Arc::new(callback)));
        OnChange(task.abort_handle())
    }

    // --- Telling ---------------------------------------------------------------

    /// Goes by a monitor from now on, in place of another one: online while it knows that there
    /// is a link. While it knows nothing that is as at first. The monitor is not kept running.
    ///
    /// It needs a tokio runtime.
    pub fn follow(&self, monitor: &ConnectivityMonitor) {
        let (manager, mut state) = (Arc::downgrade(&self.0), monitor.subscribe());
        let first = *state.borrow_and_update();
        self.0.change(|sides| {
            let follower = tokio::spawn(async move {
                while state.changed().await.is_ok() {
                    let now = *state.borrow_and_update();
                    let Some(manager) = manager.upgrade() else { return };
                    manager.change(|sides| sides.hear_as_follower(now));
                }
            });
            sides.stop_following();
            sides.follower = Some(follower.abort_handle());
            sides.hear(first);
        });
    }

    /// Says whether it is online, until it is said otherwise. It follows no monitor then.
    pub fn set_online(&self, is_online: bool) {
        self.0.change(|sides| {
            sides.stop_following();
            sides.is_online = is_online;
        });
    }

    /// Replaces what can be done with a network.
    pub fn set_online_capabilities<K: Into<String>>(
        &self,
        capabilities: impl IntoIterator<Item = (K, Value)>,
    ) {
        let capabilities = named(capabilities);
        self.0.change(|sides| sides.online = capabilities);
    }

    /// Replaces what can be done without one.
    pub fn set_offline_capabilities<K: Into<String>>(
        &self,
        capabilities: impl IntoIterator<Item = (K, Value)>,
    ) {
        let capabilities = named(capabilities);
        self.0.change(|sides| sides.offline = capabilities);
    }
}

fn named<K: Into<String>>(
    capabilities: impl IntoIterator<Item = (K, Value)>,
) -> Arc<Map<String, Value>> {
    Arc::new(capabilities.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

async fn call_at_changes(
    mut now: watch::Receiver<Capabilities>,
    callback: Arc<impl Fn(Capabilities) + Send + Sync + 'static>,
) {
    while now.changed().await.is_ok() {
        let (callback, capabilities) = (Arc::clone(&callback), now.borrow_and_update().clone());
        if let Err(error) = tokio::task::spawn_blocking(move || callback(capabilities)).await {
            tracing::error!(%error, "a callback of the capability manager did not end well");
        }
    }
}

impl Inner {
    /// Told under the lock, so that changes are told in their order.
    fn change(&self, change: impl FnOnce(&mut Sides)) {
        let mut sides = self.lock();
        change(&mut sides);
        let new = sides.now();
        self.now.send_if_modified(|now| {
            let is_changed = *now != new;
            *now = new;
            is_changed
        });
    }

    fn lock(&self) -> MutexGuard<'_, Sides> {
        // No call leaves it half changed.
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sides {
    fn now(&self) -> Capabilities {
        let values = if self.is_online { &self.online } else { &self.offline };
        Capabilities { is_online: self.is_online, values: Arc::clone(values) }
    }

    fn hear(&mut self, state: Connectivity) {
        self.is_online = match state {
            Connectivity::Online => true,
            Connectivity::Offline => false,
            Connectivity::Unknown => self.is_online_at_first,
        };
    }

    /// One that was replaced meanwhile has nothing to say any more.
    fn hear_as_follower(&mut self, state: Connectivity) {
        if self.follower.as_ref().map(AbortHandle::id) == tokio::task::try_id() {
            self.hear(state);
        }
    }

    fn stop_following(&mut self) {
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
    }
}

impl Drop for Sides {
    fn drop(&mut self) {
        self.stop_following();
    }
}

impl fmt::Debug for CapabilityManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CapabilityManager").field(&self.current()).finish()
    }
}

/// A callback of a [`CapabilityManager`]. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct OnChange(AbortHandle);

impl OnChange {
    /// Has the callback not be called any more. A call under way goes on.
    pub fn remove(&self) {
        self.0.abort();
    }
}

/// What could be done at one moment. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Capabilities {
    is_online: bool,
    values: Arc<Map<String, Value>>,
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
        self.values.get(name)
    }

    /// `{"online": …, "capabilities": {…}}`.
    pub fn to_json(&self) -> Value {
        json!({ "online": self.is_online, "capabilities": &*self.values })
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
    use std::sync::mpsc;
    use std::time::Duration;

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
    fn it_is_offline_at_first_unless_told_otherwise() {
        let capabilities = json!({ "vision": false, "max_tokens": 8_000 });
        let expected = json!({ "online": false, "capabilities": capabilities });
        assert_eq!(manager().current().to_json(), expected);
        let capabilities = json!({ "vision": true, "max_tokens": 128_000 });
        let expected = json!({ "online": true, "capabilities": capabilities });
        assert_eq!(manager().initially_online().current().to_json(), expected);
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
    async fn a_monitor_that_knows_nothing_leaves_it_as_at_first() {
        let (manager, monitor) = (manager().initially_online(), monitor());
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
        let follower = manager.0.lock().follower.clone().unwrap();
        let other = manager.clone();
        drop(manager);
        tokio::task::yield_now().await;
        assert!(!follower.is_finished());
        drop(other);
        tokio::task::yield_now().await;
        assert!(follower.is_finished());
    }

    #[tokio::test]
    async fn callbacks_hear_of_changes_until_they_are_removed_also_after_a_panic() {
        let manager = manager();
        let (sender, told) = mpsc::channel();
        let told = Arc::new(Mutex::new(told));
        let next = || {
            let told = Arc::clone(&told);
            let wait = move || told.lock().unwrap().recv_timeout(Duration::from_secs(60));
            async move { tokio::task::spawn_blocking(wait).await.unwrap() }
        };
        let handle = manager.on_change(move |now| {
            sender.send(now.is_online()).unwrap();
            assert!(!now.is_online(), "the test has it panic");
        });
        manager.set_online(true);
        assert_eq!(next().await, Ok(true));
        manager.set_online(false);
        assert_eq!(next().await, Ok(false));
        handle.remove();
        manager.set_online(true);
        // The callback is gone, and with it the other end.
        assert_eq!(next().await, Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
