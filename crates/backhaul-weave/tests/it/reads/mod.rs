//! What is read from the folder, beside what a real server answers, an index made anew, and
//! other processes.

mod dice;
mod differential;
mod index;
mod logged;
mod queries;
