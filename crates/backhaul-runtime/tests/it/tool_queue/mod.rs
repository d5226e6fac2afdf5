mod basics;
mod ledger;
mod support;
