//! What can be typed after `larder`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::config::{AccessLog, AdminAddress, Amount, Endpoint, ListenAddress, LogFormat, Text};

/// A caching HTTP accelerator: one binary before any HTTP server.
#[derive(Clone, Debug, Parser)]
#[command(name = "larder", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve: stand before an origin and answer from memory
    Serve(ServeArguments),
    /// Start Larder before a small, slow, built-in site, to see what it does
    Demo(DemoArguments),
    #[command(flatten)]
    Other(Errand),
}

/// The commands that are done when they have printed something.
#[derive(Clone, Debug, Subcommand)]
pub enum Errand {
    /// Report everything that is wrong with a configuration file
    Check(CheckArguments),
    /// Print the reference of all settings, or their JSON schema
    #[command(subcommand)]
    Config(ConfigCommand),
    #[command(flatten)]
    Remote(Box<RemoteCommand>),
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "The addresses to listen on are those of --listen, or of the configuration file, or \
                        0.0.0.0:$PORT, or 0.0.0.0:8080.")]
pub struct ServeArguments {
    /// Where the origin is: http://host[:port] or unix:/path; several are several endpoints of one backend
    #[arg(long, value_name = "URL", value_parser = value::<Endpoint>)]
    pub backend: Vec<Endpoint>,
    /// Address to listen on: ip:port, :port, [v6]:port or unix:/path; may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = value::<ListenAddress>)]
    pub listen: Vec<ListenAddress>,
    /// Address of the admin interface, or off [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS", value_parser = value::<AdminAddress>)]
    pub admin: Option<AdminAddress>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Memory for the cache: a size such as 1GiB, or a share such as 75%
    #[arg(long, value_name = "SIZE", value_parser = value::<Amount>)]
    pub memory: Option<Amount>,
    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT", value_parser = value::<LogFormat>)]
    pub log_format: Option<LogFormat>,
    /// Where the access log goes: off, stdout, or a path
    #[arg(long, value_name = "WHERE", value_parser = value::<AccessLog>)]
    pub access_log: Option<AccessLog>,
}

#[derive(Clone, Debug, Args)]
pub struct DemoArguments {
    /// Address to listen on; may be given several times
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = value::<ListenAddress>)]
    pub listen: Vec<ListenAddress>,
    /// Address of the admin interface, or off
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081", value_parser = value::<AdminAddress>)]
    pub admin: AdminAddress,
}

#[derive(Clone, Debug, Args)]
pub struct CheckArguments {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the reference of all settings, in Markdown
    Reference,
    /// Print the JSON schema of a configuration file
    Schema,
}

/// The commands that ask a running Larder through its admin interface.
#[derive(Clone, Debug, Subcommand)]
pub enum RemoteCommand {
    /// Make stored responses go, or go stale
    Purge(PurgeArguments),
    /// List recent purges
    Purges(PurgesArguments),
    /// Show what is stored for a URL
    Inspect(InspectArguments),
    /// Show how a running Larder does
    Stat(StatArguments),
}

