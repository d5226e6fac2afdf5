//! Tests of the store from the outside.
#![allow(missing_docs)]

mod basics;
mod crash;
mod readers;
mod support;
