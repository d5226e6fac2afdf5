//! Tests of the store from the outside.
#![allow(missing_docs)]

mod basics;
mod crash;
mod identity;
mod keeping;
mod kills;
mod members;
mod model;
mod readers;
mod readers_of_files;
mod support;
