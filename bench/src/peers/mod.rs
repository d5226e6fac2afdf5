//! Stores of records, ours and others', each behind the same few verbs and in processes of
//! their own.

mod backhaul;
mod backlog;
mod corpus;
mod damage;
mod fill;
mod fjall;
mod kills;
mod nats;
mod okaywal;
mod process;
mod reader;
mod redb;
mod speed;
mod sqlite;
mod store;
mod verbs;

use std::path::Path;

pub use backhaul::options;
pub use corpus::Corpus;
pub use damage::measure as measure_damage;
pub use fill::{Case, table};
pub use kills::measure as measure_kills;
pub use speed::measure;
pub use verbs::run_child;

use crate::plot::Row;
use store::{Grouped, Outcome, Store};

/// A store in one of its modes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    pub engine: Engine,
    pub mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    Backhaul,
    Sqlite,
    Redb,
    Fjall,
    Okaywal,
    Weave,
    PersistQueue,
    Nats,
}

/// When a record is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// When it is flushed, by the call that stores it.
    Durable,
    /// When it is flushed, by a committer that stores all waiting records at once.
    Grouped,
    /// Before it is flushed, as the store does it by default, or else as its documents offer.
    Relaxed,
}

pub const BACKHAUL: Peer = Peer { engine: Engine::Backhaul, mode: Mode::Durable };
pub const SQLITE_FULL: Peer = Peer { engine: Engine::Sqlite, mode: Mode::Durable };
pub const SQLITE_GROUPED: Peer = Peer { engine: Engine::Sqlite, mode: Mode::Grouped };

/// All of them: the name on the command line, and the one in tables.
const PEERS: [(Peer, &str, &str); 18] = {
    use Engine::*;
    use Mode::*;
    const fn peer(engine: Engine, mode: Mode) -> Peer {
        Peer { engine, mode }
    }
    [
        (BACKHAUL, "backhaul", "backhaul"),
        (SQLITE_FULL, "sqlite", "SQLite FULL"),
        (SQLITE_GROUPED, "sqlite-grouped", "SQLite FULL, grouped"),
        (peer(Redb, Durable), "redb", "redb"),
        (peer(Redb, Grouped), "redb-grouped", "redb, grouped"),
        (peer(Fjall, Durable), "fjall", "fjall, persisted"),
        (peer(Fjall, Grouped), "fjall-grouped", "fjall, persisted, grouped"),
        (peer(Okaywal, Durable), "okaywal", "okaywal"),
        (peer(Weave, Durable), "weave", "Weave's log, flush each"),
        (peer(PersistQueue, Durable), "persist-queue", "persist-queue, SQLite"),
        (peer(Nats, Durable), "nats", "NATS JetStream, sync always"),
        (peer(Backhaul, Relaxed), "backhaul-relaxed", "backhaul, flushed each second"),
        (peer(Sqlite, Relaxed), "sqlite-relaxed", "SQLite NORMAL"),
        (peer(Redb, Relaxed), "redb-relaxed", "redb, flushed each second"),
        (peer(Fjall, Relaxed), "fjall-relaxed", "fjall"),
        (peer(Weave, Relaxed), "weave-relaxed", "Weave's log"),
        (peer(PersistQueue, Relaxed), "persist-queue-relaxed", "persist-queue, files"),
        (peer(Nats, Relaxed), "nats-relaxed", "NATS JetStream"),
    ]
};

impl Peer {
    pub fn all() -> impl Iterator<Item = Peer> {
        PEERS.iter().map(|(peer, ..)| *peer)
    }

    /// The name in tables.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    fn row_of_plot(self) -> Row {
        Row { label: self.title().to_owned(), is_ours: self.engine == Engine::Backhaul }
    }

    fn key(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> &'static (Peer, &'static str, &'static str) {
        PEERS.iter().find(|(peer, ..)| *peer == self).expect("a peer of the list")
    }

    fn of(key: &str) -> Self {
        PEERS.iter().find(|(_, name, _)| *name == key).expect("the name of a peer").0
    }

    /// Opens it in a folder of its own, in this process.
    fn open(self, dir: &Path) -> Outcome<Box<dyn Store>> {
        Ok(match (self.engine, self.mode) {
            (Engine::Backhaul, mode) => Box::new(backhaul::open(dir, mode)?),
            (Engine::Sqlite, Mode::Grouped) => {
                Box::new(Grouped::new(sqlite::open(dir, Mode::Durable)?))
            }
            (Engine::Sqlite, mode) => Box::new(sqlite::open(dir, mode)?),
            (Engine::Redb, Mode::Grouped) => {
                Box::new(Grouped::new(redb::open(dir, Mode::Durable)?))
            }
            (Engine::Redb, mode) => Box::new(redb::open(dir, mode)?),
            (Engine::Fjall, Mode::Grouped) => {
                Box::new(Grouped::new(fjall::open(dir, Mode::Durable)?))
            }
            (Engine::Fjall, mode) => Box::new(fjall::open(dir, mode)?),
            (Engine::Okaywal, _) => Box::new(okaywal::open(dir)?),
            (Engine::Nats, mode) => Box::new(nats::open(dir, mode)?),
            (Engine::Weave | Engine::PersistQueue, _) => {
                unreachable!("a process of Python opens these")
            }
        })
    }
}
