//! Spans of OpenTelemetry's SDK: stored first, and at a server what an exporter of OTLP would
//! have made of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, Fault, Faults, FaultyDisk, ManualClock, SimDisk};
use backhaul_weave as weave;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry::trace::{
    Link, Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value as OtelValue};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{
    InMemorySpanExporterBuilder, SdkTracer, SdkTracerProvider, SpanData, SpanExporter as _,
};
use prost::Message as _;
use serde_json::{Value, json};
use weave::{EntryType, Kind, OfflineTraceServer, SyncArguments, WeaveClient, WeaveSpanExporter};

use super::support::logging;
use crate::offline::support::{entries, open_on, options};
use crate::sync::World;

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("agent")
        .with_version("1.2.3")
        .with_schema_url("https://example.com/schema")
        .with_attributes([KeyValue::new("scope", "of all")])
        .build()
}

fn resource() -> Resource {
    let attributes = [KeyValue::new("service.name", "mast"), KeyValue::new("device", 7)];
    Resource::builder_empty().with_attributes(attributes).build()
}

fn attributes() -> Vec<KeyValue> {
    let list = |values: &[&'static str]| {
        OtelValue::Array(Array::String(values.iter().map(|one| (*one).into()).collect()))
    };
    vec![
        KeyValue::new("gen_ai.request.model", "small"),
        KeyValue::new("gen_ai.usage.input_tokens", 12),
        KeyValue::new("gen_ai.prompt.0.role", "user"),
        KeyValue::new("gen_ai.prompt.0.content", "What do you see? 🔭"),
        KeyValue::new("gen_ai.completion.0.content", "A mast."),
        KeyValue::new("ratio", 0.25),
        KeyValue::new("is_night", true),
        KeyValue::new("seen", list(&["mast", "bird"])),
    ]
}

/// A program that traces, with one of everything.
fn run(tracer: &SdkTracer) {
    let root = tracer.span_builder("agent").with_kind(SpanKind::Server).start(tracer);
    let linked = root.span_context().clone();
    let within = Context::new().with_span(root);
    let mut chat = tracer
        .span_builder("chat")
        .with_kind(SpanKind::Client)
        .with_attributes(attributes())
        .with_links(vec![Link::new(linked, vec![KeyValue::new("why", "cause")], 0)])
        .start_with_context(tracer, &within);
    chat.add_event("token", vec![KeyValue::new("n", 1)]);
    chat.set_status(Status::Ok);
    chat.end();
    let mut tool = tracer.start_with_context("tool", &within);
    tool.record_error(&std::io::Error::other("no arm"));
    tool.set_status(Status::error("no arm"));
    tool.end();
    within.span().end();
}

/// So many spans as the SDK hands them over.
fn spans(count: usize) -> Vec<SpanData> {
    let exporter = InMemorySpanExporterBuilder::new().build();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let tracer = provider.tracer_with_scope(scope());
    for n in 0..count {
        tracer.start(format!("span {n}")).end();
    }
    exporter.get_finished_spans().unwrap()
}

/// What is sent directly.
fn otlp_exporter(world: &World) -> opentelemetry_otlp::SpanExporter {
    // Which TLS there would be.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let headers = [
        ("project_id".to_owned(), world.project.to_string()),
        ("authorization".to_owned(), format!("Basic {}", STANDARD.encode("api:key"))),
    ];
    opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/otel/v1/traces", world.url()))
        .with_headers(HashMap::from(headers))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_holds_after_a_sync_what_an_exporter_of_otlp_would_have_sent_it() {
    let (ours, direct) = (World::new("0.52.42"), World::new("0.52.42"));
    let dir = tempfile::tempdir().unwrap();
    let project = ours.project.to_string();
    let client = weave::init(&project).offline(true).offline_dir(dir.path()).start().unwrap();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource())
        .with_batch_exporter(WeaveSpanExporter::new())
        .with_batch_exporter(otlp_exporter(&direct))
        .build();
    run(&provider.tracer_with_scope(scope()));
    // Its exporter blocks.
    tokio::task::spawn_blocking(move || provider.shutdown().unwrap()).await.unwrap();
    client.finish().unwrap();
    let arguments = SyncArguments {
        offline_dir: Some(dir.path().into()),
        api_key: Some("key".into()),
        trace_url: Some(ours.url()),
        wandb_url: Some(ours.url()),
        ..SyncArguments::default()
    };
    let statistics = weave::sync_offline_data(arguments).await.unwrap();
    assert!(statistics.is_complete(), "{statistics}");
    let (ours, direct) = (ours.calls().await, direct.calls().await);
    assert_eq!(ours.len(), 3);
    // The same spans, ids and times: nothing differs but what a server makes up.
    assert_eq!(comparable(ours), comparable(direct));
}

fn comparable(calls: Vec<Value>) -> Vec<Value> {
    calls
        .into_iter()
        .map(|mut call| {
            assert!(call["attributes"].to_string().contains("mast"), "{call}");
            call.as_object_mut().unwrap().retain(|name, _| !name.contains("storage"));
            call
        })
        .collect()
}

struct Program {
    faults: Faults,
    client: WeaveClient,
    server: OfflineTraceServer,
}

impl Program {
    fn new(max_memory_bytes: usize) -> Self {
        let (disk, faults) = (SimDisk::new(), Faults::new());
        let faulty = FaultyDisk::new(disk, faults.clone());
        let server = open_on(Arc::new(faulty), options(), &ManualClock::new()).unwrap();
        let init = weave::init("me/mine").offline(true).server(server.clone());
        let init = init.collect_for(Duration::ZERO).max_memory_bytes(max_memory_bytes);
        Self { faults, client: init.start().unwrap(), server }
    }

