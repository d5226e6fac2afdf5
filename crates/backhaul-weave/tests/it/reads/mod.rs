//! What is read from the folder, beside what a real server answers, an index made anew, and
//! other processes.

mod both;
mod calls;
mod dice;
mod edges;
mod index;
mod logged;
mod objects;
mod queries;
