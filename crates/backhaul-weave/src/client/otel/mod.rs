//! Spans of OpenTelemetry's SDK, kept as an OTLP exporter would have sent them.

mod batch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::queue::Pushed;
use super::recorder::{Item, Recorder};
use super::weave_client::{self, WeaveClient};

/// An exporter of OpenTelemetry's SDK that stores spans where calls are stored. They are
/// delivered with these, as what an exporter of OTLP would have sent to `/otel/v1/traces` of a
/// Weave server.
///
/// A batch is on stable storage when it was exported, which waits for the disk: on the thread
/// of its own that the SDK's batch processor has, or on that of the program where a simple
/// processor is used. While the disk takes nothing an export fails, but its spans are kept, in
/// the memory that [`max_memory_bytes`](crate::Init::max_memory_bytes) bounds, and are stored
/// once it does: the SDK would have dropped them. Where there is no room they are lost, which
/// the error says. `client.flush()` and `client.finish()` count them in.
///
/// Reads on this device do not show them: a server makes calls of them.
///
/// ```
/// use backhaul_weave as weave;
/// use opentelemetry::trace::{Tracer as _, TracerProvider as _};
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// # let dir = tempfile::tempdir()?;
/// let client = weave::init("my_team/my_project")
///     .offline(true)
///     .offline_dir(dir.path())
///     .start()?;
/// let provider = SdkTracerProvider::builder()
///     .with_batch_exporter(weave::WeaveSpanExporter::new())
///     .build();
/// provider.tracer("my_program").in_span("read", |_| 21.5);
/// // The last batch is exported now. What became of it is said by the client.
/// provider.shutdown()?;
/// client.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct WeaveSpanExporter {
    /// `None`: the one that is current when a batch is exported.
    client: Option<WeaveClient>,
    resource: ResourceAttributesWithSchema,
    is_shut_down: AtomicBool,
    /// The one that got the last batch, to be asked for what is kept.
    last: RwLock<Option<Arc<Recorder>>>,
}

impl WeaveSpanExporter {
    /// Stores with the client that is current when a batch is exported; without one an export
    /// fails, and its spans are lost.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores with one client.
    pub fn of_client(client: &WeaveClient) -> Self {
        Self { client: Some(client.clone()), ..Self::default() }
    }

    fn store(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        if self.is_shut_down.load(Ordering::Acquire) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        let client = self.client.clone().or_else(weave_client::client);
        let recorder = client.map(|client| Arc::clone(client.recorder())).ok_or_else(|| {
            failed("there is no Weave client: call weave::init(\"team/project\").start() first")
        })?;
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&recorder));
        let (mut last, mut lost) = (None, 0);
        for export in batch::exports_of(spans, &self.resource, &recorder.project) {
            let batch::Export { entry, spans } = export;
            let bytes = entry.data().len();
            match recorder.queue.push(Item::Export(entry), bytes) {
                Pushed::Taken(position) => last = Some(position),
                Pushed::Dropped => lost += spans,
            }
        }
        if lost > 0 {
            return Err(failed(&format!(
                "{lost} spans are lost: the disk takes nothing, and no more is held in memory"
            )));
        }
        match last.is_none_or(|position| recorder.queue.wait_until_stored(position)) {
            true => Ok(()),
            false => Err(not_yet(&recorder)),
        }
    }

    /// Waits for what was exported before.
    fn flush(&self) -> OTelSdkResult {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner).clone();
        match last {
            Some(recorder) => recorder.flush().map_err(|_| not_yet(&recorder)),
            None => Ok(()),
        }
    }
}

impl SpanExporter for WeaveSpanExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.store(batch)
    }

    /// Tries once more to store what is kept. What is still kept then is stored later, while
    /// the client is there.
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        match self.is_shut_down.swap(true, Ordering::AcqRel) {
            true => Err(OTelSdkError::AlreadyShutdown),
            false => self.flush(),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

fn not_yet(recorder: &Recorder) -> OTelSdkError {
    let mut why = "spans are not on disk yet, and are kept in memory".to_owned();
    if let Some(error) = recorder.trouble.last() {
        let source = std::error::Error::source(&error);
        let source = source.map(|source| format!(": {source}")).unwrap_or_default();
        why.push_str(&format!(": {error}{source}"));
    }
    failed(&why)
}

fn failed(why: &str) -> OTelSdkError {
    OTelSdkError::InternalFailure(why.to_owned())
}
