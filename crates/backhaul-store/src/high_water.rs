//! The alert that room runs out, raised while there is still some.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::disk::Space;
use crate::error::{IoContext, Result};
use crate::quota::Quota;
use crate::spool::{Inner, Spool};

/// The share of the cap, in percent, at which the alert is raised.
const RAISED_AT: u64 = 80;
/// It is cleared below this share only, so that a level that sways raises one alert.
const CLEARED_BELOW: u64 = 70;
/// On the file system it is raised where less than this many times the floor is free.
const FLOORS_TO_RAISE: u64 = 2;
/// And cleared where as much is free.
const FLOORS_TO_CLEAR: u64 = 3;

/// A limit that a spool has come close to: what comes next may soon be refused, or
/// push out what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HighWater {
    /// The spool's folder takes four fifths of its cap or more; delivered data counts too.
    Cap {
        /// Bytes that the folder takes.
        used_bytes: u64,
        /// Bytes that it may take.
        max_bytes: u64,
    },
    /// The file system has less than twice as many free bytes as have to stay free.
    FreeBytes {
        /// Bytes that are free.
        free_bytes: u64,
        /// Bytes that have to stay free.
        min_free_bytes: u64,
    },
    /// The file system has less than twice as many free inodes as have to stay free.
    FreeInodes {
        /// Inodes that are free.
        free_inodes: u64,
        /// Inodes that have to stay free.
        min_free_inodes: u64,
    },
}

impl HighWater {
    /// The limit's name: `cap`, `free_bytes` or `free_inodes`.
    pub fn name(&self) -> &'static str {
        match self {
            HighWater::Cap { .. } => "cap",
            HighWater::FreeBytes { .. } => "free_bytes",
            HighWater::FreeInodes { .. } => "free_inodes",
        }
    }

    /// The limit that is close, if one is. One that was close before stays so a little
    /// longer.
    fn find(quota: &Quota, used_bytes: u64, space: &Space, before: Option<&Self>) -> Option<Self> {
        let candidates = [
            quota.max().map(|max_bytes| Self::Cap { used_bytes, max_bytes }),
            Some(Self::FreeBytes {
                free_bytes: space.free_bytes,
                min_free_bytes: quota.min_free_bytes,
            }),
            Some(Self::FreeInodes {
                free_inodes: space.free_inodes,
                min_free_inodes: quota.min_free_inodes,
            }),
        ];
        let was_close = |it: &Self| before.is_some_and(|before| before.name() == it.name());
        candidates.into_iter().flatten().find(|it| it.is_close(was_close(it)))
    }

    fn is_close(&self, was_close: bool) -> bool {
        let percent = if was_close { CLEARED_BELOW } else { RAISED_AT };
        let floors = if was_close { FLOORS_TO_CLEAR } else { FLOORS_TO_RAISE };
        match *self {
            Self::Cap { used_bytes, max_bytes } => {
                u128::from(used_bytes) * 100 >= u128::from(max_bytes) * u128::from(percent)
            }
            Self::FreeBytes { free_bytes: free, min_free_bytes: floor }
            | Self::FreeInodes { free_inodes: free, min_free_inodes: floor } => {
                free < floor.saturating_mul(floors)
            }
        }
    }
}

impl fmt::Display for HighWater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cap { used_bytes, max_bytes } => {
                write!(f, "the spool takes {used_bytes} of at most {max_bytes} bytes")
            }
            Self::FreeBytes { free_bytes, min_free_bytes } => write!(
                f,
                "the file system has {free_bytes} bytes free, of which {min_free_bytes} have to stay free"
            ),
            Self::FreeInodes { free_inodes, min_free_inodes } => write!(
                f,
                "the file system has {free_inodes} inodes free, of which {min_free_inodes} have to stay free"
            ),
        }
    }
}

type Listener = Box<dyn Fn(Option<HighWater>) + Send + Sync>;

/// Whether the alert stands, and who is told of it.
#[derive(Default)]
pub(crate) struct Alert {
    raised: Mutex<Option<HighWater>>,
    listeners: Mutex<Vec<Listener>>,
}

impl fmt::Debug for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alert").field("raised", &self.raised).finish_non_exhaustive()
    }
}

impl Spool {
    /// Has `listener` called when the alert is raised (with the limit), and when it is
    /// cleared (with `None`). It is looked at once a second, by the maintenance thread,
    /// which calls the listener: one that takes long holds that up.
    ///
    /// Raised when the folder takes 80 % of its cap, or when less than twice the floor of
    /// free bytes or inodes is left; cleared below 70 %, and at three times the floor.
    ///
    /// ```
    /// use backhaul_store::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// spool.on_high_water(|alert| match alert {
    ///     Some(limit) => eprintln!("send less: {limit}"),
    ///     None => eprintln!("there is room again"),
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_high_water(&self, listener: impl Fn(Option<HighWater>) + Send + Sync + 'static) {
        let mut listeners =
            self.inner.alert.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Box::new(listener));
    }
}

impl Inner {
    /// The limit that the spool is close to, where its folder takes so many bytes.
    pub(crate) fn high_water(&self, used_bytes: u64) -> Result<Option<HighWater>> {
        let context = &self.context;
        let space = context.disk.space(&context.dir).doing("ask for free space", &context.dir)?;
        let before = *self.alert.raised.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(HighWater::find(&context.quota, used_bytes, &space, before.as_ref()))
    }

    /// Raises or clears the alert.
    pub(crate) fn watch_room(&self) -> Result<()> {
        let now = self.high_water(self.context.quota.used())?;
        let name = |alert: Option<HighWater>| alert.map(|it| it.name());
        let before = {
            let mut raised = self.alert.raised.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *raised, now)
        };
        if name(now) == name(before) {
            return Ok(());
        }
        let dir = self.context.dir.display();
        match now {
            Some(limit) => tracing::warn!(%dir, %limit, "room runs out"),
            None => tracing::info!(%dir, "there is room again"),
        }
        let listeners = self.alert.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(|listener| listener(now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::options::Options;

    const ROOMY: Space =
        Space { free_bytes: u64::MAX, free_inodes: u64::MAX, total_bytes: u64::MAX };

    #[test]
    fn the_cap_is_close_from_four_fifths_until_below_seven_tenths() {
        let options = Options { max_bytes: Some(1_000_000), ..Options::default() };
        let quota = Quota::new(&options, Path::new(""));
        let mut alert = None;
        let mut at = |used| {
            alert = HighWater::find(&quota, used, &ROOMY, alert.as_ref());
            alert.is_some()
        };
        assert!(!at(799_999));
        assert!(at(800_000));
        assert!(at(700_000));
        assert!(!at(699_999));
        assert!(!at(750_000));
    }

    #[test]
    fn the_floor_is_close_below_twice_of_it_until_three_times() {
        let options = Options { min_free_bytes: 100, ..Options::default() };
        let quota = Quota::new(&options, Path::new(""));
        let mut alert = None;
        let mut at = |free_bytes| {
            let space = Space { free_bytes, ..ROOMY };
            alert = HighWater::find(&quota, u64::MAX, &space, alert.as_ref());
            alert.map(|it| it.name())
        };
        assert_eq!(at(200), None);
        assert_eq!(at(199), Some("free_bytes"));
        assert_eq!(at(299), Some("free_bytes"));
        assert_eq!(at(300), None);
    }
}
