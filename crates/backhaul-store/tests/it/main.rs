//! Tests of the store from the outside.
#![allow(missing_docs)]

mod basics;
mod support;
