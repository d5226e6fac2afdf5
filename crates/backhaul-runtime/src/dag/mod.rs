//! Graphs: which steps an agent takes, in which order, and what each waits for.
//!
//! A [`Dag`] is data: it is built in code or read from JSON or TOML, checked as a whole, and
//! never changes. A [`Schedule`] is one run of it: a state machine without clock, thread or
//! I/O that says which nodes may begin, and that an executor drives.
//!
//! The rules, in full:
//! - An edge is **resolved** when its source has finished or was skipped, and **satisfied** when
//!   its source ran and its [`EdgeCondition`] held at the moment when the source finished.
//! - A node waits until every edge into it is resolved. Then it is ready if the edges satisfy its
//!   [`Join`], and skipped if not. A node without incoming edges is ready from the start.
//! - A failed node is handled by a satisfied edge of the kind `on_failure` or `always`. One that
//!   no edge handles fails the run: what has not begun is skipped, and what runs is awaited.
//!
//! # The keys of JSON and TOML
//!
//! A null is as good as a missing key, except where it is the value that is asked for.
//!
//! | Of | Key | What stands there | Default |
//! |---|---|---|---|
//! | graph | `name` | text | required |
//! | | `description` | text | empty |
//! | | `entry_node` | the id of the one node to begin with | every node that waits for none |
//! | | `nodes`, `edges` | lists | `nodes` required |
//! | | `metadata` | an object | empty |
//! | node | `id` | text | required |
//! | | `type` | `function` (also `agent`, `skill`), `tool`, `llm` | required |
//! | | `ref_id` | the name of the function or tool | the id |
//! | | `prompt`, `system` | texts, of an `llm` | empty, none |
//! | | `name`, `description` | texts | the id, empty |
//! | | `input_mapping` | argument to path in the context, or to `{"value": …}` | empty |
//! | | `output_key` | path in the context | none |
//! | | `max_attempts` (upstream's `max_retries`) | tries in all | 3 |
//! | | `retry_on_failure` | `false`: one try | `true` |
//! | | `timeout_seconds` | a number, or `"none"` | 300 |
//! | | `join` | `all`, `any` | `all` |
//! | | `config` | an object | empty |
//! | edge | `source`, `target` | ids | required |
//! | | `condition` | `on_success`, `on_failure`, `always`, `json_rule` | `on_success` |
//! | | `condition_rule` | `field`, `operator`, `value`, of a `json_rule` | none, none, null |

mod builder;
mod check;
mod condition;
mod cycles;
mod digest;
mod edge;
mod error;
mod fields;
mod graph;
mod mermaid;
mod names;
mod node;
mod ordering;
mod read;
mod repeated_keys;
mod schedule;
mod schedule_error;
mod toml_text;
mod topology;
mod write;

pub use self::builder::DagBuilder;
pub use self::condition::{Condition, Operator};
pub use self::edge::{Edge, EdgeCondition};
pub use self::error::{DagError, DagProblem, DagProblemKind};
pub use self::graph::{Dag, NodeIndex};
pub use self::node::{Input, Join, Node, NodeKind};
pub use self::schedule::{Finished, NodeState, Outcome, Schedule, Skip, SkipReason};
pub use self::schedule_error::ScheduleError;
