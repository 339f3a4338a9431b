//! The commands of the `larder` program: arguments, and the subcommands that talk to a running Larder.
pub mod demo;
