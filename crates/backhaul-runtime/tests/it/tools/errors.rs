//! What errors of real sockets mean.
