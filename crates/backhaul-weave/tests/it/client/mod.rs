//! Programs in Rust that log.

mod beside_python;
mod kills;
mod misuse;
mod nesting;
mod odd_programs;
mod online;
mod ops;
mod orders;
#[cfg(feature = "opentelemetry")]
mod otel;
mod scenario;
mod support;
#[cfg(feature = "tracing-layer")]
mod tracing_layer;
mod trouble;