    /// The names of the spans on disk, in order.
    fn stored(&self) -> Vec<String> {
        self.client.flush().unwrap();
        names(&self.server, &self.client)
    }
}

fn names(server: &OfflineTraceServer, client: &WeaveClient) -> Vec<String> {
    let entries = entries(server, client.project(), Kind::Calls);
    let requests = entries.iter().map(|entry| {
        assert_eq!(entry.entry_type(), EntryType::OtelExport);
        let body = STANDARD.decode(entry.value()["body"].as_str().unwrap()).unwrap();
        ExportTraceServiceRequest::decode(&*body).unwrap()
    });
    let spans = requests
        .flat_map(|request| request.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans);
    spans.map(|span| span.name).collect()
}

fn said(error: &OTelSdkError) -> &str {
    match error {
        OTelSdkError::InternalFailure(why) => why,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_batch_is_stored_as_the_collector_stores_it() {
    let logging = logging();
    let mut exporter = WeaveSpanExporter::of_client(&logging.client);
    exporter.set_resource(&resource());
    exporter.export(spans(2)).await.unwrap();
    exporter.export(Vec::new()).await.unwrap();
    // Without a flush.
    let stored = entries(logging.client.server(), logging.client.project(), Kind::Calls);
    let [entry] = &*stored else { panic!("{stored:?}") };
    let mut data = entry.value();
    let body = data.as_object_mut().unwrap().shift_remove("body").unwrap();
    let body = STANDARD.decode(body.as_str().unwrap()).unwrap();
    let expected = json!({"project_id": "me/mine", "path": "/otel/v1/traces",
        "content_type": "application/x-protobuf", "content_encoding": null});
    assert_eq!(data, expected);
    let request = ExportTraceServiceRequest::decode(&*body).unwrap();
    let resource = &request.resource_spans[0];
    assert_eq!(resource.resource.as_ref().unwrap().attributes.len(), 2);
    assert_eq!(resource.scope_spans[0].scope.as_ref().unwrap().version, "1.2.3");
    assert_eq!(resource.scope_spans[0].spans.len(), 2);
}

#[tokio::test]
async fn spans_that_the_disk_refuses_are_kept_and_stored_in_order_once_it_takes_them() {
    let program = Program::new(1_000_000);
    let exporter = WeaveSpanExporter::new();
    let mut spans = spans(4).into_iter();
    let mut next = || spans.by_ref().take(1).collect::<Vec<_>>();
    exporter.export(next()).await.unwrap();
    program.faults.add(Fault::any(&[Call::Flush, Call::Write], EIO));
    for _ in 0..2 {
        let error = exporter.export(next()).await.unwrap_err();
        assert!(said(&error).contains("kept in memory"), "{error}");
    }
    let error = exporter.force_flush().unwrap_err();
    assert!(said(&error).contains("kept in memory"), "{error}");
    program.faults.clear();
    exporter.export(next()).await.unwrap();
    exporter.force_flush().unwrap();
    assert_eq!(program.stored(), ["span 0", "span 1", "span 2", "span 3"]);
    assert_eq!(program.client.status().dropped, 0);
}

#[tokio::test]
async fn the_last_batch_of_a_program_is_stored_by_the_client_that_ends_after_it() {
    let program = Program::new(1_000_000);
    program.faults.add(Fault::any(&[Call::Flush, Call::Write], EIO));
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(WeaveSpanExporter::new()).build();
    provider.tracer("agent").start("last").end();
    let error = provider.force_flush().unwrap_err();
    assert!(error.to_string().contains("kept in memory"), "{error}");
    // The SDK says nothing of it here.
    provider.shutdown().unwrap();
    program.faults.clear();
    program.client.finish().unwrap();
    assert_eq!(names(&program.server, &program.client), ["last"]);
}

#[tokio::test]
async fn what_has_no_room_in_memory_is_lost_and_said_to_be() {
    let program = Program::new(2_000);
    program.faults.add(Fault::full());
    let exporter = WeaveSpanExporter::new();
    exporter.export(spans(20)).await.unwrap_err();
    let error = exporter.export(spans(3)).await.unwrap_err();
    assert!(said(&error).starts_with("3 spans are lost"), "{error}");
    assert_eq!(program.client.status().dropped, 1);
    program.faults.clear();
    assert_eq!(program.stored().len(), 20);
}

#[tokio::test]
async fn without_a_client_or_after_its_end_an_export_fails() {
    let exporter = WeaveSpanExporter::new();
    let error = exporter.export(spans(1)).await.unwrap_err();
    assert!(said(&error).contains("no Weave client"), "{error}");
    exporter.force_flush().unwrap();

    let logging = logging();
    let bound = WeaveSpanExporter::of_client(&logging.client);
    logging.client.finish().unwrap();
    let error = bound.export(spans(1)).await.unwrap_err();
    assert!(said(&error).starts_with("1 spans are lost"), "{error}");

    bound.shutdown().unwrap();
    for result in [bound.export(spans(1)).await, bound.shutdown()] {
        assert!(matches!(result, Err(OTelSdkError::AlreadyShutdown)), "{result:?}");
    }
}

#[test]
fn spans_of_both_kinds_go_to_one_store() {
    let logging = logging();
    let provider =
        SdkTracerProvider::builder().with_simple_exporter(WeaveSpanExporter::new()).build();
    weave::call("outer").run(|| provider.tracer("agent").start("inner").end());
    logging.client.finish().unwrap();
    let stored = entries(logging.client.server(), logging.client.project(), Kind::Calls);
    let mut types: Vec<&str> = stored.iter().map(|entry| entry.entry_type().name()).collect();
    types.sort_unstable();
    assert!(types.contains(&"otel_export") && types.len() >= 2, "{types:?}");
}
