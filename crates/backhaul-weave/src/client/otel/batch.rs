//! A batch of spans as the requests in which it would have been sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use serde_json::json;

use crate::entry::{Entry, EntryType};
use crate::project::ProjectId;

/// Where spans are sent to.
const PATH: &str = "/otel/v1/traces";
const PROTOBUF: &str = "application/x-protobuf";
/// A larger request is cut: a record holds 64 MiB, and servers take less than that at once.
/// What the SDK batches is far below, unless its attributes hold whole conversations.
const MAX_BYTES: usize = 8 << 20;

/// A request, and how many spans are in it.
pub(super) struct Export {
    pub(super) entry: Entry,
    pub(super) spans: usize,
}

/// What stands for a batch, in order.
pub(super) fn exports_of(
    spans: Vec<SpanData>,
    resource: &ResourceAttributesWithSchema,
    project: &ProjectId,
) -> Vec<Export> {
    if spans.is_empty() {
        return Vec::new();
    }
    let whole = group_spans_by_resource_and_scope(spans, resource);
    let whole = ExportTraceServiceRequest { resource_spans: whole };
    let requests = if whole.encoded_len() > MAX_BYTES { cut(whole) } else { vec![whole] };
    requests.iter().map(|request| export_of(request, project)).collect()
}

fn export_of(request: &ExportTraceServiceRequest, project: &ProjectId) -> Export {
    let data = json!({
        "project_id": project.to_string(),
        "path": PATH,
        "content_type": PROTOBUF,
        "content_encoding": null,
        "body": STANDARD.encode(request.encode_to_vec()),
    });
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let spans = scopes.map(|scope| scope.spans.len()).sum();
    Export { entry: Entry::of_value(EntryType::OtelExport, &data), spans }
}

/// Requests of no more bytes than that, or of one span each.
fn cut(whole: ExportTraceServiceRequest) -> Vec<ExportTraceServiceRequest> {
    let mut requests = Vec::new();
    for resource in whole.resource_spans {
        let ResourceSpans { scope_spans, .. } = resource;
        let around = ResourceSpans { scope_spans: Vec::new(), ..resource };
        for ScopeSpans { spans, scope, schema_url } in scope_spans {
            for spans in parts(spans) {
                let of_scope =
                    ScopeSpans { spans, scope: scope.clone(), schema_url: schema_url.clone() };
                let of_resource = ResourceSpans { scope_spans: vec![of_scope], ..around.clone() };
                requests.push(ExportTraceServiceRequest { resource_spans: vec![of_resource] });
            }
        }
    }
    requests
}

fn parts(spans: Vec<Span>) -> Vec<Vec<Span>> {
    let mut parts: Vec<Vec<Span>> = Vec::new();
    let mut bytes = 0;
    for span in spans {
        let len = span.encoded_len();
        bytes += len;
        match parts.last_mut().filter(|_| bytes <= MAX_BYTES) {
            Some(part) => part.push(span),
            None => {
                bytes = len;
                parts.push(vec![span]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(bytes: usize) -> Span {
        Span { name: "x".repeat(bytes), ..Span::default() }
    }

    #[test]
    fn what_is_too_much_at_once_is_cut_in_order_and_nothing_is_left_out() {
        let sizes = [3 << 20, 4 << 20, 2 << 20, 20 << 20, 1];
        let scope = ScopeSpans { spans: sizes.map(span).to_vec(), ..ScopeSpans::default() };
        let one = ScopeSpans { spans: vec![span(2)], ..ScopeSpans::default() };
        let resource = ResourceSpans {
            scope_spans: vec![scope, one],
            schema_url: "of all".to_owned(),
            ..ResourceSpans::default()
        };
        let requests = cut(ExportTraceServiceRequest { resource_spans: vec![resource] });
        let names = requests.iter().map(|request| {
            let [of_resource] = &*request.resource_spans else { panic!("one resource each") };
            assert_eq!(of_resource.schema_url, "of all");
            let spans = of_resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(|span| span.name.len()).collect::<Vec<_>>()
        });
        let expected = [&[3 << 20, 4 << 20][..], &[2 << 20], &[20 << 20], &[1], &[2]];
        assert!(names.eq(expected));
    }
}
