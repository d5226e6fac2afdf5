//! The table of all settings. A new one is a line here and a field in [`Config`].

use super::Config;
use super::key::{Field, Group, Key};
use super::kind::{Facts, Kind};

/// `key!(Group, "name", the.field.of.the.config, "what it does")`
macro_rules! key {
    ($group:ident, $name:literal, $($field:ident).+, $about:literal) => {
        Key::new(Group::$group, $name, $about, Field {
            facts: |config: &Config| Facts::of(&config.$($field).+),
            read: |config, given| {
                config.$($field).+ = Kind::read(given)?;
                Some(())
            },
            text: |config| config.$($field).+.text(),
            copy: |from, to| to.$($field).+ = from.$($field).+.clone(),
            is_same: |one, other| one.$($field).+ == other.$($field).+,
        })
    };
}

/// Every setting, in the order in which they are shown.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key!(Device, "data_dir", data_dir, "The folder that everything of one backhaul lies in.").unset("~/.local/share/backhaul"),
    key!(Device, "log", log, "How much the program says on stderr: off, error, warn, info, debug or trace.").live(),
    key!(Device, "outage", outage, "Whether `backhaul serve` and `backhaul sync` count as offline, on purpose: on, off, or for a time from their start on, such as 10m."),

    key!(Store, "when_full", offline.when_full, "What gives way at the cap when no delivered data is left to remove: the new record (reject), the oldest waiting ones (drop-oldest), or those of the least urgent lane (drop-lowest-priority)."),
    key!(Store, "flush", offline.flush, "What an acknowledgement promises: always (it survives a power cut), never (it survives a kill), or a time, such as 5s, that a power cut may cost."),
    key!(Store, "keep_synced", offline.keep_synced, "How long delivered records stay on disk; 0s for not at all. They take a tenth of the cap at most."),
    key!(Store, "min_free", offline.min_free, "What is left free on the file system. Where it is not set, Weave's folder leaves more: the larger of 200MB and 5 %."),

    key!(Queue, "storage_path", offline.storage_path, "The folder of the queue.").unset("`offline` in data_dir"),
    key!(Queue, "max_queue_size_mb", offline.max_queue_size_mb, "The most that the queue takes on disk, in MB (10^6 bytes).").aliases(&["max_queue_mb"]),
    key!(Queue, "expires_after", offline.expires_after, "The age past which a record is not worth sending any more, in power-on time: it expires, and is counted.").unset("never"),
    key!(Queue, "hold_in_memory", offline.hold_in_memory, "The most that is kept in memory while the disk does not take it."),

    key!(Delivery, "runs_url", offline.runs_url, "The hub that run records are delivered to.").aliases(&["api_url"]),
    key!(Delivery, "api_key", offline.api_key.value, "The key for the hub. In the file only where others cannot read that."),
    key!(Delivery, "api_key_file", offline.api_key.file, "A file with the key for the hub in it."),
    key!(Delivery, "compress", offline.compress, "Whether bodies go in gzip where that makes them smaller."),
    key!(Delivery, "delivery_timeout", offline.delivery_timeout, "How long one request may take, from its first byte to the last of the answer."),
    key!(Delivery, "daily_limit_mb", offline.bandwidth.daily_limit_mb, "The data cap: the most that may go over the wire from one refill to the next, both ways, in MB (10^6 bytes).").unset("no cap"),
    key!(Delivery, "priority_reserve_mb", offline.bandwidth.priority_reserve_mb, "What of the data cap is kept for critical records, in MB."),
    key!(Delivery, "refill", offline.bandwidth.refill, "When the data cap is full again: daily at HH:MM, or monthly on a day at HH:MM, in UTC."),
    key!(Delivery, "oversized", offline.sync.oversized, "What is done for a record that is larger than the whole data cap: it waits for a larger cap (wait), or does so while a summary of it goes (summary).").live(),
    key!(Delivery, "rate_limit_kbps", offline.bandwidth.rate_limit_kbps, "The rate in kilobits (10^3 bits) a second.").unset("no limit"),
    key!(Delivery, "bandwidth_path", offline.bandwidth_path, "The folder of what was counted against the data cap; all processes of a device share one.").unset("`bandwidth` in data_dir"),
    key!(Delivery, "drain_timeout", drain_timeout, "How long `backhaul run` goes on delivering once its program has ended; 0s: it begins nothing more. A request under way then has two seconds besides."),
    key!(Delivery, "sync_interval_seconds", offline.sync.sync_interval_seconds, "How often an idle courier looks for records that it was not told of, in seconds.").live(),
    key!(Delivery, "batch_size", offline.sync.batch_size, "Most records in one batch.").aliases(&["sync_batch_size"]).live(),
    key!(Delivery, "batch_bytes", offline.sync.batch_bytes, "Most bytes of records in one batch; a larger record goes alone.").live(),
    key!(Delivery, "max_retries", offline.sync.max_retries, "Retries of one record after its first try. An outage spends none.").live(),
    key!(Delivery, "backoff_strategy", offline.sync.backoff_strategy, "How waits grow: constant, linear, exponential or fibonacci.").live(),
    key!(Delivery, "backoff_initial", offline.sync.backoff_initial, "The wait before the first retry.").live(),
    key!(Delivery, "backoff_max", offline.sync.backoff_max, "The longest wait.").live(),
    key!(Delivery, "backoff_multiplier", offline.sync.backoff_multiplier, "The factor of the exponential strategy, at least 1.").live(),
    key!(Delivery, "backoff_jitter", offline.sync.backoff_jitter, "Whether waits vary by a tenth, so that a fleet does not come back in step.").live(),
    key!(Delivery, "fleet_spread_seconds", offline.sync.fleet_spread_seconds, "Over how long the devices of a fleet spread their return after an outage, in seconds.").live(),

    key!(Link, "check_urls", offline.connectivity.check_urls, "Addresses that answer with a 2xx while there is a link: a list in the file, words or JSON in a variable. One that is `{ url = \"…\", expect = \"…\" }` counts only if its answer begins so. Without any, requests that fail and changes of the network tell.").unset("none"),
    key!(Link, "check_rule", offline.connectivity.rule, "How many of them have to answer: any or all."),
    key!(Link, "check_interval_seconds", offline.connectivity.check_interval_seconds, "The wait between checks, in seconds, and the longest one while nothing gets through. A link in use is not checked."),
    key!(Link, "check_stable_interval_seconds", offline.connectivity.check_stable_interval_seconds, "The wait between checks of a link that stays up grows to this, in seconds."),
    key!(Link, "check_retry_interval", offline.connectivity.check_retry_interval, "The first wait while checks speak against what is known; it doubles up to the interval."),
    key!(Link, "check_timeout_seconds", offline.connectivity.timeout_seconds, "How long one address may take in all, name lookup and TLS included, in seconds."),
    key!(Link, "failures_to_go_offline", offline.connectivity.failures_to_go_offline, "Failures in a row that make it offline."),
    key!(Link, "successes_to_go_online", offline.connectivity.successes_to_go_online, "Successes in a row that make it online."),
    key!(Link, "min_online", offline.connectivity.min_online, "The least time online: a link that flaps changes the state at most twice in it."),
    key!(Link, "min_offline", offline.connectivity.min_offline, "The least time offline."),

    key!(Priority, "rules", offline.prioritizer.rules, "The rules, whose points are summed: the records with most points go first. In the file `[[rules]]`, at its end; in a variable a list in JSON. See [below](#rules)."),
    key!(Priority, "critical_score", offline.prioritizer.lanes.critical, "From how many points on a record of an agent is stored as a critical one, which is evicted last and may use the reserve of the data cap."),
    key!(Priority, "high_score", offline.prioritizer.lanes.high, "From how many points on it goes to the high lane. A record of a lane goes after all of the lanes above."),
    key!(Priority, "normal_score", offline.prioritizer.lanes.normal, "From how many points on it goes to the normal lane."),
    key!(Priority, "low_score", offline.prioritizer.lanes.low, "From how many points on it goes to the low lane; with less, to the bulk lane."),
    key!(Priority, "rules_window_records", offline.prioritizer.window_records, "Among how many records at the head of each lane the rules choose, 1 to 4096."),
    key!(Priority, "rules_window_bytes", offline.prioritizer.window_bytes, "The window ends with the record with which it reaches so many bytes."),
    key!(Priority, "oldest_every", offline.prioritizer.oldest_every, "Of so many batches one begins with the record that has waited longest, and every place of this number in a batch goes to the oldest."),

    key!(Intake, "listen", hub.listen, "Where to listen. Port 0 takes a free one. Other addresses than this machine's own need a token."),
    key!(Intake, "token", hub.token.value, "The token that clients have to send. In the file only where others cannot read that."),
    key!(Intake, "token_file", hub.token.file, "A file with the token in it."),
    key!(Intake, "cap", hub.cap, "The most that the received records may take on disk, such as 500MB.").unset("as long as the disk has room"),
    key!(Intake, "max_connections", hub.max_connections, "Connections at one moment; others wait."),
    key!(Intake, "records_per_second", hub.records_per_second, "The most records to store in a second; senders beyond that are told when to come again.").unset("as many as come"),
    key!(Intake, "request_timeout", hub.request_timeout, "How long one request may take."),
    key!(Intake, "remember_keys", hub.remember_keys, "How long idempotency keys are remembered."),

    key!(Weave, "weave_dir", weave.dir, "The folder of Weave's data.").aliases(&["offline_dir"]).unset("~/.weave/offline, or `weave` in a data_dir that is named"),
    key!(Weave, "weave_url", weave.url, "The base of the trace server that Weave's data is delivered to.").unset("https://trace.wandb.ai, or `traces` below wandb_url where that is set"),
    key!(Weave, "wandb_url", weave.wandb_url, "The base of the GraphQL server that knows projects and users.").unset("https://api.wandb.ai"),
    key!(Weave, "weave_api_key", weave.api_key.value, "The key for both. In the file only where others cannot read that.").unset("the one that a client sends, else WANDB_API_KEY, else netrc"),
    key!(Weave, "weave_api_key_file", weave.api_key.file, "A file with that key in it."),
    key!(Weave, "weave_compress", weave.compress, "Whether files of Weave's data are gzip (.jsonl.gz); else they are plain JSON lines (.jsonl)."),
    key!(Weave, "weave_max_file_size", weave.max_file_size, "A file of Weave's data is closed at this size."),
    key!(Weave, "weave_cap", weave.cap, "The most that all of Weave's data may take on disk, such as 5GB; 1MB at least.").unset("as long as the disk has room"),
    key!(Weave, "weave_keep_synced", weave.keep_synced, "How long delivered data of Weave's stays on disk after it was stored; 0s for not at all. A gateway looks once an hour.").unset("until `backhaul clean`, or until weave_cap asks for room"),

    key!(Models, "llm_primary", models.primary, "The base of the server of the model that is asked first, as OPENAI_BASE_URL has it.").unset("OPENAI_BASE_URL, where `backhaul run` is started with it, else https://api.openai.com/v1"),
    key!(Models, "llm_api_key", models.api_key.value, "The key for it. In the file only where others cannot read that.").unset("the one that a client sends, else OPENAI_API_KEY"),
    key!(Models, "llm_api_key_file", models.api_key.file, "A file with that key in it."),
    key!(Models, "llm_fallback", models.fallback, "Who is asked where it does not answer: the base of a server on this machine, such as http://127.0.0.1:11434/v1, or a GGUF file; several are asked in order.").unset("nobody"),
    key!(Models, "llm_fallback_model", models.fallback_model, "The model that fallbacks are asked for.").unset("the first that they have"),
    key!(Models, "llm_timeout_seconds", models.timeout_seconds, "How long the first model may take until a streamed answer begins, all tries together, in seconds; then the next one is asked."),
    key!(Models, "llm_answer_timeout_seconds", models.answer_timeout_seconds, "The same for answers that are not streamed, which take as long as the model writes. A network that is gone is noticed within a few seconds all the same."),
    key!(Models, "llm_idle_timeout_seconds", models.idle_timeout_seconds, "How long a streamed answer of the primary that has begun may pause; then it ends with an error."),
    key!(Models, "llm_max_retries", models.max_retries, "How often the first model is tried again within that time."),
    key!(Models, "llm_fall_back_on", models.fall_back_on, "What has the next model be asked: kinds of errors."),
    key!(Models, "llm_fallback_budget_ratio", models.fallback_budget_ratio, "How much of a token budget a fallback has, 0 to 1."),
    key!(Models, "llm_fallback_calls", models.fallback_calls, "How many calls one fallback answers at a time; others wait."),
    key!(Models, "llm_anthropic_url", models.anthropic_url, "The base of Anthropic's API, for clients that speak it.").unset("ANTHROPIC_BASE_URL, where `backhaul run` is started with it, else https://api.anthropic.com"),
    key!(Models, "llm_record", models.record, "What is kept of each call, as a run record: all of it (full), who answered with tokens and times (metadata), or nothing (off)."),
    key!(Models, "llm_redact", models.redact, "What is struck out of what is kept of calls: regular expressions.").unset("nothing"),
    key!(Models, "llm_cache", models.cache, "The most that earlier answers take on disk which are given again, marked with their age, where no model answers the very same request.").unset("none are kept"),
    key!(Models, "llm_cache_age", models.cache_age, "How old such an answer may be."),
];

/// The setting that is called so.
pub(super) fn called(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.is_called(name))
}