/// How the running Larder is reached, and how its answer is shown.
#[derive(Clone, Debug, Args)]
pub struct Reach {
    /// Admin address of the running Larder: ip:port or unix:/path
    #[arg(long, value_name = "ADDRESS", env = "LARDER_ADMIN", default_value = "127.0.0.1:8081", value_parser = admin)]
    pub admin: ListenAddress,
    /// Bearer token, where the admin interface asks for one
    #[arg(long, value_name = "TOKEN", env = "LARDER_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// How long to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = value::<Duration>)]
    pub timeout: Duration,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub struct PurgeArguments {
    /// URLs to purge, with all their variants: http://example.com/page
    #[arg(value_name = "URL", group = "what")]
    pub urls: Vec<String>,
    /// Purge what carries this tag; may be given several times
    #[arg(long = "tag", value_name = "TAG", group = "what")]
    pub tags: Vec<String>,
    /// Purge all URLs that begin so: example.com/blog/ or https://example.com/blog/
    #[arg(long = "prefix", value_name = "PREFIX", group = "what")]
    pub prefixes: Vec<String>,
    /// Purge all of a host
    #[arg(long = "host", value_name = "HOST", group = "what")]
    pub hosts: Vec<String>,
    /// Purge what an expression holds for
    #[arg(long, value_name = "EXPRESSION", group = "what")]
    pub expression: Option<String>,
    /// Purge the URLs whatever their query
    #[arg(long, requires = "urls")]
    pub any_query: bool,
    /// Purge everything
    #[arg(long, group = "what", conflicts_with_all = ["urls", "tags", "prefixes", "hosts", "expression"])]
    pub everything: bool,
    /// Make it stale rather than gone: it may be served while it is refreshed, or if the origin fails
    #[arg(long)]
    pub soft: bool,
    /// Fetch again what was asked for often
    #[arg(long)]
    pub refetch: bool,
    /// Wait so long, at most, until every stored response has been judged against the purge; it is in force at
    /// once either way
    #[arg(long, value_name = "DURATION", value_parser = value::<Duration>)]
    pub wait: Option<Duration>,
    #[command(flatten)]
    pub reach: Reach,
}

#[derive(Clone, Debug, Args)]
pub struct PurgesArguments {
    /// Show so many at most
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<usize>,
    #[command(flatten)]
    pub reach: Reach,
}

#[derive(Clone, Debug, Args)]
pub struct InspectArguments {
    /// The URL as a client asks for it: http://example.com/page
    #[arg(value_name = "URL")]
    pub url: String,
    #[command(flatten)]
    pub reach: Reach,
}

#[derive(Clone, Debug, Args)]
pub struct StatArguments {
    #[command(flatten)]
    pub reach: Reach,
}

/// Reads an argument as the configuration file would.
fn value<T: Text>(text: &str) -> Result<T, crate::config::Fault> {
    T::parse(text)
}

/// An admin address, which people also write as a URL.
fn admin(text: &str) -> Result<ListenAddress, crate::config::Fault> {
    let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    match text.strip_prefix("localhost:") {
        Some(port) => ListenAddress::parse(&format!("127.0.0.1:{port}")),
        None => match text.strip_prefix(':') {
            Some(port) => ListenAddress::parse(&format!("127.0.0.1:{port}")),
            None => ListenAddress::parse(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serve_takes_all_its_options() {
        let line = "larder serve --backend http://a --backend unix:/b --listen :80 --listen unix:/c --admin off \
                    --memory 75% --log-format json --access-log stdout";
        let Command::Serve(serve) = Arguments::try_parse_from(line.split_whitespace()).unwrap().command
        else {
            panic!("another command");
        };
        assert_eq!((serve.backend.len(), serve.listen.len()), (2, 2));
        assert_eq!(serve.admin, Some(AdminAddress::Off));
        assert_eq!(serve.memory, Some(Amount::percent(75)));
        assert_eq!(serve.log_format, Some(LogFormat::Json));
        assert_eq!(serve.access_log, Some(AccessLog::Stdout));
    }

    #[test]
    fn a_purge_of_nothing_is_refused() {
        assert!(Arguments::try_parse_from(["larder", "purge", "--soft"]).is_err());
        assert!(Arguments::try_parse_from(["larder", "purge", "--everything"]).is_ok());
        assert!(Arguments::try_parse_from(["larder", "purge", "--everything", "--tag", "x"]).is_err());
        assert!(Arguments::try_parse_from(["larder", "purge", "--tag", "x", "--any-query"]).is_err());
        assert!(
            Arguments::try_parse_from(["larder", "purge", "/a", "/b", "--tag", "x", "--tag", "y"]).is_ok()
        );
    }

    #[test]
    fn an_admin_address_may_be_written_as_a_url() {
        for text in ["127.0.0.1:1", "http://127.0.0.1:1/", "localhost:1", ":1"] {
            assert_eq!(admin(text).unwrap().to_string(), "127.0.0.1:1", "{text}");
        }
        assert_eq!(admin("unix:/run/admin.sock").unwrap().to_string(), "unix:/run/admin.sock");
    }
}
